"""What a reference's content is: told from its suffix, and checked by the content's first bytes.

Sizes and orientations of PNG, GIF and JPEG are read here, because a job reads them for every image and the header is
all it takes; Pillow reads those of every other format, also without decoding a pixel.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from ..errors import ReadError
from ..records import MEDIA_TYPES
from ..storage.filesystems import split_chain
from ..storage.references import is_data, media_of_data, without_query

__all__ = [
    "MAX_PIXELS",
    "Picture",
    "check_filled",
    "check_image",
    "check_text",
    "media_of",
    "open_image",
    "read_picture",
]

#: The public API's limit for images, in pixels (https://docs.clarifai.com); the default of `source.image.max_pixels`.
MAX_PIXELS = 85_000_000

_SUFFIXES = {
    "image": "jpg jpeg jpe jfif png gif webp bmp dib tif tiff avif heic heif ppm pgm pbm jp2 ico",
    "text": "txt text md markdown rst html htm xml json log csv tsv",
    "video": "mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp ogv ts",
    "audio": "wav mp3 flac ogg oga opus m4a aac wma aif aiff amr",
}
_MEDIA = {suffix: media for media, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_SIZED_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP1, _EXIF = 0xE1, b"Exif\0\0"
_ORIENTATION = 0x0112
_TIFF = (0x0100, 0x0101, _ORIENTATION)  # tags of width, height and orientation
_PILLOW = threading.Lock()  # Pillow's limit belongs to the whole process
_MARKERS_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})


def media_of(uri: str) -> str | None:
    """The media type that a reference's suffix stands for, or that a `data:` URI names, or None.

    >>> media_of("https://example.org/a/b.JPG?size=large")
    'image'
    """
    if is_data(uri):
        media = media_of_data(uri).partition("/")[0]
        return media if media in MEDIA_TYPES else None
    plain = _MEDIA.get(uri[uri.rfind(".") + 1 :])
    if plain is not None and "::" not in uri and "?" not in uri:
        return plain
    name = without_query(split_chain(uri)[0]).rpartition("/")[2]
    return _MEDIA.get(name.rpartition(".")[2].lower())


class Picture(NamedTuple):
    """What the header of an image says.

    Attributes:
        width: pixels, as stored.
        height: pixels, as stored.
        orientation: EXIF's number, 1 to 8, of how the stored pixels are to be shown; None when it says none.
    """

    width: int
    height: int
    orientation: int | None = None


def read_picture(data: bytes) -> Picture:
    """What the header of an image says; no pixel is decoded.

    Raises:
        ReadError: the bytes begin no image that can be read ("not_an_image").
    """
    found = None
    if data[:2] == b"\xff\xd8":
        found = _read_jpeg(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        found = Picture(width, height, _png_orientation(data))
    elif data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        found = Picture(*struct.unpack("<HH", data[6:10]))
    picture = found or _read_by_pillow(data)
    if picture.width < 1 or picture.height < 1:
        raise ReadError(
            "not_an_image",
            f"the image's header says {picture.width} x {picture.height} pixels; the file is damaged",
        )
    return picture


def check_filled(data: bytes) -> bytes:
    """The bytes, which must be some.

    Raises:
        ReadError: there are none ("empty").
    """
    if not data:
        raise ReadError("empty", "the content has no bytes; remove the input, or write its file again")
    return data


def check_image(data: bytes, max_pixels: int | None = MAX_PIXELS) -> Picture:
    """What the header of an image says that may be sent.

    Args:
        max_pixels: None for no limit.

    Raises:
        ReadError: it is empty, no image, or has too many pixels ("too_many_pixels").
    """
    picture = read_picture(check_filled(data))
    pixels = picture.width * picture.height
    if max_pixels is not None and pixels > max_pixels:
        raise ReadError(
            "too_many_pixels",
            f"the image has {picture.width} x {picture.height} pixels, which is more than the {max_pixels} that "
            "source.image.max_pixels allows; make it smaller, or raise source.image.max_pixels",
        )
    return picture


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


def _read_jpeg(data: bytes) -> Picture | None:
    """Walk the segments up to the frame header, as in ITU T.81, B.1.1."""
    at, end, orientation = 2, len(data), None
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
            return Picture(width, height, orientation)
        else:
            after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _APP1 and orientation is None and data[at + 4 : at + 10] == _EXIF:
                orientation = _exif_orientation(data[at + 10 : after])
            at = after
    return None


def _png_orientation(data: bytes) -> int | None:
    """The orientation in a PNG's `eXIf` chunk, where it stands before the pixels."""
    at = 8
    while at + 12 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"eXIf":
            return _exif_orientation(data[at + 8 : at + 8 + length])
        if name == b"IDAT":
            return None
        at += 12 + length
    return None


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation tag in the first directory of EXIF's TIFF structure (CIPA DC-008, 4.6)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order is None:
            return None
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, at)
            if tag == _ORIENTATION:
                (value,) = struct.unpack_from(order + {3: "H", 4: "I"}[kind], exif, at + 8)
                return _known(value)
    except (struct.error, KeyError):  # damaged metadata: the picture itself may be sound
        return None
    return None


def _known(orientation: object) -> int | None:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else None


@contextlib.contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Open an image by Pillow without its own limit of pixels, for which `source.image.max_pixels` stands."""
    with _PILLOW:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _read_by_pillow(data: bytes) -> Picture:
    try:
        with open_image(data) as image:
            if image.format == "TIFF":  # Pillow tells the size that the picture has once it is turned
                width, height, orientation = (image.tag_v2.get(tag, 0) for tag in _TIFF)  # type: ignore[attr-defined]
                return Picture(int(width), int(height), _known(orientation))
            exif = image.info.get("exif", b"")
            return Picture(*image.size, _exif_orientation(exif.removeprefix(_EXIF)))
    except (UnidentifiedImageError, OSError, ValueError, TypeError, SyntaxError, struct.error):
        head = data[:4].hex(" ")
        raise ReadError(
            "not_an_image",
            f"the {len(data)} bytes are no image that can be read (they begin {head}); replace the file",
        ) from None
