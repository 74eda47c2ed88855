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
    "--http-port",
    type=click.IntRange(0, 65535),
    help="Port of the OpenAI-compatible API; by default the one after --port. 0 takes a free port.",
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
def serve(
    port: int, http_port: int | None, host: str, model: str | None, key_env: str | None, verbose: int
) -> None:
    """The embedded model server: a real endpoint of the same API, for trying things out and for tests.

    On a second port it answers the OpenAI-compatible API: models, chat completions, responses and embeddings.
    """
    with faults_told():
        from bulkinfer.pipelines.embedded.running import Addresses, run_forever
        from bulkinfer.pipelines.embedded.settings import Settings

        def tell(addresses: Addresses) -> None:
            click.echo(f"serving on {addresses.grpc}; stop with Ctrl-C", err=True)
            click.echo(f"the OpenAI-compatible API is on {addresses.http}", err=True)

        configure_logging(verbose)
        if http_port is None:
            http_port = port + 1 if 0 < port < 65535 else 0
        settings = Settings(
            port=port, http_port=http_port, host=host, model_url=model, required_key_env=key_env
        )
        run_forever(settings, on_ready=tell)
