"""Makes model answers from a seed: segmentations, detections, concepts."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from numpy.typing import NDArray
from PIL import Image

_SUCCESS = 10000


def blob(random: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """One object with a wobbly outline, as SAM draws them; shape (height, width)."""
    row, column = random.uniform(0.15, 0.85) * height, random.uniform(0.15, 0.85) * width
    radius = np.exp(random.uniform(np.log(0.03), np.log(0.3))) * min(height, width)
    waves = np.arange(2, 40)
    strength = random.normal(size=waves.size) / waves**1.2 * 0.35
    phase = random.uniform(0, 2 * np.pi, waves.size)
    rows, columns = np.mgrid[0:height, 0:width]
    rows, columns = rows - row, (columns - column) * random.uniform(0.6, 1.6)
    turn = np.linspace(-np.pi, np.pi, 4096)
    outline = radius * (1 + (strength[:, None] * np.cos(waves[:, None] * turn + phase[:, None])).sum(0))
    inside: NDArray[np.bool_] = np.hypot(rows, columns) < np.interp(np.arctan2(rows, columns), turn, outline)
    return inside


def png(mask: NDArray[np.bool_], bits: int = 8) -> bytes:
    """The mask as a PNG of 0 and 255, or of one bit."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    out = io.BytesIO()
    (image if bits == 8 else image.convert("1")).save(out, "PNG")
    return out.getvalue()


def response(outputs: list[Any]) -> bytes:
    """A serialized response of successful outputs."""
    answer = service_pb2.MultiOutputResponse(outputs=outputs)
    answer.status.code = _SUCCESS
    for at, output in enumerate(answer.outputs):
        output.id = f"{at:032x}"
        output.status.code = _SUCCESS
        output.created_at.seconds = 1_760_000_000 + at
    return bytes(answer.SerializeToString())


def segmentation(pictures: list[bytes]) -> Any:
    """An output of `segment_anything`: a region with a full-frame mask for each picture."""
    output = resources_pb2.Output()
    part = output.data.parts.add(id="return")
    for at, picture in enumerate(pictures):
        region = part.data.regions.add(id=f"region-{at}", value=0.9)
        region.region_info.mask.image.base64 = picture
    return output


def detections(random: np.random.Generator, count: int) -> Any:
    """An output of a detector: boxes with one concept each."""
    output = resources_pb2.Output()
    for at in range(count):
        region = output.data.regions.add(id=f"{at:032x}")
        top, left, bottom, right = np.sort(random.random((2, 2)), axis=0).reshape(-1)
        region.region_info.bounding_box.top_row, region.region_info.bounding_box.left_col = top, left
        region.region_info.bounding_box.bottom_row, region.region_info.bounding_box.right_col = bottom, right
        kind = int(random.integers(80))
        region.data.concepts.add(id=f"ai_{kind}", name=f"kind {kind}", value=random.random())
    return output


def classification(random: np.random.Generator, count: int) -> Any:
    """An output of a classifier: the best concepts, best first."""
    output = resources_pb2.Output()
    for value in np.sort(random.random(count))[::-1]:
        kind = int(random.integers(1000))
        output.data.concepts.add(id=f"ai_{kind}", name=f"kind {kind}", value=value)
    return output
