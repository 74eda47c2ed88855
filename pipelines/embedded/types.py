"""The types of what models take and give, such as Image and Region, each with its message of the API.

The types carry the names that the API's signatures use, so that a model's method reads like its signature:
`def classify(text: str) -> list[Concept]`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar, TypeVar

from clarifai_grpc.grpc.api import resources_pb2

__all__ = ["Audio", "Concept", "Frame", "Image", "Region", "Text", "Video"]

Box = tuple[float, float, float, float]  #: x1, y1, x2, y2, each 0 to 1
_M = TypeVar("_M", bound="_Media")  # typing.Self needs Python 3.11


@dataclasses.dataclass(frozen=True)
class _Media:
    """An encoded medium: its bytes, or where they lie."""

    data: bytes = b""
    url: str = ""

    message_type: ClassVar[Any]

    @classmethod
    def from_message(cls: type[_M], message: Any) -> _M:
        return cls(message.base64, message.url)

    def to_message(self) -> Any:
        return self.message_type(base64=self.data, url=self.url)


class Image(_Media):
    """An encoded picture."""

    message_type = resources_pb2.Image


class Video(_Media):
    """An encoded video."""

    message_type = resources_pb2.Video


class Audio(_Media):
    """Encoded sound."""

    message_type = resources_pb2.Audio


@dataclasses.dataclass(frozen=True)
class Text:
    """A text as a medium of its own: itself, or where it lies."""

    raw: str = ""
    url: str = ""

    @classmethod
    def from_message(cls, message: resources_pb2.Text) -> Text:
        return cls(message.raw, message.url)

    def to_message(self) -> resources_pb2.Text:
        return resources_pb2.Text(raw=self.raw, url=self.url)


@dataclasses.dataclass(frozen=True)
class Concept:
    """A label with its score, 0 to 1."""

    name: str
    value: float = 1.0
    id: str = ""

    @classmethod
    def from_message(cls, message: resources_pb2.Concept) -> Concept:
        return cls(message.name, message.value, message.id)

    def to_message(self) -> resources_pb2.Concept:
        # Without an id of its own a concept gets the one that the vendor's server makes of its name.
        made = re.sub(r"[^a-zA-Z0-9\s]", "", self.name).replace(" ", "-")
        return resources_pb2.Concept(id=self.id or made, name=self.name, value=self.value)


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of a picture, found by a model or given as a prompt.

    Attributes:
        box: x1, y1, x2, y2, each 0 to 1.
        mask: a PNG of the picture's size, 8-bit grey, 255 on the object.
        point: x, y, z; x and y 0 to 1.
        value: the model's score, 0 to 1.
        track_id: names the object through the frames of a video.
    """

    box: Box | None = None
    mask: bytes | None = None
    point: tuple[float, float, float] | None = None
    concepts: tuple[Concept, ...] = ()
    value: float = 0.0
    track_id: str = ""
    id: str = ""

    @classmethod
    def from_message(cls, message: resources_pb2.Region) -> Region:
        info, box, point = message.region_info, None, None
        if info.HasField("bounding_box"):
            found = info.bounding_box
            box = (found.left_col, found.top_row, found.right_col, found.bottom_row)
        if info.HasField("point"):
            point = (info.point.col, info.point.row, info.point.z)
        return cls(
            box=box,
            mask=info.mask.image.base64 or None,
            point=point,
            concepts=tuple(map(Concept.from_message, message.data.concepts)),
            value=message.value,
            track_id=message.track_id,
            id=message.id,
        )

    def to_message(self) -> resources_pb2.Region:
        message = resources_pb2.Region(id=self.id, value=self.value, track_id=self.track_id)
        if self.box is not None:
            box = message.region_info.bounding_box
            box.left_col, box.top_row, box.right_col, box.bottom_row = self.box
        if self.mask is not None:
            message.region_info.mask.image.base64 = self.mask
        if self.point is not None:
            point = message.region_info.point
            point.col, point.row, point.z = self.point
        message.data.concepts.extend(concept.to_message() for concept in self.concepts)
        return message


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of a video and what is in it.

    Attributes:
        index: counts the frames from 0.
        time_ms: when the frame is shown, from the start.
    """

    index: int = 0
    time_ms: int = 0
    regions: tuple[Region, ...] = ()

    @classmethod
    def from_message(cls, message: resources_pb2.Frame) -> Frame:
        info = message.frame_info
        return cls(info.index, info.time, tuple(map(Region.from_message, message.data.regions)))

    def to_message(self) -> resources_pb2.Frame:
        message = resources_pb2.Frame()
        message.frame_info.index, message.frame_info.time = self.index, self.time_ms
        message.frame_info.number = self.index  # the number in the file; the same, as no frame is left out
        message.data.regions.extend(region.to_message() for region in self.regions)
        return message
