"""`python -m bulkinfer.pipelines` is the `bulkinfer` command, for where scripts are not on the PATH."""

from .cli import main

main(prog_name="bulkinfer")
