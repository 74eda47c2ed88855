"""SA-1B's JSON (https://github.com/facebookresearch/segment-anything#dataset): a file a picture with all its masks."""

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import ConfigError
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts
from ..writing.json_file import dumped

__all__ = ["Sa1b"]

_NO_MASK = "regions without a mask, which are left out"


class Sa1b(Format):
    """`NAME.json` of each picture, beside the picture: what it is, and an annotation a mask."""

    has_labels: ClassVar[bool] = False
    image_modes: ClassVar[tuple[str, ...]] = ("none", "copy", "link")

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if not facts.masks:
            raise ConfigError(
                "--format sa1b: the chosen rows have no masks; use coco for boxes, jsonl for the rest"
            )

    def write(self, export: Export) -> None:
        number = 0
        for picture, regions, _ in export.selection.items():
            annotations: list[Any] = []
            for region in regions:
                number += 1
                if region.rle is None:
                    export.notes[_NO_MASK] += 1
                    continue
                height, width = region.rle["size"]
                annotations.append(
                    {
                        "id": number,
                        "segmentation": region.rle,
                        "bbox": region.bbox or [0.0, 0.0, 0.0, 0.0],
                        "area": region.area,
                        "predicted_iou": region.score,
                        "stability_score": None,
                        "crop_box": [0.0, 0.0, float(width), float(height)],
                        "point_coords": [],
                    }
                )
            image = {
                "image_id": picture.number,
                "file_name": picture.name,
                "width": picture.width,
                "height": picture.height,
            }
            path = export.folder / f"{picture.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = dumped({"image": image, "annotations": annotations})
            path.write_text(text + "\n", encoding="utf-8", newline="\n")
            export.images.put(picture, export.folder / picture.name)
