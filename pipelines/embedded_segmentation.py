"""The embedded segmentation models: every object of a picture, or the one that a prompt points at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .embedded_regions import segments
from .embedded_types import Box, Image, Region

__all__ = ["decode_picture", "encode_mask", "mask_box", "segment_anything"]


def segment_anything(image: Image) -> list[Region]:
    """Find every object of a picture, largest first: its mask, its box and how clearly it stands out."""
    picture = decode_picture(image.data)
    return [
        Region(box=mask_box(found.mask), mask=encode_mask(found.mask), value=found.score, id=str(index))
        for index, found in enumerate(segments(picture))
    ]


def decode_picture(data: bytes) -> NDArray[np.uint8]:
    """Decode an encoded picture as shown, its orientation applied: shape (height, width, 3), BGR.

    Raises:
        ValueError: there are no bytes, or they are no picture.
    """
    if not data:
        raise ValueError("Image has no bytes")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        raise ValueError("cannot identify image file: the bytes are no picture that can be decoded")
    return np.asarray(picture, np.uint8)


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """A mask as models serve it: a PNG, 8-bit grey, 255 on the object."""
    _, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    return encoded.tobytes()


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """The box around a mask: x1, y1, x2, y2, each 0 to 1."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )
