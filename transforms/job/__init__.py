"""What a person writes: the job file as frozen models, and how its text becomes one.

Every key, its default and its meaning stands in `config`; `job_file` turns a file's text and `--set` into a
`JobConfig`, or into one message that says what to write instead. Needs nothing but the ground; begin with `config`.
"""
