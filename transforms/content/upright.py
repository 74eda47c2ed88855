"""Pictures as they are sent: checked by their header and, if asked, turned upright by EXIF and made smaller."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageOps

from ..errors import ReadError
from ..rows.masks import loses
from .media import Picture, check_image, open_image, read_picture

__all__ = ["sendable", "upright"]

_ORIENTATION = 0x0112
#: How a picture that was changed is written: in its own format, and nothing is lost where that loses nothing.
_WRITTEN: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},  # colours were halved once already
    "PNG": {"compress_level": 1},
    "TIFF": {"compression": "tiff_deflate"},
    "WEBP": {"quality": 95},
}


def sendable(
    data: bytes, max_pixels: int | None, *, turn: bool, max_side: int | None = None
) -> tuple[bytes, Picture]:
    """A picture as it is sent, with what its header says then.

    Args:
        max_pixels: a larger picture is refused; None for no limit.
        turn: turn it upright by its EXIF orientation.
        max_side: make a picture smaller whose longer side has more pixels; None for no limit.

    Raises:
        ReadError: it is empty, no image, too large, or cannot be decoded.
    """
    picture = check_image(data, max_pixels)
    turns = turn and picture.orientation not in (None, 1)
    shrinks = max_side is not None and max(picture.width, picture.height) > max_side
    if not turns and not shrinks:
        return data, picture
    data = _rewritten(data, turn=turns, max_side=max_side if shrinks else None)
    found = read_picture(data)
    return data, found._replace(orientation=1) if turns else found


def upright(data: bytes) -> bytes:
    """The picture as its orientation shows it, without any metadata but its colours' profile.

    Raises:
        ReadError: it cannot be decoded ("not_an_image").
    """
    return _rewritten(data, turn=True, max_side=None)


def _rewritten(data: bytes, *, turn: bool, max_side: int | None) -> bytes:
    """The picture in its own format; of its metadata the colours' profile stays, and an orientation not applied."""
    try:
        with open_image(data) as image:
            kind = {"MPO": "JPEG"}.get(image.format or "", image.format or "")
            options = dict(_WRITTEN.get(kind, {}), icc_profile=image.info.get("icc_profile"))
            if kind == "WEBP":
                options["lossless"] = not loses(image, data)
            if max_side is not None:
                image.thumbnail(
                    (max_side, max_side), Image.Resampling.LANCZOS
                )  # a JPEG is decoded smaller, too
            image.load()  # which turns a TIFF, and takes its orientation away
            orientation = image.getexif().get(_ORIENTATION)
            made = ImageOps.exif_transpose(image) if turn else image.copy()
        made.info, out = {}, io.BytesIO()
        if orientation is not None and not turn:
            exif = Image.Exif()
            exif[_ORIENTATION] = orientation
            options["exif"] = exif
        made.save(out, kind if kind in _WRITTEN else "PNG", **options)
    except Exception as error:  # Pillow's plugins raise almost any class
        raise ReadError(
            "not_an_image",
            f"the image cannot be decoded to be {'turned upright' if turn else 'made smaller'}: "
            f"{type(error).__name__}; replace the file, or remove source.image."
            f"{'orientation' if turn else 'max_side'}",
        ) from error
    return out.getvalue()
