"""`bulkinfer compare`: where two outputs disagree."""

from __future__ import annotations

import json

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, json_option, verbose_option

__all__ = ["compare"]


@click.command(
    cls=Examples,
    examples=(
        "bulkinfer compare out/model-1 out/model-2",
        "bulkinfer compare out/a out/b --to compare.html --sample 30",
        "bulkinfer compare before.yaml after.yaml --json",
    ),
)
@click.argument("output_a")
@click.argument("output_b")
@json_option
@click.option("--to", metavar="FILE.html", help="Also write a page with disagreeing inputs side by side.")
@click.option(
    "--sample",
    default=12,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Inputs that disagree most to name, and to show on the page.",
)
@verbose_option
def compare(output_a: str, output_b: str, as_json: bool, to: str | None, sample: int, verbose: int) -> None:
    """Where two models, versions or prompts disagree about the same inputs: labels, scores, texts, masks.

    OUTPUT_A and OUTPUT_B are directories that output.uri names, or job files.
    """
    with faults_told():
        from bulkinfer.pipelines.compare.comparison import compare as compared
        from bulkinfer.pipelines.compare.page import comparison_page, comparison_text
        from bulkinfer.pipelines.report.output import open_output
        from bulkinfer.pipelines.report.report import write_page

        configure_logging(verbose)
        found = compared(open_output(output_a), open_output(output_b), sample)
        if to is not None:
            write_page(found.a.store, to, "compare.html", comparison_page(found).encode("utf-8", "replace"))
        click.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else comparison_text(found))
        if to is not None and not as_json:
            click.echo(f"\nthe page: {to}")
