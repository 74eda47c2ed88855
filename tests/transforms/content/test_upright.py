"""Pictures are turned as EXIF says, whatever their format, and keep their colours."""

from __future__ import annotations

import io

import numpy as np
import pytest
from bulkinfer.transforms.content.media import read_picture
from bulkinfer.transforms.content.upright import sendable
from bulkinfer.transforms.errors import ReadError
from PIL import Image, ImageCms

#: What each orientation makes of stored pixels, by numpy.
SHOWN = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}
PIXELS = np.zeros((16, 32, 3), np.uint8)
PIXELS[:8, :16] = (250, 20, 20)
PIXELS[8:, 16:] = (20, 20, 250)
PIXELS[:8, 16:] = (20, 250, 20)


def stored(kind: str, orientation: int | None, pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "camera"
    if orientation is not None:
        exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, exif=exif, **options)
    return out.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("orientation", list(SHOWN))
@pytest.mark.parametrize(
    ("kind", "options", "loss"),
    [
        ("JPEG", {"quality": 95}, 2),
        ("MPO", {"quality": 95}, 2),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 6),
        ("TIFF", {}, 0),
    ],
)
def test_a_picture_is_sent_as_its_orientation_shows_it(
    kind: str, options: dict[str, object], loss: int, orientation: int
) -> None:
    data = stored(kind, orientation, **options)
    assert read_picture(data) == (32, 16, orientation)

    turned, picture = sendable(data, None, turn=True)

    wanted = SHOWN[orientation](pixels_of(stored(kind, None, **options)))
    assert np.abs(pixels_of(turned) - wanted).mean() <= loss  # of any other orientation it is over 100
    with Image.open(io.BytesIO(turned)) as image:
        assert image.format == ("JPEG" if kind == "MPO" else kind)
        assert not image.info.get("exif")
    assert picture == (wanted.shape[1], wanted.shape[0], 1)
    assert read_picture(turned) == (wanted.shape[1], wanted.shape[0], None)


@pytest.mark.parametrize("orientation", [None, 1, 0, 9])
def test_a_picture_that_stands_upright_is_sent_as_it_is(orientation: int | None) -> None:
    data = stored("JPEG", orientation)

    assert sendable(data, None, turn=True) == (data, (32, 16, 1 if orientation == 1 else None))


def test_a_picture_is_turned_only_where_it_is_asked() -> None:
    data = stored("JPEG", 6)

    assert sendable(data, None, turn=False) == (data, (32, 16, 6))


def test_a_turned_picture_keeps_the_profile_of_its_colours() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    turned, _ = sendable(stored("JPEG", 6, icc_profile=profile), None, turn=True)

    with Image.open(io.BytesIO(turned)) as image:
        assert image.info["icc_profile"] == profile


def test_a_picture_that_cannot_be_turned_says_why() -> None:
    with pytest.raises(
        ReadError,
        match=r"cannot be decoded to be turned upright: OSError; .* remove source\.image\.orientation",
    ) as caught:
        sendable(stored("JPEG", 6)[:-200], None, turn=True)
    assert caught.value.error_type == "not_an_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("turn", "size"), [(True, (8, 16)), (False, (16, 8))], ids=["turned", "as stored"])
def test_a_picture_is_made_smaller_and_keeps_or_heeds_its_orientation(
    kind: str, turn: bool, size: tuple[int, int]
) -> None:
    data = stored(kind, 6, quality=95) if kind in ("JPEG", "WEBP") else stored(kind, 6)
    smaller, picture = sendable(data, None, turn=turn, max_side=16)

    if kind == "TIFF" and not turn:  # whose reader turns it anyway
        size = (8, 16)
        assert picture == (*size, None)
    else:
        assert picture == (*size, 1 if turn else 6)
    assert read_picture(smaller)[:2] == size
    whole, _ = sendable(data, None, turn=True)
    seen = pixels_of(sendable(smaller, None, turn=True)[0])
    assert np.abs(seen - pixels_of(whole)[::2, ::2]).mean() < 20


def test_a_picture_that_is_small_enough_stays_as_it_is() -> None:
    data = stored("JPEG", 6)
    assert sendable(data, None, turn=False, max_side=32) == (data, (32, 16, 6))
    with pytest.raises(ReadError, match=r"made smaller: .*source\.image\.max_side"):
        sendable(data[:-200], None, turn=False, max_side=31)
