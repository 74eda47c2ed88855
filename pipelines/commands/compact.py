"""`bulkinfer compact`: few large files in place of many small ones."""

from __future__ import annotations

import dataclasses
import json

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, json_option, verbose_option

__all__ = ["compact"]


@click.command(
    cls=Examples,
    examples=("bulkinfer compact out/photos", "bulkinfer compact job.yaml --target 512MB --json"),
)
@click.argument("output")
@click.option(
    "--target", default="128MB", show_default=True, metavar="SIZE", help="Bytes that a table file aims for."
)
@json_option
@verbose_option
def compact(output: str, target: str, as_json: bool, verbose: int) -> None:
    """Merge small table files, and fold the records and indexes of all runs but the latest one.

    OUTPUT is the directory that output.uri names, or the job file, which also says how to reach its store. No row
    changes, and readers see none missing or twice for longer than one rename (on object stores: than some copies).
    """
    with faults_told():
        from bulkinfer.pipelines.report.output import open_output
        from bulkinfer.transforms.job.units import size
        from bulkinfer.transforms.preparation import new_run_id
        from bulkinfer.transforms.runs.lock import RunLock
        from bulkinfer.transforms.tables.commit.recovery import recover
        from bulkinfer.transforms.tables.upkeep.compact import compact as compact_output

        configure_logging(verbose)
        try:
            nbytes = int(size(target))
        except ValueError:
            raise click.BadParameter(f"{target!r} is no size; write 128MB", param_hint="--target") from None
        store = open_output(output).store
        run_id = new_run_id()
        with RunLock(store, run_id):
            recover(store)
            done = compact_output(store, run_id, nbytes)
        if as_json:
            click.echo(json.dumps({"output": store.uri, **dataclasses.asdict(done)}))
        else:
            click.echo(
                f"{store.uri}: {done.files_before} table files before, {done.files_after} now; "
                f"{done.runs_folded} runs folded into one history"
            )
