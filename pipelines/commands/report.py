"""`bulkinfer report`: an output on one page."""

from __future__ import annotations

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, verbose_option

__all__ = ["report"]


@click.command(
    cls=Examples,
    examples=(
        "bulkinfer report out/photos",
        "bulkinfer report job.yaml --to report.html --sample 24",
        "bulkinfer report s3://bucket/out --to report.html --from-index 12",
    ),
)
@click.argument("output")
@click.option("--to", metavar="FILE.html", help="Where the page goes. Default: report.html in the output.")
@click.option(
    "--sample",
    default=12,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Inputs that are shown of each choice: at random, least sure, largest masks and others.",
)
@click.option(
    "--from-index",
    default=0,
    type=click.IntRange(min=0),
    metavar="K",
    help="Leave out the first K of each choice.",
)
@verbose_option
def report(output: str, to: str | None, sample: int, from_index: int, verbose: int) -> None:
    """One offline HTML page: failures, figures, and a sample of inputs with what was found.

    OUTPUT is the directory that output.uri names, or the job file, which also says how to reach its stores.
    """
    with faults_told():
        from bulkinfer.pipelines.report.output import open_output
        from bulkinfer.pipelines.report.report import write_report

        configure_logging(verbose)
        click.echo(write_report(open_output(output), to, sample=sample, start=from_index))
