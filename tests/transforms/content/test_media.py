"""What bytes are: sizes as Pillow tells them, text as UTF-8, references by suffix."""

from __future__ import annotations

import io

import pytest
from bulkinfer.transforms.content.media import check_text, image_size, media_of
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
    assert image_size(encoded(kind, 31, 17)) == (31, 17)


def test_a_jpeg_with_long_metadata_is_sized() -> None:
    data = encoded("JPEG", 300, 200, progressive=True, exif=b"Exif\0\0" + b"\xff\xc0" * 20_000)
    assert image_size(data) == (300, 200)


@pytest.mark.parametrize(
    "data", [b"<html>not found</html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a\0\0\0\0"]
)
def test_bytes_that_are_no_image_are_told(data: bytes) -> None:
    with pytest.raises(ReadError, match=r"no image that can be read|the file is damaged") as caught:
        image_size(data)
    assert caught.value.error_type == "not_an_image"


@given(
    st.binary(max_size=64),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"II*\0"]),
)
def test_any_bytes_have_a_size_or_a_read_error(data: bytes, head: bytes) -> None:
    try:
        width, height = image_size(head + data)
    except ReadError:
        return
    assert width > 0
    assert height > 0


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
