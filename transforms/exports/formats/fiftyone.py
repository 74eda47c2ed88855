"""FiftyOne's COCO dataset (https://docs.voxel51.com/user_guide/import_datasets.html), and its samples as JSON."""

from __future__ import annotations

import base64
import contextlib
import io
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..categories import UNNAMED
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..shapes.runs import cropped
from ..writing.json_file import json_array
from .coco import check_pictures, write_datasets

__all__ = ["FiftyOne"]

_NO_BOX = "regions without a box and without a mask, which are left out"


class FiftyOne(Format):
    """`SPLIT/labels.json` and `SPLIT/data/NAME` for `fo.types.COCODetectionDataset`, and `SPLIT/samples.json`.

    Without splits they lie in the folder itself. The samples are what `fo.Sample.from_dict` takes.
    """

    image_modes: ClassVar[tuple[str, ...]] = ("copy", "link", "none")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        check_pictures("fiftyone", facts)

    def write(self, export: Export) -> None:
        for split in export.split_names:
            (export.folder / split / "data").mkdir(parents=True)
        write_datasets(export, "{split}/labels.json", "{split}/data")
        with contextlib.ExitStack() as stack:
            lists = {
                split: stack.enter_context(json_array(export.folder / split / "samples.json"))
                for split in export.split_names
            }
            for picture, regions, row in export.selection.items(("label", "score", "text")):
                split = export.splits.of(picture.input_id)
                lists[split].add(_sample(picture, regions, row, split, export))


def _sample(
    picture: Picture, regions: list[Region], row: dict[str, Any], split: str, export: Export
) -> dict[str, Any]:
    path = f"data/{picture.name}"
    if export.images.mode == "none":
        path = picture.uri or picture.input_id
    made: dict[str, Any] = {
        "filepath": path,
        "tags": [split] if split else [],
        "input_id": picture.input_id,
        "metadata": {
            "_cls": "ImageMetadata",
            "width": picture.width,
            "height": picture.height,
        },
        "detections": {"_cls": "Detections", "detections": list(_detections(picture, regions, export))},
    }
    points = [_keypoint(picture, region) for region in regions if region.keypoints]
    if points:
        made["keypoints"] = {"_cls": "Keypoints", "keypoints": points}
    if row["label"] is not None:
        made["label"] = {"_cls": "Classification", "label": row["label"], "confidence": row["score"]}
    if row["text"] is not None:
        made["text"] = row["text"]
    return made


def _detections(picture: Picture, regions: list[Region], export: Export) -> Iterator[dict[str, Any]]:
    for region in regions:
        box, size, mask = region.bbox, (picture.width or 0, picture.height or 0), None
        if region.rle is not None and region.area:
            # FiftyOne stretches a mask over the box: both have to be the mask's own.
            left, top, mask = cropped(region.rle)
            box, size = [left, top, *mask.shape[::-1]], (region.rle["size"][1], region.rle["size"][0])
        if box is None or not all(size):
            export.notes[_NO_BOX] += 1
            continue
        sides = (*size, *size)
        made: dict[str, Any] = {
            "_cls": "Detection",
            "attributes": {},
            "tags": [],
            "label": region.label or UNNAMED,
            "bounding_box": [at / side for at, side in zip(box, sides, strict=True)],
        }
        if mask is not None:
            made["mask"] = {"$binary": {"base64": _packed(mask), "subType": "00"}}
        if region.score is not None:
            made["confidence"] = region.score
        if region.track_id is not None:
            made["track_id"] = region.track_id
        yield made


def _keypoint(picture: Picture, region: Region) -> dict[str, Any]:
    width, height = picture.width or 1, picture.height or 1
    triples = list(zip(*(iter(region.keypoints or ()),) * 3, strict=True))
    return {
        "_cls": "Keypoint",
        "attributes": {},
        "tags": [],
        "label": region.label or UNNAMED,
        "points": [[x / width, y / height] for x, y, _ in triples],
    }


def _packed(pixels: Any) -> str:
    """An array as FiftyOne keeps it: NumPy's own format, deflated."""
    out = io.BytesIO()
    np.save(out, pixels, allow_pickle=False)
    return base64.b64encode(zlib.compress(out.getvalue())).decode("ascii")
