"""Exports an output: chooses rows, numbers labels, lets a format write them, and tells what was written."""

from __future__ import annotations

import dataclasses
import importlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from ..errors import ConfigError
from ..storage.references import shown
from ..storage.store import Store
from .categories import UNNAMED, Categories
from .selection import Selection
from .splits import Splits, parse_splits
from .target import check_target, new_folder, write_manifest

__all__ = ["FORMATS", "Export", "ExportOptions", "Format", "export"]

#: Name to module and class.
FORMATS: Mapping[str, str] = {
    "coco": "coco:Coco",
    "coco-results": "coco:CocoResults",
    "csv": "rows:Csv",
    "jsonl": "rows:JsonLines",
    "png": "png:LabelMaps",
    "sa1b": "sa1b:Sa1b",
    "voc": "voc:PascalVoc",
    "yolo": "yolo:Yolo",
    "yolo-seg": "yolo:YoloSegments",
}


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What a person asks of an export.

    Attributes:
        where: a condition on rows; see `Selection`.
        categories: a person's own list of labels.
        split: shares of train, val and test.
        polygons: masks as polygons where the format has both.
        mixed: rows of several models or versions may go together.
        dry_run: count only.
    """

    where: str | None = None
    categories: Path | None = None
    split: str | None = None
    polygons: bool = False
    mixed: bool = False
    dry_run: bool = False


@dataclasses.dataclass
class Export:
    """One export, as its format sees it.

    Attributes:
        selection: the chosen rows.
        categories: ids of their labels.
        splits: of the inputs.
        folder: where the format writes.
        polygons: masks as polygons where the format has both.
        notes: what the format could not say in full, and how often.
    """

    selection: Selection
    categories: Categories
    splits: Splits
    folder: Path
    polygons: bool = False
    notes: Counter[str] = dataclasses.field(default_factory=Counter)


class Format(Protocol):
    """A format: how it writes an export."""

    has_labels: bool  #: it numbers the labels of regions

    def write(self, export: Export) -> None:
        """Write all files.

        Raises:
            ConfigError: the format cannot say what the tables hold; the message names one that can.
        """


def export(store: Store, name: str, to: str, options: ExportOptions = ExportOptions()) -> dict[str, Any]:
    """Export an output to a local folder.

    Args:
        store: of the output.
        name: of the format, one of `FORMATS`.
        to: the folder, which is new or an older export.

    Returns:
        What the export's manifest says: format, runs, models, pictures, regions by label, notes.

    Raises:
        ConfigError: an option is wrong, the rows are of several models, or the format cannot say what they hold.
        StoreError: the tables cannot be read.
    """
    target, splits = check_target(to), parse_splits(options.split)
    selection = Selection(store, options.where)
    versions = selection.versions()
    if len(versions) > 1 and not options.mixed:
        models = ", ".join(f"{url or 'unknown'} version {version or 'unknown'}" for url, version in versions)
        raise ConfigError(
            f"the rows are answers of several models or versions ({models}); choose one by --where, or add --mixed"
        )
    chosen = _format(name)
    categories = Categories.of_file(options.categories) if options.categories else Categories.of_output(store)
    regions: Counter[str] = Counter(region.label or UNNAMED for region in selection.regions())
    grew = categories.learn(regions) if chosen.has_labels else False
    told: dict[str, Any] = {
        "format": name,
        "output": shown(store.uri),
        "where": options.where,
        "runs": selection.runs(),
        "models": [{"url": url, "version": version} for url, version in versions],
        "rows": len(selection.pictures()),
        "regions": dict(sorted(regions.items())),
    }
    if options.dry_run:
        return {**told, "notes": {}}
    with new_folder(target) as folder:
        made = Export(selection, categories, splits, folder, options.polygons)
        chosen.write(made)
        told["notes"] = dict(sorted(made.notes.items()))
        write_manifest(folder, told)
    if grew and not options.categories:
        categories.keep(store)
    return told


def _format(name: str) -> Format:
    module, _, kind = FORMATS[name].partition(":")
    return cast("Format", getattr(importlib.import_module(f".formats.{module}", __package__), kind)())
