"""What several commands take: the job file, overrides, limits, an endpoint; and help that ends with examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = [
    "Examples",
    "endpoint_option",
    "job_argument",
    "json_option",
    "limit_option",
    "model_option",
    "set_option",
    "verbose_option",
]


class Examples(click.Command):
    """A command whose help ends with examples, line by line."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


job_argument = click.argument("job", type=click.Path(path_type=Path))
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of the job file."
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N inputs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
verbose_option = click.option("-v", "--verbose", count=True, help="Log more; twice for everything.")
endpoint_option = click.option(
    "--endpoint",
    metavar="E",
    help="Address of the API, or `embedded`. Default: $CLARIFAI_API_BASE, else the public API.",
)
model_option = click.option(
    "--model", metavar="URL", help="https://clarifai.com/USER/APP/models/MODEL[/versions/V]"
)
