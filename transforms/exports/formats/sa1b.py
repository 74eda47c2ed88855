"""SA-1B's JSON (https://github.com/facebookresearch/segment-anything#dataset): a file a picture with all its masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..export import Export
from ..selection import Picture

__all__ = ["Sa1b"]


class Sa1b:
    """`NAME.json` of each picture: the picture, and an annotation a mask."""

    has_labels = False

    def write(self, export: Export) -> None:
        """Write the files; masks of one picture stand together in the tables, so that one picture is held at a time.

        Raises:
            ConfigError: the chosen rows have no masks.
        """
        open_: tuple[Picture, list[Any]] | None = None
        written: set[int] = set()
        for number, region in enumerate(export.selection.regions(), 1):
            if region.rle is None:
                continue
            if open_ is None or open_[0].number != region.picture.number:
                _write(export.folder, open_)
                open_ = region.picture, _begun(export.folder, region.picture, written)
            written.add(region.picture.number)
            open_[1].append(
                {
                    "id": number,
                    "segmentation": region.rle,
                    "bbox": region.bbox or [0.0, 0.0, 0.0, 0.0],
                    "area": region.area,
                    "predicted_iou": region.score,
                    "stability_score": None,
                    "crop_box": [0.0, 0.0, float(region.rle["size"][1]), float(region.rle["size"][0])],
                    "point_coords": [],
                }
            )
        _write(export.folder, open_)
        if not written:
            raise ConfigError(
                "--format sa1b: the chosen rows have no masks; use coco for boxes, jsonl for the rest"
            )
        for picture in export.selection.pictures().values():
            if picture.number not in written:
                _write(export.folder, (picture, []))


def _path(folder: Path, picture: Picture) -> Path:
    return folder / f"{picture.name}.json"


def _begun(folder: Path, picture: Picture, written: set[int]) -> list[Any]:
    """The annotations of a picture whose masks go on in a later file of the table."""
    if picture.number not in written:
        return []
    listed: list[Any] = json.loads(_path(folder, picture).read_text(encoding="utf-8"))["annotations"]
    return listed


def _write(folder: Path, made: tuple[Picture, list[Any]] | None) -> None:
    if made is None:
        return
    picture, annotations = made
    image = {
        "image_id": picture.number,
        "file_name": picture.name,
        "width": picture.width,
        "height": picture.height,
    }
    path = _path(folder, picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"image": image, "annotations": annotations}) + "\n", encoding="utf-8")
