"""`bulkinfer call` and `bulkinfer methods`: ask an endpoint without a job."""

from __future__ import annotations

import json

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, endpoint_option, json_option, model_option, verbose_option

__all__ = ["call", "methods"]


@click.command(
    cls=Examples,
    examples=(
        'bulkinfer call --endpoint embedded --method classify --inputs \'{"text": "guten Morgen"}\'',
        "bulkinfer call --endpoint http://127.0.0.1:9001 --method segment_anything --file image=photo.jpg",
        "bulkinfer call --endpoint embedded --method levels --file audio=speech.wav --stream piece_seconds=1",
        'bulkinfer call --model https://clarifai.com/USER/APP/models/MODEL --inputs \'{"prompt": "Hi"}\'',
    ),
)
@endpoint_option
@model_option
@click.option("--method", default="predict", show_default=True, metavar="M", help="The model's method.")
@click.option("--inputs", default="{}", metavar="JSON", help="The method's arguments by name.")
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="ARG=PATH",
    help="An argument whose value is a file's content; several times for a list.",
)
@click.option("--deployment", metavar="USER_ID/ID", help="A dedicated deployment.")
@click.option("--nodepool", metavar="USER_ID/COMPUTE_CLUSTER_ID/ID", help="A dedicated nodepool.")
@click.option(
    "--stream",
    multiple=True,
    metavar="KEY=VALUE",
    help="How content is cut for an argument that streams: piece_bytes=SIZE or piece_seconds=DURATION. Text "
    "is cut into lines, anything else goes whole.",
)
@click.option("--raw", is_flag=True, help="Print the Output messages in protobuf's JSON.")
@verbose_option
def call(
    endpoint: str | None,
    model: str | None,
    method: str,
    inputs: str,
    files: tuple[str, ...],
    deployment: str | None,
    nodepool: str | None,
    stream: tuple[str, ...],
    raw: bool,
    verbose: int,
) -> None:
    """One call, its answer as JSON on stdout."""
    with faults_told():
        from bulkinfer.pipelines.jobs.one_call import call_once

        configure_logging(verbose)
        where = {"deployment": deployment, "nodepool": nodepool}
        answer = call_once(endpoint, model, method, inputs, files, **where, stream=stream, raw=raw)
        click.echo(json.dumps(answer, ensure_ascii=False))


@click.command(
    cls=Examples,
    examples=("bulkinfer methods --endpoint embedded", "bulkinfer methods --endpoint E --model URL --json"),
)
@endpoint_option
@model_option
@json_option
@verbose_option
def methods(endpoint: str | None, model: str | None, as_json: bool, verbose: int) -> None:
    """The endpoint's methods: parameters, types and defaults."""
    with faults_told():
        from bulkinfer.pipelines.jobs.one_call import list_methods

        configure_logging(verbose)
        found = list_methods(endpoint, model)
        if as_json:
            click.echo(json.dumps([method.to_json() for method in found]))
        else:
            for method in found:
                click.echo(f"{method.signature_text}    # {method.type}")
