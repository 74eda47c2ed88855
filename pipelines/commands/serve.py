"""`bulkinfer serve`: the embedded model server until it is stopped."""

from __future__ import annotations

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, verbose_option

__all__ = ["serve"]


@click.command(cls=Examples, examples=("bulkinfer serve", "bulkinfer serve --port 9001 --host 0.0.0.0"))
@click.option(
    "--port", default=9001, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Interface to bind; loopback unless told otherwise.",
)
@click.option("--model", metavar="URL", help="Answer for this model alone; by default for any.")
@click.option("--key-env", metavar="NAME", help="Environment variable with a key that calls must carry.")
@verbose_option
def serve(port: int, host: str, model: str | None, key_env: str | None, verbose: int) -> None:
    """The embedded model server: a real endpoint of the same API, for trying things out and for tests."""
    with faults_told():
        from bulkinfer.pipelines.embedded.server import run_forever

        configure_logging(verbose)
        run_forever(
            port=port,
            host=host,
            model_url=model,
            required_key_env=key_env,
            on_ready=lambda address: click.echo(f"serving on {address}; stop with Ctrl-C", err=True),
        )
