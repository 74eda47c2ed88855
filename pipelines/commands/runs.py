"""`bulkinfer runs`: the history of an output."""

from __future__ import annotations

import json

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, json_option, verbose_option

__all__ = ["runs"]


@click.command(cls=Examples, examples=("bulkinfer runs out/photos", "bulkinfer runs job.yaml --json"))
@click.argument("output")
@json_option
@verbose_option
def runs(output: str, as_json: bool, verbose: int) -> None:
    """Every run at an output: when, job, model version, inputs, errors, calls, tokens, seconds.

    OUTPUT is the directory that output.uri names, or the job file, which also says how to reach its store.
    """
    with faults_told():
        from bulkinfer.pipelines.jobs.history import RunLine, lines_of
        from bulkinfer.pipelines.report.output import open_output
        from bulkinfer.transforms.runs.record import list_runs

        configure_logging(verbose)
        store = open_output(output).store
        found = [RunLine.of(run) for run in list_runs(store) if not run.upkeep]
        if as_json:
            click.echo(json.dumps({"output": store.uri, "runs": [run.to_json() for run in found]}))
        else:
            click.echo(lines_of(found))
