"""Masks as PNG: a label map of 16 bits a picture, or a file a mask; beside a JSON of the regions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import ConfigError
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts, Picture, Region
from ..shapes.runs import pixels_of
from ..writing.json_file import dumped

__all__ = ["LabelMaps", "Masks"]

_MOST = 65_535
_COVERED = "pixels that several regions claim; the smallest region has them, and png-masks keeps all"


class _Pngs(Format):
    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")
    name: ClassVar[str]

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if not facts.masks:
            raise ConfigError(
                f"--format {self.name}: the chosen rows have no masks; use coco for boxes, jsonl for the rest"
            )

    def _masked(self, export: Export) -> Iterator[tuple[Picture, list[Region]]]:
        for picture, regions, _ in export.selection.items():
            masked = [region for region in regions if region.rle is not None]
            if masked:
                yield picture, masked
                export.images.put(picture, export.folder / "images" / picture.name)


class LabelMaps(_Pngs):
    """`NAME.png` with 0 where there is no region and else its number from 1, and `NAME.json` with their labels."""

    name = "png"

    def write(self, export: Export) -> None:
        for picture, regions in self._masked(export):
            path = export.folder / f"{picture.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_map(export, picture, regions)).save(path)
            _tell(path.with_suffix(".json"), export, regions)


class Masks(_Pngs):
    """`NAME/NUMBER.png` of one bit for each mask, their numbers from 1, and `NAME.json` with their labels."""

    name = "png-masks"

    def write(self, export: Export) -> None:
        for picture, regions in self._masked(export):
            folder = export.folder / picture.name
            folder.mkdir(parents=True, exist_ok=True)
            for number, region in enumerate(regions, 1):
                Image.fromarray(pixels_of(region.rle or {})).save(folder / f"{number:05d}.png")
            _tell(export.folder / f"{picture.name}.json", export, regions)


def _map(export: Export, picture: Picture, regions: list[Region]) -> NDArray[np.uint16]:
    sizes = {tuple(region.rle["size"]) for region in regions if region.rle}
    if len(sizes) > 1 or len(regions) > _MOST:
        what = f"masks of {len(sizes)} sizes" if len(sizes) > 1 else f"{len(regions)} masks"
        raise ConfigError(
            f"--format png: {picture.name} has {what}, which one map cannot hold; use png-masks or coco"
        )
    pixels: NDArray[np.uint16] = np.zeros(sizes.pop(), np.uint16)
    # The largest first, so that what lies on it stays seen.
    for number, region in sorted(enumerate(regions, 1), key=lambda one: -(one[1].area or 0)):
        inside = pixels_of(region.rle or {})
        export.notes[_COVERED] += int((pixels[inside] > 0).sum())
        pixels[inside] = number
    return pixels


def _tell(path: Path, export: Export, regions: list[Region]) -> None:
    told = {
        str(number): {
            "label": region.label,
            "category_id": export.categories.id_of(region.label),
            "score": region.score,
            "region_index": region.position,
            "track_id": region.track_id,
        }
        for number, region in enumerate(regions, 1)
    }
    path.write_text(dumped(told) + "\n", encoding="utf-8", newline="\n")
