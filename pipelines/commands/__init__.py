"""The commands of `bulkinfer`, a module each: what it takes, the call that does it, what it prints.

A command imports what it needs when it runs, because Beam alone takes seconds to import and `--help` must not. One
that reports faults runs inside `faults_told`, which makes an exception a line and an exit code. `pipelines/cli.py`
lists them.
"""
