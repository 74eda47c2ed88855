"""`bulkinfer schema`: the JSON Schema of the job file."""

from __future__ import annotations

import json

import click

from .options import Examples

__all__ = ["schema"]


@click.command(cls=Examples, examples=("bulkinfer schema > job.schema.json",))
def schema() -> None:
    """JSON Schema of the job file."""
    from bulkinfer.transforms.job.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
