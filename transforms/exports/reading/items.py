"""What an export is about: pictures and their regions, and what all of them have in common."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, NamedTuple

__all__ = ["Facts", "Picture", "Region"]


class Picture(NamedTuple):
    """A row of `predictions`: an input or a frame of it, which may be a picture with regions.

    Attributes:
        number: from 1, in the order of the rows.
        input_id: of the input.
        name: the file's path below the folder that all have in common; of a frame one of its own.
        uri: of the file; None where the source holds its content itself.
        media_type: of the input.
        width: in pixels; None when unknown.
        height: in pixels; None when unknown.
        frame: number of the video's frame.
        time_ms: of that frame, from the start.
    """

    number: int
    input_id: str
    name: str
    uri: str | None
    media_type: str | None
    width: int | None
    height: int | None
    frame: int | None
    time_ms: int | None


class Region(NamedTuple):
    """A region of a picture.

    Attributes:
        position: in its picture, from 0.
        label: of its best concept; None where the model gave none.
        score: of that concept, or the region's own.
        bbox: x, y, width and height in pixels; None where it has no box.
        track_id: of the object that it shows, in a video.
        area: in pixels, of its mask.
        rle: the mask as COCO's compressed run lengths; None without one.
        polygon: the model's own outlines, x and y in turn, in pixels.
        keypoints: x, y and visibility of each, in turn.
    """

    position: int
    label: str | None
    score: float | None
    bbox: list[float] | None
    track_id: str | None = None
    area: int | None = None
    rle: dict[str, Any] | None = None
    polygon: list[list[float]] | None = None
    keypoints: list[float] | None = None


@dataclasses.dataclass
class Facts:
    """What the chosen rows hold, as far as a format has to know before it writes.

    Attributes:
        rows: of `predictions`.
        regions: by label.
        runs: that wrote the rows.
        versions: models and their versions.
        media: rows by media type.
        unsized: name of a row with regions or of a picture whose size is not known; "" without one.
        sized: rows whose size is known.
        masks: regions with a mask.
        keypoints: most keypoints of a region.
        frames: rows that are frames of a video.
        labels: of whole rows.
    """

    rows: int = 0
    regions: Counter[str] = dataclasses.field(default_factory=Counter)
    runs: set[str] = dataclasses.field(default_factory=set)
    versions: set[tuple[str | None, str | None]] = dataclasses.field(default_factory=set)
    media: Counter[str] = dataclasses.field(default_factory=Counter)
    unsized: str = ""
    sized: int = 0
    masks: int = 0
    keypoints: int = 0
    frames: int = 0
    labels: set[str] = dataclasses.field(default_factory=set)
