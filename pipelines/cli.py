"""The `bulkinfer` command line: exit codes, the group of commands, and what holds before any of them runs.

Its commands are in `commands`; no other module prints results, and none exits but the one that tells faults.
"""

from __future__ import annotations

import os

import click

from .commands.call import call, methods
from .commands.compact import compact
from .commands.compare import compare
from .commands.export import export
from .commands.init import init
from .commands.report import report
from .commands.run import plan, run
from .commands.runs import runs
from .commands.schema import schema
from .commands.serve import serve
from .runners.proxies import spare_loopback

__all__ = ["EXIT_CODES", "main"]

EXIT_CODES = {
    0: "every input is in `predictions`",
    1: "the job failed",
    2: "the command line, the job file or the preflight check is at fault, and no input was sent",
    3: "the job finished and some inputs are in `errors`",
    4: "stopped early by a limit the job set (error ratio, budget, interrupt); the same command goes on",
}

_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


@click.group(
    epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="bulkinfer")
def main() -> None:
    """Bulk inference over everything a data lake holds: references in, predictions and masks in Parquet out."""
    # Arrow's own allocators keep what each thread freed: 65 MB of peak for 2 MB of rows, and are no faster here. Arrow
    # reads the variable when it is imported, in this process and in its workers.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    spare_loopback()


for _command in (run, plan, call, methods, serve, schema, init, report, runs, compact, compare, export):
    main.add_command(_command)
