"""COCO's JSON (https://cocodataset.org/#format-data): a dataset of pictures and annotations, or a list of results."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..export import Export
from ..outlines import outlines_of
from ..selection import Region

__all__ = ["Coco", "CocoResults"]

_HOLES = "masks with holes, which stay run lengths as COCO's polygons have none"
_NO_BOX = "regions without a box and without a mask, which are left out"


class Coco:
    """`instances.json`, or `instances_SPLIT.json`: pictures without regions are kept."""

    has_labels = True

    def write(self, export: Export) -> None:
        """Write the datasets.

        Raises:
            ConfigError: no row is about a picture.
        """
        pictures = export.selection.pictures()
        _check_pictures(export)
        with contextlib.ExitStack() as stack:
            datasets = {
                split: stack.enter_context(_Dataset.open(export.folder / _name("instances", split)))
                for split in export.splits.names or ("",)
            }
            for picture in pictures.values():
                datasets[export.splits.of(picture.key[0])].add(
                    "images",
                    {
                        "id": picture.number,
                        "file_name": picture.name,
                        "width": picture.width or 0,
                        "height": picture.height or 0,
                    },
                )
            for number, region in enumerate(export.selection.regions(), 1):
                annotation = _annotation(number, region, export)
                if annotation is not None:
                    datasets[export.splits.of(region.picture.key[0])].add("annotations", annotation)
            for dataset in datasets.values():
                for category in export.categories.listed:
                    dataset.add("categories", category)


class CocoResults:
    """`bbox.json` of regions with a box and `segm.json` of those with a mask, or with `_SPLIT`; `loadRes` reads them.

    They are lists of their own because the first item tells pycocotools what all of a list are.
    """

    has_labels = True

    def write(self, export: Export) -> None:
        """Write the lists.

        Raises:
            ConfigError: no row is about a picture.
        """
        _check_pictures(export)
        with contextlib.ExitStack() as stack:
            lists = {
                (kind, split): stack.enter_context(_Array.open(export.folder / _name(kind, split)))
                for kind in ("bbox", "segm")
                for split in export.splits.names or ("",)
            }
            for region in export.selection.regions():
                annotation = _annotation(0, region, export)
                split = export.splits.of(region.picture.key[0])
                score = 1.0 if region.score is None else region.score
                for kind, name in (("bbox", "bbox"), ("segm", "segmentation")):
                    if annotation is not None and (name != "bbox" or region.bbox) and name in annotation:
                        lists[kind, split].add(
                            {
                                "image_id": annotation["image_id"],
                                "category_id": annotation["category_id"],
                                name: annotation[name],
                                "score": score,
                            }
                        )


def _check_pictures(export: Export) -> None:
    pictures = export.selection.pictures().values()
    if pictures and not any(picture.width for picture in pictures):
        raise ConfigError(
            "--format coco: no chosen row is about a picture whose size is known; use jsonl or csv for texts"
        )


def _name(kind: str, split: str) -> str:
    return f"{kind}_{split}.json" if split else f"{kind}.json"


def _annotation(number: int, region: Region, export: Export) -> dict[str, Any] | None:
    if region.bbox is None and region.rle is None and not region.keypoints:
        export.notes[_NO_BOX] += 1
        return None
    bbox = region.bbox or [0.0, 0.0, 0.0, 0.0]
    made: dict[str, Any] = {
        "id": number,
        "image_id": region.picture.number,
        "category_id": export.categories.id_of(region.label),
        "bbox": bbox,
        "area": bbox[2] * bbox[3] if region.area is None else region.area,
        "iscrowd": 0,
    }
    if region.rle is not None:
        made["segmentation"] = region.rle
        if export.polygons:
            outer, holes = outlines_of(region.rle)
            if holes:
                export.notes[_HOLES] += 1
            elif outer:
                made["segmentation"] = outer
    if region.keypoints:
        made["keypoints"] = region.keypoints
        made["num_keypoints"] = sum(visible > 0 for visible in region.keypoints[2::3])
    if region.score is not None:
        made["score"] = region.score
    if region.track_id is not None:
        made["track_id"] = region.track_id
    return made


class _Array:
    """A JSON array that is written item by item."""

    def __init__(self, file: Any) -> None:
        self._file, self._empty = file, True

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[_Array]:
        """Open a file that holds the array alone."""
        with path.open("w", encoding="utf-8") as file:
            file.write("[")
            yield cls(file)
            file.write("\n]\n")

    def add(self, item: Any) -> None:
        """Add an item."""
        self._file.write("\n" if self._empty else ",\n")
        self._file.write(json.dumps(item, ensure_ascii=False))
        self._empty = False


class _Dataset:
    """A dataset that is written item by item, its lists in the order in which they begin."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._list: tuple[str, _Array] | None = None
        self._left = ["images", "annotations", "categories"]

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[_Dataset]:
        """Open a dataset's file."""
        with path.open("w", encoding="utf-8") as file:
            file.write('{"info": {"description": "exported by bulkinfer"}, "licenses": []')
            made = cls(file)
            yield made
            made._begin("")
            file.write("}\n")

    def add(self, name: str, item: Any) -> None:
        """Add an item to a list; lists come one after the other."""
        if self._list is None or self._list[0] != name:
            self._begin(name)
        assert self._list is not None
        self._list[1].add(item)

    def _begin(self, name: str) -> None:
        """End the open list, and begin all up to this one; "" for the end."""
        if self._list is not None:
            self._file.write("\n]")
            self._list = None
        while self._left:
            following = self._left.pop(0)
            self._file.write(f', "{following}": [')
            if following == name:
                self._list = name, _Array(self._file)
                return
            self._file.write("]")
