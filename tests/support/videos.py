"""A video whose object and its way are known: a flower out of one photograph crosses another photograph."""

from __future__ import annotations

import dataclasses
import io
import pathlib

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["MovingObject", "moving_object"]

PHOTOS = pathlib.Path(__file__).parents[2] / "configs" / "photos"


@dataclasses.dataclass(frozen=True)
class MovingObject:
    """An encoded video and the mask of its object in each frame.

    Attributes:
        data: an MP4 file.
        masks: shape (frames, height, width), True on the object.
        boxes: x1, y1, x2, y2 of the object in each frame, each 0 to 1.
    """

    data: bytes
    masks: NDArray[np.bool_]
    boxes: list[tuple[float, float, float, float]]


def moving_object(frames: int = 12, size: tuple[int, int] = (320, 240), rate: int = 12) -> MovingObject:
    """Let the dahlia of one photograph cross the sky of another one.

    Args:
        frames: how many.
        size: width and height in pixels.
        rate: frames a second.
    """
    width, height = size
    with Image.open(PHOTOS / "dune.jpg") as background, Image.open(PHOTOS / "dahlia.jpg") as flower:
        scene = np.asarray(background.resize(size))
        disc = np.asarray(flower.crop((172, 70, 448, 346)).resize((72, 72)))
    rows, columns = np.indices((72, 72))
    round_mask = (rows - 35.5) ** 2 + (columns - 35.5) ** 2 <= 33**2
    buffer, masks, boxes = io.BytesIO(), np.zeros((frames, height, width), bool), []
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 2_000_000
        for index in range(frames):
            x, y = 20 + 9 * index, 40 + 4 * index
            picture = scene.copy()
            picture[y : y + 72, x : x + 72][round_mask] = disc[round_mask]
            masks[index, y : y + 72, x : x + 72] = round_mask
            boxes.append((x / width, y / height, (x + 72) / width, (y + 72) / height))
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return MovingObject(buffer.getvalue(), masks, boxes)
