"""Makes small pictures: of images as the model saw them, of single frames of videos, and of the sound of recordings."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from bulkinfer.transforms.content.media import open_image
from PIL import Image

__all__ = ["SIDE", "Size", "Thumbnail", "data_uri", "of_frames", "of_image", "peaks"]

Size = tuple[int, int]

SIDE = 320  #: pixels of the longer side
_QUALITY = 78
_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
_BACK = {6: 8, 8: 6}  #: all other turns undo themselves
#: How a picture is turned upright, by EXIF's number.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SEEK_S = 5.0  #: a frame that is farther ahead is sought, not decoded up to
_RATE, _BINS, _MOST_S = 8000, 240, 3600


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A small picture, lying as the masks do.

    Attributes:
        uri: the picture, a `data:` URI.
        width: pixels.
        height: pixels.
        size: of the whole picture, width and height.
        turn: EXIF's number of how people are to see it, 1 to 8.
    """

    uri: str
    width: int
    height: int
    size: Size
    turn: int = 1


def of_image(
    data: bytes, *, size: Size | None = None, sent: int | None = None, side: int = SIDE
) -> Thumbnail:
    """A thumbnail of an image in the frame in which the model's boxes and masks are.

    Args:
        data: the file.
        size: width and height of that frame; None where they are not known.
        sent: the orientation of the picture as it was sent.
        side: most pixels of the longer side.

    Raises:
        Exception: the bytes are no picture that can be decoded; Pillow's plugins raise almost any class.
    """
    with open_image(data) as image:
        stored = image.size
        turn: Any = image.getexif().get(_ORIENTATION, 1)
        # A JPEG is decoded at an eighth, a quarter or half of its size.
        image.draft("RGB", (2 * side, 2 * side))
        small = _colours(image)
        if image.format == "TIFF" and turn in _TURNS:  # Pillow has turned it
            small = small.transpose(_TURNS[_BACK.get(turn, turn)])
            stored = stored[::-1] if turn in _LYING else stored
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if turn in _TURNS and (sent == 1 or _turned(stored, size, turn)):
        # It was turned before it was sent, or the model has turned it.
        small = small.transpose(_TURNS[turn])
        stored, turn = (stored[::-1] if turn in _LYING else stored), 1
    return Thumbnail(
        data_uri(small), small.width, small.height, size or stored, turn if turn in _TURNS else 1
    )


def of_frames(data: bytes, times_ms: Sequence[int], side: int = SIDE) -> Iterator[Thumbnail]:
    """Thumbnails of a video's frames at these moments, which must ascend; ends early where the video does.

    Raises:
        ImportError: PyAV is not installed.
        Exception: the bytes are no video that can be decoded.
    """
    import av  # noqa: PLC0415  (an extra)

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = container.decode(stream)
        frame = next(frames, None)
        for time_ms in times_ms:
            if frame is not None and time_ms / 1000 - (frame.time or 0.0) > _SEEK_S and stream.time_base:
                container.seek(int(time_ms / 1000 / stream.time_base), stream=stream)
                frames = container.decode(stream)
                frame = next(frames, None)
            while frame is not None and round(1000 * (frame.time or 0.0)) < time_ms:
                frame = next(frames, None)
            if frame is None:
                return
            picture: Image.Image = frame.to_image()
            size = picture.size
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
            yield Thumbnail(data_uri(picture), picture.width, picture.height, size)


def peaks(data: bytes) -> list[tuple[float, float]]:
    """The least and the greatest amplitude, -1 to 1, of equal parts of a recording of at most an hour.

    Raises:
        ImportError: PyAV is not installed.
        Exception: the bytes are no recording that can be decoded.
    """
    import av  # noqa: PLC0415  (an extra)

    pieces, samples = [], 0
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE)
        for frame in container.decode(container.streams.audio[0]):
            pieces += [one.to_ndarray()[0] for one in resampler.resample(frame)]
            samples += pieces[-1].size if pieces else 0
            if samples > _RATE * _MOST_S:
                break
        pieces += [one.to_ndarray()[0] for one in resampler.resample(None)]
    sound = np.concatenate(pieces).astype(np.float32) / 32768
    parts = np.array_split(sound, min(_BINS, len(sound)))
    return [(float(part.min()), float(part.max())) for part in parts]


def data_uri(image: Image.Image) -> str:
    """A picture as a `data:` URI, a JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _turned(stored: Size, size: Size | None, turn: Any) -> bool:
    """Whether the frame of the masks is the upright picture of one that is stored lying."""
    return turn in _LYING and size is not None and size == stored[::-1] != stored


def _colours(image: Image.Image) -> Image.Image:
    """The picture in 8-bit colours on white; what has more levels is spread over them."""
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, np.float64)
        low, high = float(levels.min()), float(levels.max())
        image = Image.fromarray(((levels - low) * (255 / ((high - low) or 1))).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")
