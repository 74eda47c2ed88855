"""The segmentation methods: every object of a picture, or the ones that prompts point at."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import Box, Image, Region
from .prompts import check_return_type, prompt_of_dict, prompts_of_regions, segment_prompt
from .regions import Segment, Segmentation

__all__ = ["decode_picture", "predict", "region_of", "segment_anything"]


def segment_anything(image: Image) -> list[Region]:
    """Find every object of a picture, largest first: its mask, its box and how clearly it stands out."""
    return predict(image)


def predict(
    image: Image,
    regions: list[Region] | None = None,
    dict_inputs: dict[str, Any] | None = None,
    multimask_output: bool = False,
    return_type: str = "all",
) -> list[Region]:
    """Find the objects that prompts point at; without prompts, every object.

    Prompts are regions (points with the concept name "1" on the object or "0" off it, boxes) or a dict
    (points, labels, box), coordinates 0 to 1. multimask_output gives up to three readings of each prompt,
    the likeliest first. return_type is box, mask or all.
    """
    wanted = check_return_type(return_type)
    if regions and dict_inputs:
        raise ValueError("regions and dict_inputs were both given; prompt by one of them")
    picture = decode_picture(image.data)
    segmentation = Segmentation(picture)
    if not regions and not dict_inputs:
        found = segmentation.objects()
        return [region_of(segment, wanted, region_id=str(index)) for index, segment in enumerate(found)]
    height, width = picture.shape[:2]
    prompts = prompts_of_regions(regions or []) or [prompt_of_dict(dict_inputs or {}, (width, height))]
    answers: list[Region] = []
    for prompt in prompts:
        for segment in segment_prompt(segmentation, prompt)[: 3 if multimask_output else 1]:
            answers.append(region_of(segment, wanted, prompt.track_id, str(len(answers))))
    return answers


def region_of(segment: Segment, return_type: str = "all", track_id: str = "", region_id: str = "") -> Region:
    """A segment as the API serves it, with its mask, its box or both."""
    return Region(
        box=None if return_type == "mask" else _box(segment.mask),
        mask=None if return_type == "box" else _png(segment.mask),
        value=float(segment.score),
        track_id=track_id,
        id=region_id,
    )


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


def _png(mask: NDArray[np.bool_]) -> bytes:
    """A mask as models serve it: 8-bit grey, 255 on the object."""
    _, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    return encoded.tobytes()


def _box(mask: NDArray[np.bool_]) -> Box:
    """The box around a mask: x1, y1, x2, y2, each 0 to 1."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )
