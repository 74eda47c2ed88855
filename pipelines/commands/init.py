"""`bulkinfer init`: a job file to begin with."""

from __future__ import annotations

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, endpoint_option, model_option, verbose_option

__all__ = ["init"]


@click.command(
    cls=Examples,
    examples=(
        "bulkinfer init --endpoint embedded --method segment_anything > job.yaml",
        "bulkinfer init --model https://clarifai.com/USER/APP/models/MODEL > job.yaml",
    ),
)
@endpoint_option
@model_option
@click.option("--method", metavar="M", help="The model's method. Default: its only one, else `predict`.")
@verbose_option
def init(endpoint: str | None, model: str | None, method: str | None, verbose: int) -> None:
    """A commented job file for a method, on stdout: its parameters, and files of this folder that fit it."""
    with faults_told():
        from bulkinfer.pipelines.jobs.first_job import first_job

        configure_logging(verbose)
        click.echo(first_job(endpoint, model, method), nl=False)
