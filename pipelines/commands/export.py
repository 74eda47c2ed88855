"""`bulkinfer export`: hand an output on in the format of another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, json_option, verbose_option

__all__ = ["export"]

_FORMATS = ("coco", "coco-results", "csv", "jsonl", "png", "sa1b", "voc", "yolo", "yolo-seg")


@click.command(
    cls=Examples,
    examples=(
        "bulkinfer export out/photos --format coco --to coco",
        "bulkinfer export job.yaml --format yolo --to yolo --split 0.8/0.1/0.1",
        'bulkinfer export out/photos --format coco --polygons --to coco --where "score > 0.5" --dry-run',
    ),
)
@click.argument("output")
@click.option("--format", "name", required=True, type=click.Choice(_FORMATS), help="What to write.")
@click.option("--to", required=True, metavar="PATH", help="A local folder: new, or an older export.")
@click.option(
    "--where", metavar="SQL", help="Only rows of `predictions` for which this holds (DuckDB's SQL)."
)
@click.option(
    "--categories",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Names and ids of the labels. Default: _categories.json beside the tables, which grows by new labels.",
)
@click.option("--split", metavar="A/B/C", help="Shares of train, val and test, by a hash of the input's id.")
@click.option(
    "--polygons", is_flag=True, help="coco: masks without holes as polygons along the edges of pixels."
)
@click.option("--mixed", is_flag=True, help="Rows of several models or versions may go together.")
@click.option("--dry-run", is_flag=True, help="Count the rows and the regions of each label; write nothing.")
@json_option
@verbose_option
def export(output: str, name: str, to: str, as_json: bool, verbose: int, **options: Any) -> None:
    """Hand the tables on in the format of another tool.

    OUTPUT is the directory that output.uri names, or the job file, which also says how to reach its store.
    """
    with faults_told():
        from bulkinfer.pipelines.report.output import open_output
        from bulkinfer.transforms.errors import JobError
        from bulkinfer.transforms.exports.export import ExportOptions
        from bulkinfer.transforms.exports.export import export as export_tables

        configure_logging(verbose)
        try:
            told = export_tables(open_output(output).store, name, to, ExportOptions(**options))
        except ImportError as error:
            raise JobError(
                f"--where needs {error.name}; install it, as by pip install 'bulkinfer[demo]'"
            ) from None
        click.echo(json.dumps(told, ensure_ascii=False) if as_json else _text(told, to, options["dry_run"]))


def _text(told: dict[str, Any], to: str, dry_run: bool) -> str:
    regions = sum(told["regions"].values())
    lines = [f"{'would write' if dry_run else 'wrote'} {to}: {told['rows']} rows, {regions} regions"]
    lines += [f"  {count:>8}  {label}" for label, count in told["regions"].items()]
    lines += [f"note: {count} {what}" for what, count in told["notes"].items() if count]
    return "\n".join(lines)
