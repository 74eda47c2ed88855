"""YOLO's label files (https://docs.ultralytics.com/datasets): a text a picture, a line a region, beside a data.yaml."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

import yaml

from ...errors import ConfigError
from ..export import Export
from ..outlines import outlines_of
from ..selection import Picture, Region

__all__ = ["Yolo", "YoloSegments"]

_NO_BOX = "regions without a box, which are left out"
_NO_MASK = "regions without a mask, which are left out"
_PIECES = "masks of several pieces, of which the largest is written"
_HOLES = "masks with holes, which the format fills; coco keeps them"


class Yolo:
    """`labels/SPLIT/NAME.txt` with boxes: class, centre, width and height, in 0..1 of the picture."""

    has_labels = True

    def write(self, export: Export) -> None:
        """Write the label files and data.yaml.

        Raises:
            ConfigError: a picture's size is not known.
        """
        numbers = {one["id"]: at for at, one in enumerate(export.categories.listed)}
        names = [str(one["name"]) for one in export.categories.listed]
        lines: dict[int, list[str]] = {}
        for region in export.selection.regions():
            line = self._line(region, _size(region.picture), export)
            if line is not None:
                number = numbers[export.categories.id_of(region.label)]
                values = " ".join(f"{value:.6f}" for value in line)
                lines.setdefault(region.picture.number, []).append(f"{number} {values}\n")
        for picture in export.selection.pictures().values():
            split = export.splits.of(picture.key[0]) or "train"
            path = export.folder / "labels" / split / f"{posixpath.splitext(picture.name)[0]}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            # A picture without regions has an empty file: it is a negative, and no forgotten one.
            path.write_text("".join(lines.get(picture.number, ())), encoding="utf-8")
        splits = export.splits.names or ("train",)
        told: dict[str, Any] = {split: f"images/{split}" for split in splits}
        if "val" not in told:
            told["val"] = told["train"]
        text = yaml.safe_dump(
            {"path": ".", **told, "names": dict(enumerate(names))}, sort_keys=False, allow_unicode=True
        )
        (export.folder / "data.yaml").write_text(text, encoding="utf-8")

    def _line(self, region: Region, size: tuple[int, int], export: Export) -> list[float] | None:
        if region.bbox is None:
            export.notes[_NO_BOX] += 1
            return None
        x, y, width, height = region.bbox
        return [(x + width / 2) / size[0], (y + height / 2) / size[1], width / size[0], height / size[1]]


class YoloSegments(Yolo):
    """The same with outlines: class, and x and y of each corner, in 0..1 of the mask's picture."""

    def _line(self, region: Region, size: tuple[int, int], export: Export) -> list[float] | None:
        if region.rle is None:
            export.notes[_NO_MASK] += 1
            return None
        outer, holes = outlines_of(region.rle)
        if not outer:
            export.notes[_NO_MASK] += 1
            return None
        if len(outer) > 1:
            export.notes[_PIECES] += 1
        if holes:
            export.notes[_HOLES] += 1
        height, width = region.rle["size"]
        return list(_in_shares(max(outer, key=_area), width, height))


def _size(picture: Picture) -> tuple[int, int]:
    if not picture.width or not picture.height:
        raise ConfigError(
            f"--format yolo: the size of {picture.name} is not known, and positions are in shares of it; use coco, or "
            "leave such rows out by --where 'width > 0'"
        )
    return picture.width, picture.height


def _in_shares(corners: list[int], width: int, height: int) -> Iterator[float]:
    for x, y in zip(corners[::2], corners[1::2], strict=True):
        yield from (x / width, y / height)


def _area(corners: list[int]) -> int:
    points = list(zip(corners[::2], corners[1::2], strict=True))
    following = points[1:] + points[:1]
    return abs(
        sum(x * other_y - other_x * y for (x, y), (other_x, other_y) in zip(points, following, strict=True))
    )
