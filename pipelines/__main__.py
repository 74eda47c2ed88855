"""The command `python -m bulkinfer.pipelines`: the same as `bulkinfer`, where scripts are not on the PATH."""

from .cli import main

main(prog_name="bulkinfer")
