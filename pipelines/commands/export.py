"""`bulkinfer export`: hand an output on in the format of another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from ..terminal.printable import printable
from .options import Examples, json_option, verbose_option

__all__ = ["export"]

_FORMATS = (
    "coco",
    "coco-results",
    "csv",
    "cvat",
    "fiftyone",
    "jsonl",
    "label-studio",
    "png",
    "png-masks",
    "sa1b",
    "voc",
    "webdataset",
    "yolo",
    "yolo-seg",
)
#: The extra that brings a package.
_EXTRAS = {"duckdb": "demo"}


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
@click.option("--to", required=True, metavar="PATH", help="A folder on any store: new, or an older export.")
@click.option(
    "--to-storage",
    metavar="JSON",
    help="fsspec options of that store. Default: output.storage of the job file, where both are on one kind of store.",
)
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
@click.option(
    "--tolerance",
    type=float,
    default=0.0,
    metavar="PX",
    help="Leave out corners of polygons within so many pixels; it is told what that cost.",
)
@click.option(
    "--images",
    type=click.Choice(("copy", "link", "none")),
    help="Pictures beside their labels. Default: none; copy where the format holds them (fiftyone, webdataset).",
)
@click.option("--mixed", is_flag=True, help="Rows of several models or versions may go together.")
@click.option("--dry-run", is_flag=True, help="Count the rows and the regions of each label; write nothing.")
@json_option
@verbose_option
def export(
    output: str, name: str, to: str, to_storage: str | None, as_json: bool, verbose: int, **options: Any
) -> None:
    """Hand the tables on in the format of another tool.

    OUTPUT is the directory that output.uri names, or the job file, which also says how to reach its store.
    """
    with faults_told():
        from bulkinfer.pipelines.report.output import open_output
        from bulkinfer.transforms.errors import JobError
        from bulkinfer.transforms.exports.contents import Origin
        from bulkinfer.transforms.exports.export import ExportOptions
        from bulkinfer.transforms.exports.export import export as export_tables

        configure_logging(verbose)
        opened = open_output(output)
        storage = _storage(to_storage) if to_storage is not None else _shared(opened.store, to)
        origin = Origin(opened.source, opened.folder)
        chosen = ExportOptions(**options)
        try:
            told = export_tables(opened.store, name, to, chosen, origin=origin, storage=storage)
        except ImportError as error:
            extra = _EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            option = "--where" if extra == "demo" else f"--format {name}"
            raise JobError(
                f"{option} needs {error.name}; install it, as by pip install 'bulkinfer[{extra}]'"
            ) from None
        click.echo(json.dumps(told) if as_json else _text(told, to, options["dry_run"]))


def _storage(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise click.BadParameter(
            'write fsspec options as JSON, as in \'{"key": {"env": "S3_KEY"}}\'', param_hint="--to-storage"
        )
    return options


def _shared(store: Any, to: str) -> dict[str, Any]:
    """The output's own options, where the export goes to the same kind of store."""
    protocol = to.partition("://")[0] if "://" in to else "file"
    return store.storage if store.uri.startswith(f"{protocol}://") else {}


def _text(told: dict[str, Any], to: str, dry_run: bool) -> str:
    regions = sum(told["regions"].values())
    lines = [f"{'would write' if dry_run else 'wrote'} {to}: {told['rows']} rows, {regions} regions"]
    lines += [f"  {count:>8}  {printable(label)}" for label, count in told["regions"].items()]
    lines += [f"note: {count} {what}" for what, count in told["notes"].items()]
    if "tolerance" in told:
        cost = told["tolerance"]
        lines.append(
            f"note: {cost['masks']} outlines simplified, at an IoU of {cost['iou_mean']} in the mean and "
            f"{cost['iou_least']} at worst"
        )
    return "\n".join(lines)
