"""Thumbnails lie as the masks do, however a picture is stored, and people see them upright."""

from __future__ import annotations

import base64
import io
import wave

import numpy as np
import pytest
from bulkinfer.pipelines.report.pictures.drawing import _seen_at
from bulkinfer.pipelines.report.pictures.thumbnails import Thumbnail, of_frames, of_image, peaks
from PIL import Image, ImageOps
from support.videos import moving_object

RED = (250, 20, 20)
SIZE = (48, 32)


def picture(orientation: int | None = None, kind: str = "PNG") -> tuple[bytes, Image.Image]:
    """A grey picture with a red corner at its stored upper left, and how people see it."""
    image = Image.new("RGB", SIZE, (90, 90, 90))
    image.paste(RED, (0, 0, 16, 8))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    out = io.BytesIO()
    image.save(out, kind, exif=exif)
    image.info["exif"] = exif.tobytes()
    return out.getvalue(), ImageOps.exif_transpose(image)


def opened(thumbnail: Thumbnail) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(thumbnail.uri.partition(",")[2]))).convert("RGB")


def red_corner(image: Image.Image) -> tuple[float, float]:
    """The middle of what is red, in parts of the picture."""
    pixels = np.asarray(image).astype(int)
    ys, xs = np.nonzero(pixels[..., 0] - pixels[..., 1] > 120)
    return xs.mean() / image.width, ys.mean() / image.height


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_was_sent_as_stored_lies_so_and_is_seen_upright(orientation: int, kind: str) -> None:
    data, seen = picture(orientation, kind)
    small = of_image(data, size=SIZE, sent=orientation)

    assert (small.width, small.height, small.size) == (*SIZE, SIZE)
    assert small.turn == orientation
    x, y = red_corner(opened(small))
    assert (x, y) == pytest.approx((8 / 48, 4 / 32), abs=0.03)
    turned = _seen_at(small, x * small.width, y * small.height)
    assert turned == pytest.approx(np.multiply(red_corner(seen), seen.size), abs=1.5)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_was_turned_before_it_was_sent_is_turned_as_well(orientation: int, kind: str) -> None:
    data, seen = picture(orientation, kind)
    small = of_image(data, size=seen.size, sent=1)

    assert (small.turn, small.size) == (1, seen.size)
    assert red_corner(opened(small)) == pytest.approx(red_corner(seen), abs=0.03)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_where_the_model_has_turned_a_lying_picture_its_masks_are_of_the_upright_one(
    orientation: int,
) -> None:
    data, seen = picture(orientation)
    small = of_image(data, size=seen.size, sent=orientation)

    assert small.turn == 1
    assert red_corner(opened(small)) == pytest.approx(red_corner(seen), abs=0.03)


def test_a_large_picture_becomes_small_and_a_small_one_keeps_its_size() -> None:
    out = io.BytesIO()
    Image.new("RGB", (4000, 1000), RED).save(out, "JPEG")
    large = of_image(out.getvalue())

    assert (large.width, large.height, large.size) == (320, 80, (4000, 1000))
    assert of_image(picture()[0]).width == 48


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "1"])
def test_pictures_of_any_mode_are_shown(mode: str) -> None:
    levels = np.tile(np.linspace(0, 255, 40, dtype=np.uint8), (20, 1))
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 256)
    elif mode == "F":
        image = Image.fromarray(levels.astype(np.float32) * 9)
    else:
        image = Image.fromarray(levels).convert(mode)
    out = io.BytesIO()
    image.save(out, "TIFF" if mode in ("F", "CMYK") else "PNG")
    shown = np.asarray(opened(of_image(out.getvalue())).convert("L")).astype(int)

    assert shown[:, -6:].mean() - shown[:, :6].mean() > 150


def test_what_is_transparent_is_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(out, "PNG")

    assert np.asarray(opened(of_image(out.getvalue()))).min() > 250


def test_frames_are_those_of_their_moments() -> None:
    video = moving_object(frames=12, rate=12)
    times = [0, 250, 833]
    frames = list(of_frames(video.data, times))

    assert len(frames) == 3
    for time_ms, frame in zip(times, frames, strict=True):
        mask = video.masks[round(time_ms * 12 / 1000)]
        pixels = np.asarray(opened(frame)).astype(int)
        ground = np.asarray(opened(frames[0 if time_ms else 2])).astype(int)
        # The object is where its mask is, and not in a frame in which it has moved on.
        assert np.abs(pixels - ground)[mask].mean() > 3 * np.abs(pixels - ground)[~mask].mean() > 0


def test_frames_end_where_the_video_does() -> None:
    assert len(list(of_frames(moving_object(frames=3).data, [0, 60_000]))) == 1


def test_a_frame_far_ahead_is_sought() -> None:
    video = moving_object(frames=20, rate=1)
    (late,) = of_frames(video.data, [18_000])
    (direct,) = list(of_frames(video.data, list(range(0, 18_001, 1000))))[-1:]

    assert np.abs(np.asarray(opened(late)).astype(int) - np.asarray(opened(direct)).astype(int)).mean() < 2


def test_the_sound_of_a_recording_is_as_loud_as_it_is() -> None:
    out = io.BytesIO()
    quiet, loud = (np.sin(np.arange(8000) / 5) * level for level in (1000, 30_000))
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.concatenate([quiet, loud]).astype("<i2").tobytes())
    found = peaks(out.getvalue())

    assert len(found) == 240
    assert max(high for _, high in found[:110]) < 0.05
    assert min(high for _, high in found[130:]) > 0.8
    assert max(low for low, _ in found[130:]) < -0.8
