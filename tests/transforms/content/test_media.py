"""What bytes are: sizes as Pillow tells them, text as UTF-8, references by suffix."""

from __future__ import annotations

import io
import struct

import pytest
from bulkinfer.transforms.content.media import check_image, check_text, media_of, read_picture
from bulkinfer.transforms.errors import ReadError
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


def encoded(kind: str, width: int, height: int, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (width, height)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_an_image_has_the_size_that_pillow_tells(kind: str) -> None:
    assert read_picture(encoded(kind, 31, 17)) == (31, 17, None)


def test_a_jpeg_with_long_metadata_is_sized() -> None:
    data = encoded("JPEG", 300, 200, progressive=True, exif=b"Exif\0\0" + b"\xff\xc0" * 20_000)
    assert read_picture(data) == (300, 200, None)


@pytest.mark.parametrize("orientation", [*range(1, 9), None])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_an_image_is_told_with_its_orientation_and_as_it_is_stored(
    kind: str, orientation: int | None
) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    known = None if kind == "GIF" else orientation  # which has no metadata of cameras
    assert read_picture(encoded(kind, 31, 17, exif=exif)) == (31, 17, known)


def exif_of(order: str, kind: int, value: int, count: int = 1, directory: int = 8) -> bytes:
    head = struct.pack(f"{order}2sHI", {"<": b"II", ">": b"MM"}[order], 42, directory)
    entries = struct.pack(f"{order}HHII", 0x0100, 4, 1, 5)
    entries += struct.pack(f"{order}HHI", 0x0112, kind, 1)
    entries += struct.pack(f"{order}H2x" if kind == 3 else f"{order}I", value)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", count) + entries


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (exif_of("<", 3, 6, 2), 6),
        (exif_of(">", 3, 8, 2), 8),
        (exif_of(">", 4, 3, 2), 3),
        (exif_of("<", 3, 0, 2), None),
        (exif_of("<", 3, 9, 2), None),
        (exif_of("<", 7, 6, 2), None),
        (exif_of("<", 3, 6, 1), None),  # the directory ends before it
        (exif_of("<", 3, 6, 2)[:-4], None),
        (exif_of("<", 3, 6, 2, directory=10_000), None),
        (b"Exif\0\0XX*\0", None),
        (b"Exif\0\0", None),
    ],
)
def test_damaged_metadata_leaves_a_picture_without_orientation(exif: bytes, orientation: int | None) -> None:
    assert read_picture(encoded("JPEG", 30, 20, exif=exif)) == (30, 20, orientation)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "JPEG"])
def test_an_image_may_have_as_many_pixels_as_is_said(kind: str) -> None:
    data = encoded(kind, 100, 50)

    assert check_image(data, 5000)[:2] == check_image(data, None)[:2] == (100, 50)
    with pytest.raises(
        ReadError,
        match=r"has 100 x 50 pixels, which is more than the 4999 that source\.image\.max_pixels allows",
    ) as caught:
        check_image(data, 4999)
    assert caught.value.error_type == "too_many_pixels"


def test_no_limit_of_pillows_own_stands_in_the_way() -> None:
    data = encoded("BMP", 1, 1)
    wide = data[:18] + struct.pack("<ii", 30_000, 20_000) + data[26:]
    limit = Image.MAX_IMAGE_PIXELS

    assert check_image(wide, None)[:2] == (30_000, 20_000)
    assert check_image(wide, 600_000_000)[:2] == (30_000, 20_000)
    with pytest.raises(ReadError, match="more than the 85000000 that"):
        check_image(wide)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    "data", [b"<html>not found</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a\0\0\0\0"]
)
def test_bytes_that_are_no_image_are_told(data: bytes) -> None:
    with pytest.raises(ReadError, match=r"no image that can be read|the file is damaged") as caught:
        read_picture(data)
    assert caught.value.error_type == "not_an_image"


@given(
    st.binary(max_size=64),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"II*\0"]),
)
def test_any_bytes_have_a_size_or_a_read_error(data: bytes, head: bytes) -> None:
    try:
        width, height, orientation = read_picture(head + data)
    except ReadError:
        return
    assert width > 0
    assert height > 0
    assert orientation is None or 1 <= orientation <= 8


def test_text_loses_its_byte_order_mark_and_must_be_utf8() -> None:
    assert check_text("\ufeffgrüezi".encode()) == "grüezi".encode()
    with pytest.raises(ReadError, match=r"the text is not UTF-8: byte 0xfc at 2; convert"):
        check_text("grüezi".encode("latin-1"))


@pytest.mark.parametrize(
    ("uri", "media"),
    [
        ("a/b.JPG", "image"),
        ("https://h/a.png?x=.txt", "image"),
        ("zip://a/b.txt::s3://b/x.zip", "text"),
        ("s3://b/v.mp4", "video"),
        ("x.flac", "audio"),
        ("https://h/photos/17", None),
        ("a.b/c", None),
    ],
)
def test_the_suffix_tells_the_media_type(uri: str, media: str | None) -> None:
    assert media_of(uri) == media


@pytest.mark.parametrize(
    ("uri", "media"),
    [
        ("s3://b/p/a?b.jpg", "image"),
        ("s3://b/p/a#b.jpg", "image"),
        ("photos/a;b%20c.jpg", "image"),
        ("s3://b/a.jpg?b", None),
        ("https://h/a.jpg?size=b.txt", "image"),
        ("http://h/a.jpg#top", "image"),
    ],
)
def test_only_urls_of_the_web_have_queries(uri: str, media: str | None) -> None:
    assert media_of(uri) == media
