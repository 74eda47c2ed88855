"""YOLO's label files (https://docs.ultralytics.com/datasets): a text a picture, a line a region, beside a data.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

from ...errors import ConfigError
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..reading.names import suffix_of
from ..shapes.outlines import outlines_of
from ..shapes.polygons import bridged, largest

__all__ = ["Yolo", "YoloSegments"]

_NO_BOX = "regions without a box, which are left out"
_NO_MASK = "regions without a mask, which are left out"
_PIECES = "masks of several pieces, of which the largest is written; coco keeps them"
_HOLES = "masks with holes, to which a cut without width leads from the outline"
_TRACKS = "track ids, which the format has no place for; coco keeps them"


class Yolo(Format):
    """`labels/SPLIT/NAME.txt` with boxes: class, centre, width and height, in 0..1 of the picture."""

    name = "yolo"
    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if facts.unsized:
            raise ConfigError(
                f"--format {self.name}: the size of {facts.unsized} is not known, and positions are in shares of it; "
                "use coco, or leave such rows out by --where 'width > 0'"
            )
        if facts.rows and not facts.sized:
            raise ConfigError(
                f"--format {self.name}: no chosen row is about a picture; use jsonl or csv for texts"
            )

    def write(self, export: Export) -> None:
        numbers = {one["id"]: at for at, one in enumerate(export.categories.listed)}
        for picture, regions, _ in export.selection.items():
            split = export.splits.of(picture.input_id) or "train"
            stem = picture.name.removesuffix(suffix_of(picture.name))
            path = export.folder / "labels" / split / f"{stem}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            # A picture without regions has an empty file: it is a negative, and no forgotten one.
            with path.open("w", encoding="ascii", newline="\n") as file:
                for region in regions:
                    line = self._line(region, picture, export)
                    if region.track_id is not None:
                        export.notes[_TRACKS] += 1
                    if line is not None:
                        number = numbers[export.categories.id_of(region.label)]
                        file.write(f"{number} {' '.join(f'{value:.6f}' for value in line)}\n")
            export.images.put(picture, export.folder / "images" / split / picture.name)
        splits = export.splits.names or ("train",)
        told: dict[str, Any] = {split: f"images/{split}" for split in splits}
        if "val" not in told:
            told["val"] = told["train"]
        names = dict(enumerate(str(one["name"]) for one in export.categories.listed))
        text = yaml.safe_dump({"path": ".", **told, "names": names}, sort_keys=False, allow_unicode=True)
        (export.folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")

    def _line(self, region: Region, picture: Picture, export: Export) -> list[float] | None:
        if region.bbox is None or not picture.width or not picture.height:
            export.notes[_NO_BOX] += 1
            return None
        x, y, width, height = region.bbox
        sides = picture.width, picture.height
        return [
            (x + width / 2) / sides[0],
            (y + height / 2) / sides[1],
            width / sides[0],
            height / sides[1],
        ]


class YoloSegments(Yolo):
    """The same with outlines: class, and x and y of each corner, in 0..1 of the mask's picture."""

    name = "yolo-seg"
    has_polygons: ClassVar[bool | None] = True

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if not facts.masks:
            raise ConfigError(
                "--format yolo-seg: the chosen rows have no masks; use yolo for boxes, jsonl for the rest"
            )

    def _line(self, region: Region, picture: Picture, export: Export) -> list[float] | None:
        if region.rle is None:
            if region.polygon and picture.width and picture.height:
                longest = max(region.polygon, key=len)
                return list(_in_shares(longest, picture.width, picture.height))
            export.notes[_NO_MASK] += 1
            return None
        outlines = outlines_of(region.rle)
        if not outlines.outer:
            export.notes[_NO_MASK] += 1
            return None
        if len(outlines.outer) > 1:
            export.notes[_PIECES] += 1
        outer, holes = largest(outlines)
        if holes:
            export.notes[_HOLES] += 1
        height, width = region.rle["size"]
        exact = bridged(outer, holes)
        made = exact
        if export.tolerance.pixels:
            first, *others = export.tolerance.simplified([outer, *holes])
            made = bridged(first, others)
            export.tolerance.account([exact], [made], height, width)
        return list(_in_shares(made, width, height))


def _in_shares(corners: Any, width: int, height: int) -> Iterator[float]:
    for x, y in zip(corners[::2], corners[1::2], strict=True):
        yield from (x / width, y / height)
