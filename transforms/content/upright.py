"""Pictures as they are sent: checked by their header and, if asked, turned upright by their EXIF orientation."""

from __future__ import annotations

import io
from typing import Any

from PIL import ImageOps

from ..errors import ReadError
from ..rows.masks import loses
from .media import Picture, check_image, open_image, read_picture

__all__ = ["sendable", "upright"]

#: How a turned picture is written: in its own format, and nothing is lost where that loses nothing.
_WRITTEN: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},  # colours were halved once already
    "PNG": {"compress_level": 1},
    "TIFF": {"compression": "tiff_deflate"},
    "WEBP": {"quality": 95},
}


def sendable(data: bytes, max_pixels: int | None, *, turn: bool) -> tuple[bytes, Picture]:
    """A picture as it is sent, with what its header says then.

    Args:
        max_pixels: a larger picture is refused; None for no limit.
        turn: turn it upright by its EXIF orientation.

    Raises:
        ReadError: it is empty, no image, too large, or cannot be turned.
    """
    picture = check_image(data, max_pixels)
    if not turn or picture.orientation in (None, 1):
        return data, picture
    data = upright(data)
    return data, read_picture(data)._replace(orientation=1)


def upright(data: bytes) -> bytes:
    """The picture as its orientation shows it, without any metadata but its colours' profile.

    Raises:
        ReadError: it cannot be decoded ("not_an_image").
    """
    try:
        with open_image(data) as image:
            kind = {"MPO": "JPEG"}.get(image.format or "", image.format or "")
            options = dict(_WRITTEN.get(kind, {}), icc_profile=image.info.get("icc_profile"))
            if kind == "WEBP":
                options["lossless"] = not loses(image, data)
            turned = ImageOps.exif_transpose(image)
        turned.info, out = {}, io.BytesIO()
        turned.save(out, kind if kind in _WRITTEN else "PNG", **options)
    except Exception as error:  # Pillow's plugins raise almost any class
        raise ReadError(
            "not_an_image",
            f"the image cannot be turned upright: {type(error).__name__}; replace the file, or set "
            "source.image.orientation: keep",
        ) from error
    return out.getvalue()
