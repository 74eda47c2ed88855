"""Exports an output: chooses rows, numbers labels, lets a format write them, and tells what was written."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

from ..errors import ConfigError
from ..storage.references import shown
from ..storage.store import Store
from .categories import Categories
from .contents import MODES, NOWHERE, Contents, Images, Origin
from .reading.items import Facts
from .reading.selection import Selection
from .shapes.polygons import Tolerance
from .splits import Splits, parse_splits
from .writing.target import Target, write_manifest

__all__ = ["FORMATS", "Export", "ExportOptions", "Format", "export"]

#: Name to module and class.
FORMATS: Mapping[str, str] = {
    "coco": "coco:Coco",
    "coco-results": "coco:CocoResults",
    "csv": "rows:Csv",
    "cvat": "cvat:Cvat",
    "fiftyone": "fiftyone:FiftyOne",
    "jsonl": "rows:JsonLines",
    "label-studio": "label_studio:LabelStudio",
    "png": "png:LabelMaps",
    "png-masks": "png:Masks",
    "sa1b": "sa1b:Sa1b",
    "voc": "voc:PascalVoc",
    "webdataset": "webdataset:WebDataset",
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
        tolerance: how many pixels polygons may be off; 0 for none.
        images: copy | link | none; None for the format's own choice.
        mixed: rows of several models or versions may go together.
        dry_run: count only.
    """

    where: str | None = None
    categories: Path | None = None
    split: str | None = None
    polygons: bool = False
    tolerance: float = 0.0
    images: str | None = None
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
        place: the address that the folder will have.
        scratch: for what is needed meanwhile.
        images: puts the pictures to their places.
        polygons: masks as polygons where the format has both.
        tolerance: leaves out corners of polygons.
        notes: what the format could not say in full, and how often.
    """

    selection: Selection
    categories: Categories
    splits: Splits
    folder: Path
    place: str
    scratch: Path
    images: Images
    polygons: bool
    tolerance: Tolerance
    notes: Counter[str]

    @property
    def facts(self) -> Facts:
        """What the rows hold."""
        return self.selection.facts

    @property
    def split_names(self) -> tuple[str, ...]:
        """Of the splits; "" alone where there are none."""
        return self.splits.names or ("",)


class Format:
    """A format: how it writes an export.

    Attributes:
        has_labels: it numbers the labels of regions.
        has_polygons: masks are written as polygons: always, if a person wants it, or never.
        image_modes: what it can do with the pictures, its own choice first.
    """

    has_labels: ClassVar[bool] = True
    has_polygons: ClassVar[bool | None] = False
    image_modes: ClassVar[tuple[str, ...]] = ("none",)

    def check(self, facts: Facts, options: ExportOptions) -> None:
        """Check that the format can say what the tables hold, before anything is written.

        Raises:
            ConfigError: it cannot; the message names a format that can.
        """

    def write(self, export: Export) -> None:
        """Write all files.

        Raises:
            ConfigError: the format cannot say what one of the rows holds; the message names one that can.
        """
        raise NotImplementedError


def export(
    store: Store,
    name: str,
    to: str,
    options: ExportOptions = ExportOptions(),
    *,
    origin: Origin = NOWHERE,
    storage: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Export an output.

    Args:
        store: of the output.
        name: of the format, one of `FORMATS`.
        to: the folder, which is new or an older export; a path or any fsspec URL.
        options: what a person asks.
        origin: where the inputs come from, whose content some formats hold.
        storage: fsspec options of the folder's store.

    Returns:
        What the export's manifest says: format, runs, models, rows, regions by label, notes.

    Raises:
        ConfigError: an option is wrong, the rows are of several models, or the format cannot say what they hold.
        StoreError: the tables cannot be read, or the folder cannot be written.
        ImportError: a package that the format or the condition needs is not installed.
    """
    chosen, splits, target = _format(name), parse_splits(options.split), Target(to, storage)
    mode = _checked(chosen, name, options, target)
    selection = Selection(store, options.where)
    facts = selection.facts
    versions = sorted(facts.versions, key=lambda pair: (pair[0] or "", pair[1] or ""))
    if len(versions) > 1 and not options.mixed:
        models = ", ".join(f"{url or 'unknown'} version {version or 'unknown'}" for url, version in versions)
        raise ConfigError(
            f"the rows are answers of several models or versions ({models}); choose one by --where, or add --mixed"
        )
    chosen.check(facts, options)
    categories = Categories.of_file(options.categories) if options.categories else Categories.of_output(store)
    grew = categories.learn(facts.regions) if chosen.has_labels else False
    told: dict[str, Any] = {
        "format": name,
        "output": shown(store.uri),
        "where": options.where,
        "runs": sorted(facts.runs),
        "models": [{"url": url, "version": version} for url, version in versions],
        "rows": facts.rows,
        "regions": dict(sorted(facts.regions.items())),
    }
    if options.dry_run:
        return {**told, "notes": {}}
    with target.new() as work:
        selection.scratch = work.scratch
        notes: Counter[str] = Counter()
        images = Images(mode, Contents(origin, work.scratch), notes)
        tolerance = Tolerance(options.tolerance)
        made = Export(
            selection,
            categories,
            splits,
            work.folder,
            work.place,
            work.scratch,
            images,
            options.polygons or chosen.has_polygons is True,
            tolerance,
            notes,
        )
        chosen.write(made)
        told["notes"] = {what: count for what, count in sorted(notes.items()) if count}
        if options.tolerance:
            told["tolerance"] = tolerance.told
        write_manifest(work.folder, told)
    if grew and not options.categories:
        categories.keep(store)
    return told


def _checked(chosen: Format, name: str, options: ExportOptions, target: Target) -> str:
    """What is done with pictures; refuses options that say nothing to the format."""
    if options.polygons and chosen.has_polygons is not None:
        raise ConfigError(f"--polygons: {name} has no choice of polygons; leave it out, or use coco")
    if not (math.isfinite(options.tolerance) and options.tolerance >= 0):
        raise ConfigError(
            f"--tolerance {options.tolerance}: write how many pixels an outline may be off, from 0"
        )
    if options.tolerance and chosen.has_polygons is not True and not options.polygons:
        raise ConfigError(
            f"--tolerance: {name} has no polygons to simplify; leave it out, or use yolo-seg, or coco --polygons"
        )
    mode = options.images or chosen.image_modes[0]
    if mode not in chosen.image_modes:
        raise ConfigError(
            f"--images {mode}: {name} knows {', '.join(chosen.image_modes)}; coco and yolo know {', '.join(MODES)}"
        )
    if mode == "link" and not target.is_local:
        raise ConfigError("--images link: --to is another store, which has no links; use copy")
    return mode


def _format(name: str) -> Format:
    module, _, kind = FORMATS[name].partition(":")
    return cast("Format", getattr(importlib.import_module(f".formats.{module}", __package__), kind)())
