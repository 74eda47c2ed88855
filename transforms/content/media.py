"""What a reference's content is: told from its suffix, and checked by the content's first bytes.

Sizes of PNG, GIF and JPEG are read here, because a job reads them for every image and the header is all it
takes; Pillow reads those of every other format, also without decoding a pixel.
"""

from __future__ import annotations

import codecs
import io
import struct

from PIL import Image, UnidentifiedImageError

from ..errors import ReadError
from ..storage.filesystems import split_chain

__all__ = ["MAX_PIXELS", "check_filled", "check_image", "check_text", "image_size", "media_of"]

#: The public API's limit for images, in pixels (https://docs.clarifai.com).
MAX_PIXELS = 85_000_000

_SUFFIXES = {
    "image": "jpg jpeg jpe jfif png gif webp bmp dib tif tiff avif heic heif ppm pgm pbm jp2 ico",
    "text": "txt text md markdown rst html htm xml json log csv tsv",
    "video": "mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp ogv ts",
    "audio": "wav mp3 flac ogg oga opus m4a aac wma aif aiff amr",
}
_MEDIA = {suffix: media for media, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_SIZED_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})


def media_of(uri: str) -> str | None:
    """The media type that a reference's suffix stands for, or None.

    >>> media_of("https://example.org/a/b.JPG?size=large")
    'image'
    """
    plain = _MEDIA.get(uri[uri.rfind(".") + 1 :])
    if plain is not None and "::" not in uri and "?" not in uri:
        return plain
    path = split_chain(uri)[0]
    if path.startswith(
        ("http://", "https://")
    ):  # other stores know no queries: there they are part of the name
        path = path.partition("?")[0].partition("#")[0]
    name = path.rpartition("/")[2]
    return _MEDIA.get(name.rpartition(".")[2].lower())


def image_size(data: bytes) -> tuple[int, int]:
    """Width and height of an image in pixels, as stored.

    Raises:
        ReadError: the bytes begin no image that can be read ("not_an_image").
    """
    size = None
    if data[:2] == b"\xff\xd8":
        size = _jpeg_size(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 24:
        size = struct.unpack(">II", data[16:24])
    elif data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        size = struct.unpack("<HH", data[6:10])
    width, height = size or _pillow_size(data)
    if width < 1 or height < 1:
        raise ReadError(
            "not_an_image", f"the image's header says {width} x {height} pixels; the file is damaged"
        )
    return width, height


def check_filled(data: bytes) -> bytes:
    """The bytes, which must be some.

    Raises:
        ReadError: there are none ("empty").
    """
    if not data:
        raise ReadError("empty", "the content has no bytes; remove the input, or write its file again")
    return data


def check_image(data: bytes) -> tuple[int, int]:
    """Width and height of an image that models take.

    Raises:
        ReadError: it is empty, no image, or has too many pixels ("too_many_pixels").
    """
    width, height = image_size(check_filled(data))
    if width * height > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise ReadError(
            "too_many_pixels",
            f"the image is {width} x {height} pixels; models take {most} megapixels: make it smaller",
        )
    return width, height


def check_text(data: bytes) -> bytes:
    """Text as UTF-8 without a byte order mark.

    Raises:
        ReadError: the bytes are no UTF-8 ("not_utf8").
    """
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReadError(
            "not_utf8",
            f"the text is not UTF-8: byte 0x{data[error.start]:02x} at {error.start}; convert the file "
            "to UTF-8",
        ) from None
    return data


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk the segments up to the frame header, as in ITU T.81, B.1.1."""
    at, end = 2, len(data)
    while at + 9 <= end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _MARKERS_WITHOUT_LENGTH:
            at += 2
        elif marker in _SIZED_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _pillow_size(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            return width, height
    except Image.DecompressionBombError as error:
        raise ReadError(
            "too_many_pixels", f"the image is too large to open: {error}; make it smaller"
        ) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, struct.error):
        head = data[:4].hex(" ")
        raise ReadError(
            "not_an_image",
            f"the {len(data)} bytes are no image that can be read (they begin {head}); replace the file",
        ) from None
