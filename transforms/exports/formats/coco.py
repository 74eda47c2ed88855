"""COCO's JSON (https://cocodataset.org/#format-data): a dataset of pictures and annotations, or a list of results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

from ...errors import ConfigError
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..shapes.outlines import outlines_of
from ..writing.json_file import JsonArray, dumped, json_array

__all__ = ["Coco", "CocoResults", "check_pictures", "write_datasets"]

_HOLES = "masks with holes, which stay run lengths as COCO's polygons have none"
_NO_BOX = "regions without a box and without a mask, which are left out"


class Coco(Format):
    """`instances.json`, or `instances_SPLIT.json`, and `images/NAME`: pictures without regions are kept."""

    has_polygons: ClassVar[bool | None] = None
    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        check_pictures("coco", facts)

    def write(self, export: Export) -> None:
        file = "instances_{split}.json" if export.splits.names else "instances.json"
        write_datasets(export, file, "images")


class CocoResults(Format):
    """`bbox.json` of regions with a box and `segm.json` of those with a mask, or with `_SPLIT`; `loadRes` reads them.

    They are lists of their own because the first item tells pycocotools what all of a list are.
    """

    def check(self, facts: Facts, options: ExportOptions) -> None:
        check_pictures("coco-results", facts)

    def write(self, export: Export) -> None:
        with contextlib.ExitStack() as stack:
            lists = {
                (kind, split): stack.enter_context(json_array(export.folder / _name(kind, split)))
                for kind in ("bbox", "segm")
                for split in export.split_names
            }
            for picture, regions, _ in export.selection.items():
                split = export.splits.of(picture.input_id)
                for region in regions:
                    made = annotation(0, picture, region, export)
                    for kind, name in (("bbox", "bbox"), ("segm", "segmentation")):
                        if made is not None and (name != "bbox" or region.bbox) and name in made:
                            lists[kind, split].add(
                                {
                                    "image_id": picture.number,
                                    "category_id": made["category_id"],
                                    name: made[name],
                                    "score": 1.0 if region.score is None else region.score,
                                }
                            )


def write_datasets(export: Export, file: str, images: str) -> None:
    """Write a dataset a split, and the pictures to their places.

    Args:
        export: what is exported.
        file: of the dataset, with "{split}" for the name of the split.
        images: the folder of the pictures, likewise.
    """
    with contextlib.ExitStack() as stack:
        datasets = {
            split: stack.enter_context(_dataset(export.folder / _placed(file, split)))
            for split in export.split_names
        }
        for picture in export.selection.pictures():
            split = export.splits.of(picture.input_id)
            datasets[split].images.add(image(picture))
            export.images.put(picture, export.folder / _placed(images, split) / picture.name)
        for dataset in datasets.values():
            dataset.next()
        number = 0
        for picture, regions, _ in export.selection.items():
            added = datasets[export.splits.of(picture.input_id)].annotations
            for region in regions:
                number += 1
                made = annotation(number, picture, region, export)
                if made is not None:
                    added.add(made)
        for dataset in datasets.values():
            dataset.end(_categories(export))


def _placed(path: str, split: str) -> str:
    return path.format(split=split).lstrip("/")


def check_pictures(name: str, facts: Facts) -> None:
    """Check that rows are about pictures.

    Raises:
        ConfigError: not one is.
    """
    if facts.rows and not facts.sized:
        raise ConfigError(
            f"--format {name}: no chosen row is about a picture whose size is known; use jsonl or csv for texts"
        )


def image(picture: Picture) -> dict[str, Any]:
    """A picture as COCO lists it; a frame with its video."""
    made: dict[str, Any] = {
        "id": picture.number,
        "file_name": picture.name,
        "width": picture.width or 0,
        "height": picture.height or 0,
    }
    if picture.frame is not None:
        made |= {"video": picture.input_id, "frame_index": picture.frame, "frame_time_ms": picture.time_ms}
    return made


def annotation(number: int, picture: Picture, region: Region, export: Export) -> dict[str, Any] | None:
    """A region as COCO has it; None where it has no place."""
    if region.bbox is None and region.rle is None and not region.keypoints and not region.polygon:
        export.notes[_NO_BOX] += 1
        return None
    bbox = region.bbox or [0.0, 0.0, 0.0, 0.0]
    made: dict[str, Any] = {
        "id": number,
        "image_id": picture.number,
        "category_id": export.categories.id_of(region.label),
        "bbox": bbox,
        "area": bbox[2] * bbox[3] if region.area is None else region.area,
        "iscrowd": 0,
    }
    if region.rle is not None:
        made["segmentation"] = _segmentation(region.rle, export)
    elif region.polygon:
        made["segmentation"] = region.polygon
    if region.keypoints:
        made["keypoints"] = region.keypoints
        made["num_keypoints"] = sum(visible > 0 for visible in region.keypoints[2::3])
    if region.score is not None:
        made["score"] = region.score
    if region.track_id is not None:
        made["track_id"] = region.track_id
    return made


def _segmentation(rle: dict[str, Any], export: Export) -> Any:
    if not export.polygons:
        return rle
    outer, holes = outlines_of(rle)
    if holes:
        export.notes[_HOLES] += 1
        return rle
    made = export.tolerance.simplified(outer)
    export.tolerance.account(outer, made, *rle["size"])
    return made or rle


def _categories(export: Export) -> Iterator[dict[str, Any]]:
    """The categories; with names for keypoints where regions have some, as COCO wants it."""
    count = export.facts.keypoints
    points = {"keypoints": [str(at) for at in range(1, count + 1)], "skeleton": []} if count else {}
    for one in export.categories.listed:
        yield {**one, **points}


def _name(kind: str, split: str) -> str:
    return f"{kind}_{split}.json" if split else f"{kind}.json"


class _Dataset:
    """A dataset that is written item by item: pictures, annotations, categories."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        file.write('{"info": {"description": "exported by bulkinfer"}, "licenses": [], "images": ')
        self.images = JsonArray(file)

    def next(self) -> None:
        """After the pictures the annotations come."""
        self.images.end()
        self._file.write(', "annotations": ')
        self.annotations = JsonArray(self._file)

    def end(self, categories: Iterator[dict[str, Any]]) -> None:
        """After the annotations the categories come."""
        self.annotations.end()
        self._file.write(f', "categories": {dumped(list(categories))}}}\n')


@contextlib.contextmanager
def _dataset(path: Path) -> Iterator[_Dataset]:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield _Dataset(file)
