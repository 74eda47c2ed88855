"""Converts the picture of a mask to COCO's compressed RLE, with its area and bounding box.

A pixel belongs to the mask when its sample is not zero, in any channel. For a palette that is the index, as
the vendor's own client reads it (`numpy.asarray(PIL.Image)`); colours in which alpha varies count only where
they are not transparent, and a picture that is black throughout is read by its alpha alone. Formats that lose leave
nearly black pixels around every object, so of their samples only the brighter half counts; `MaskRle.lossy` says so.

Grey PNGs of 1, 2, 4 and 8 bits, which is what endpoints send, never become an array of pixels that is
transposed: their rows are packed to bits, and the runs down the columns are taken from the bits that differ between
two rows. All other pictures go through Pillow into the same run extraction. Results equal `pycocotools.mask.encode`
byte by byte.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from typing import Any

import kornia_rs
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from ..errors import DecodeError

__all__ = ["MaskRle", "encode_bits", "encode_mask", "encode_pixels", "loses", "mask_png", "png_size"]

_MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs, 2 GB of 3 * 4 bytes
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEADER = struct.Struct(">IIBBBBB")  # width, height, bit depth, colour type, compression, filter, interlace

#: Formats whose samples are not those that were written. A WebP may be either, and so may a TIFF.
_LOSSY = {"JPEG", "MPO", "JPEG2000", "AVIF", "HEIF"}
_LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}

_io = getattr(kornia_rs, "io", kornia_rs)  # kornia-rs 0.1 has the function at its top level
_decode_grey = _io.decode_image_png_u8


@dataclasses.dataclass(frozen=True, slots=True)
class MaskRle:
    """One mask in COCO's compressed run-length coding.

    Attributes:
        height: rows, in pixels.
        width: columns, in pixels.
        counts: COCO's string of the runs.
        area: pixels of the object.
        bbox: [x, y, width, height] in pixels around the object; zeros when the mask is empty.
        lossy: the format of a picture that loses, whose samples were cut at half; "" for all others.
    """

    height: int
    width: int
    counts: str
    area: int
    bbox: tuple[int, int, int, int]
    lossy: str = ""


def encode_mask(picture: bytes) -> MaskRle:
    """Encode a mask as a model sends it: PNG, or any other format that Pillow reads.

    Args:
        picture: the encoded picture.

    Raises:
        DecodeError: the picture is empty, corrupt, of no known format, or larger than 178,956,970 pixels.
    """
    if not picture:
        raise DecodeError("mask", "the model sent a mask of 0 bytes")
    if picture.startswith(_PNG_START) and len(picture) > 33:
        width, height, depth, colour, compression, filtering, interlace = _HEADER.unpack_from(picture, 16)
        _check_size(width, height)
        if colour == 0 and depth <= 8 and not (compression or filtering or interlace):
            return _encode_grey_png(picture, width, height, depth)
    pixels, lossy = _member_pixels(picture)
    rle = encode_pixels(pixels)
    return dataclasses.replace(rle, lossy=lossy) if lossy else rle


def png_size(picture: bytes) -> tuple[int, int] | None:
    """Width and height by a PNG's header; None when it is no PNG."""
    if not picture.startswith(_PNG_START) or len(picture) < 33:
        return None
    width, height = struct.unpack_from(">II", picture, 16)
    return width, height


def mask_png(rle: MaskRle) -> bytes:
    """A mask as a PNG of one bit a pixel."""
    pixels = coco.decode({"size": [rle.height, rle.width], "counts": rle.counts.encode("ascii")})
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(bool)).save(buffer, "PNG")
    return buffer.getvalue()


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= _MAX_PIXELS:
        raise DecodeError("mask", f"the model sent a mask of {width} x {height} pixels; it cannot be decoded")


def _encode_grey_png(picture: bytes, width: int, height: int, depth: int) -> MaskRle:
    row_bytes = (width * depth + 7) // 8
    if depth < 8:
        picture = _as_eight_bits(picture, row_bytes)
    try:
        rows = _decode_grey(picture, (height, row_bytes), "mono")
    except Exception as error:  # kornia-rs raises the plain class
        raise DecodeError(
            "mask", f"the model sent a corrupt PNG as a mask of {width} x {height} pixels"
        ) from error
    samples = rows.reshape(height, row_bytes)
    if depth == 1:
        return encode_bits(samples, width)
    if depth < 8:
        shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
        samples = ((samples[:, :, None] >> shifts) & (2**depth - 1)).reshape(height, -1)[:, :width]
    return encode_pixels(samples)


def _as_eight_bits(picture: bytes, row_bytes: int) -> bytes:
    """Rewrite the header of a PNG of less than 8 bits to 8 bits, as wide as its rows have bytes.

    PNG filters work on bytes, and on whole pixels from 8 bits on, so both decode to the same bytes; the
    decoder then hands out the packed pixels untouched.
    """
    header = b"IHDR" + _HEADER.pack(row_bytes, int.from_bytes(picture[20:24], "big"), 8, 0, 0, 0, 0)
    return b"".join((picture[:12], header, struct.pack(">I", zlib.crc32(header)), picture[33:]))


def _member_pixels(picture: bytes) -> tuple[Any, str]:
    """Read any picture through Pillow; shape (height, width), not zero on the object, and its format if that loses."""
    try:
        with Image.open(io.BytesIO(picture)) as image:
            _check_size(*image.size)
            lossy = (image.format or "") if loses(image, picture) else ""
            alpha_at = image.getbands().index("A") if "A" in image.getbands() else None
            samples = np.asarray(
                image.convert("RGB") if image.mode == "CMYK" else image
            )  # white is 0 in CMYK
    except DecodeError:
        raise
    except Exception as error:  # Pillow's plugins raise almost any class
        raise DecodeError(
            "mask",
            f"the model sent {len(picture)} bytes as a mask that Pillow cannot read: {type(error).__name__}",
        ) from error
    if lossy:
        samples = samples > np.iinfo(samples.dtype).max // 2
    return _members(samples, alpha_at), lossy


def loses(image: Any, picture: bytes) -> bool:
    """True when a picture's format has changed its samples, so far as Pillow and the header tell."""
    if image.format != "WEBP":
        return image.format in _LOSSY or image.info.get("compression") in _LOSSY_TIFF
    at = 12  # of the first chunk; see https://developers.google.com/speed/webp/docs/riff_container
    while at + 8 <= len(picture):
        name, length = picture[at : at + 4], int.from_bytes(picture[at + 4 : at + 8], "little")
        if name == b"VP8L":
            return False
        at += 8 + length + length % 2
    return True


def _members(samples: Any, alpha_at: int | None) -> Any:
    if samples.ndim == 2:
        return samples != 0
    if alpha_at is None:
        return samples.any(axis=2)
    alpha, colour = samples[:, :, alpha_at], np.delete(samples, alpha_at, axis=2).any(axis=2)
    if alpha.size and alpha.min() == (True if alpha.dtype == np.bool_ else np.iinfo(alpha.dtype).max):
        return colour
    return (alpha != 0) & colour if colour.any() else alpha != 0


def encode_pixels(pixels: Any) -> MaskRle:
    """Encode an array of shape (height, width) that is not zero on the object."""
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype not in (np.uint8, np.bool_):
        pixels = pixels != 0
    height, width = pixels.shape
    if width % 64 == 0:
        return encode_bits(np.packbits(pixels.reshape(-1)).reshape(height, width // 8), width)
    return encode_bits(np.packbits(pixels, axis=1), width)


def encode_bits(bits: Any, width: int) -> MaskRle:
    """Encode packed pixels.

    Args:
        bits: shape (height, ceil(width / 8)), uint8, the leftmost pixel in the highest bit; bits beyond the
            width may hold anything.
        width: columns, in pixels.
    """
    height = bits.shape[0]
    changes = _changes(_whole_words(bits, width), width)
    runs = np.empty(len(changes) + 1, np.int64)
    runs[:1] = changes[:1] if len(changes) else height * width
    if len(changes):
        np.subtract(changes[1:], changes[:-1], out=runs[1:-1])
        runs[-1] = height * width - changes[-1]
    coded = coco.frPyObjects({"size": [height, width], "counts": runs.astype(np.uint32)}, height, width)
    area, bbox = _extent(changes, height, width)
    return MaskRle(height, width, coded["counts"].decode("ascii"), area, bbox)


def _whole_words(bits: Any, width: int) -> Any:
    """Rows of 64-bit words with zeros beyond the width; shape (height, ceil(width / 64))."""
    height, row_bytes = bits.shape
    if width % 64 == 0:
        return np.ascontiguousarray(bits).view(np.uint64)
    padded = np.zeros((height, (width + 63) // 64 * 8), np.uint8)
    padded[:, :row_bytes] = bits
    if width % 8:
        padded[:, row_bytes - 1] &= (0xFF00 >> width % 8) & 0xFF
    return padded.view(np.uint64)


def _changes(words: Any, width: int) -> Any:
    """Positions, counted down the columns, at which a run ends and the next begins; sorted, int64."""
    height, row_words = words.shape
    differ = np.empty_like(words)
    np.bitwise_xor(words[1:], words[:-1], out=differ[1:])
    top = np.unpackbits(words[0].view(np.uint8))
    # The pixel above the first of a column is the last of the column before it; before the very first stands
    # nothing.
    top[1:] ^= np.unpackbits(words[-1].view(np.uint8))[:-1]
    top[width:] = 0
    differ[0] = np.packbits(top).view(np.uint64)
    flat = differ.reshape(-1)
    at = flat.nonzero()[0]
    bit = np.unpackbits(flat[at].view(np.uint8)).nonzero()[0]
    row, column_word = np.divmod(at[bit >> 6], row_words)
    changes = ((column_word << 6) + (bit & 63)) * height + row
    changes.sort()
    return changes


def _extent(changes: Any, height: int, width: int) -> tuple[int, tuple[int, int, int, int]]:
    """Area and bounding box of the object, from where its runs begin and end."""
    if not len(changes):
        return 0, (0, 0, 0, 0)
    starts, ends = changes[::2], changes[1::2]
    if len(ends) < len(starts):  # the last run reaches the last pixel
        ends = np.append(ends, height * width)
    first_column, first_row = np.divmod(starts, height)
    last_column, last_row = np.divmod(ends - 1, height)
    left, right = int(first_column[0]), int(last_column[-1])
    if (first_column != last_column).any():  # a run that goes on in the next column touches bottom and top
        top, bottom = 0, height - 1
    else:
        top, bottom = int(first_row.min()), int(last_row.max())
    return int((ends - starts).sum()), (left, top, right - left + 1, bottom - top + 1)
