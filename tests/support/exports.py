"""Outputs to export: pictures with masks, boxes and labels, and what an export of them wrote."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from bulkinfer.transforms.records import Prediction, Reference
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import commit_run
from clarifai_grpc.grpc.api import resources_pb2
from numpy.typing import NDArray
from PIL import Image

from .tables import make_spec, stage

__all__ = ["HEIGHT", "PICTURES", "RING", "SOLID", "WIDTH", "output_of", "picture", "square", "told"]

WIDTH, HEIGHT = 16, 12


def square(
    top: int, left: int, bottom: int, right: int, hole: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[top:bottom, left:right] = True
    if hole is not None:
        pixels[hole] = False
    return pixels


def picture(
    name: str,
    *regions: tuple[str, float, Any],
    size: bool = True,
    version: str = "",
    uri: str | None = None,
    media: str = "image",
    track: str = "",
) -> Prediction:
    """A prediction whose regions are (label, score, mask or box)."""
    output = resources_pb2.Output()
    output.status.code = 10000
    for label, score, shape in regions:
        region = output.data.regions.add(value=score, track_id=track)
        if label:
            region.data.concepts.add(name=label, value=score)
        if isinstance(shape, np.ndarray):
            file = io.BytesIO()
            Image.fromarray(shape.astype(np.uint8) * 255).save(file, "PNG")
            region.region_info.mask.image.base64 = file.getvalue()
        elif shape is not None:
            box = region.region_info.bounding_box
            box.left_col, box.top_row, box.right_col, box.bottom_row = shape
    if not regions:
        output.data.text.raw = f"about {name}"
    return Prediction(
        Reference(name, uri or f"s3://lake/photos/{name}", media, columns={"city": "Bern"}),
        (output,),
        width=WIDTH if size else None,
        height=HEIGHT if size else None,
        model_version=version,
    )


RING = square(2, 3, 9, 10, hole=(4, 5))
SOLID = square(1, 2, 4, 6)
PICTURES = [
    picture("a/one.jpg", ("coin", 0.75, RING), ("cat", 0.5, SOLID)),
    picture("b/two.jpg", ("coin", 0.25, (0.25, 0.25, 0.5, 0.75))),
    picture("b/none.jpg"),
]


def output_of(folder: Path, pictures: list[Prediction], **options: Any) -> Store:
    spec = make_spec(str(folder / "out"), **options)
    stage(spec, [pictures])
    commit_run(spec.store(), spec.run_id)
    return spec.store()


def told(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())
