"""Label maps: a PNG of 16 bits a picture, whose pixels are the number of their region, beside a JSON of the regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from ...errors import ConfigError
from ..export import Export
from ..selection import Picture, Region

__all__ = ["LabelMaps"]

_MOST = 65_535
_COVERED = "pixels that several regions claim; the smallest region has them"


class LabelMaps:
    """`NAME.png` with 0 where there is no region and else its number from 1, and `NAME.json` with their labels."""

    has_labels = True

    def write(self, export: Export) -> None:
        """Write a map a picture with masks.

        Raises:
            ConfigError: a picture has more regions than 16 bits number, or masks of several sizes; or there are none.
        """
        masks: dict[int, list[Region]] = {}
        for region in export.selection.regions():
            if region.rle is not None:
                masks.setdefault(region.picture.number, []).append(region)
        if not masks:
            raise ConfigError(
                "--format png: the chosen rows have no masks; use coco for boxes, jsonl for the rest"
            )
        for picture in export.selection.pictures().values():
            if picture.number in masks:
                _write(export, picture, masks.pop(picture.number))


def _write(export: Export, picture: Picture, regions: list[Region]) -> None:
    sizes = {tuple(region.rle["size"]) for region in regions if region.rle}
    if len(sizes) > 1 or len(regions) > _MOST:
        what = f"masks of {len(sizes)} sizes" if len(sizes) > 1 else f"{len(regions)} masks"
        raise ConfigError(f"--format png: {picture.name} has {what}, which one map cannot hold; use coco")
    pixels: NDArray[np.uint16] = np.zeros(sizes.pop(), np.uint16)
    # The largest first, so that what lies on it stays seen.
    by_size = sorted(enumerate(regions, 1), key=lambda one: -(one[1].area or 0))
    for number, region in by_size:
        assert region.rle is not None
        inside = coco.decode({**region.rle, "counts": region.rle["counts"].encode("ascii")}).astype(bool)
        export.notes[_COVERED] += int((pixels[inside] > 0).sum())
        pixels[inside] = number
    path = export.folder / f"{picture.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    _tell(path.with_suffix(".json"), export, regions)


def _tell(path: Path, export: Export, regions: list[Region]) -> None:
    told: dict[str, Any] = {
        str(number): {
            "label": region.label,
            "category_id": export.categories.id_of(region.label),
            "score": region.score,
            "region_index": region.position,
        }
        for number, region in enumerate(regions, 1)
    }
    path.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
