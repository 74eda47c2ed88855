"""Masks become the very run lengths that pycocotools makes of the same pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from bulkinfer.transforms.errors import DecodeError
from bulkinfer.transforms.rows.masks import MaskRle, encode_mask, encode_pixels, png_size
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, features
from pycocotools import mask as coco

SIDES = st.sampled_from([1, 2, 3, 7, 8, 9, 63, 64, 65, 100, 128, 129])


@st.composite
def blocky(draw: st.DrawFn) -> np.ndarray:
    """Masks made of blocks, so that runs go on from one column to the next."""
    height, width = draw(SIDES), draw(SIDES)
    cells = draw(arrays(np.bool_, (draw(st.integers(1, 4)), draw(st.integers(1, 4)))))
    rows = np.arange(height) * cells.shape[0] // height
    columns = np.arange(width) * cells.shape[1] // width
    return cells[np.ix_(rows, columns)]


masks = st.one_of(blocky(), arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=70)))


def check(found: MaskRle, mask: np.ndarray) -> None:
    want = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert found.counts.encode() == want["counts"]
    assert [found.height, found.width] == want["size"]
    assert found.area == coco.area(want)
    assert list(found.bbox) == coco.toBbox(want).tolist()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(image: Image.Image, **options: object) -> bytes:
    return saved(image, "PNG", **options)


def textbook(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture))) != 0


def raw_png(mask: np.ndarray, depth: int, filters: list[int]) -> bytes:
    """A grey PNG with a filter of choice on each row, which Pillow cannot be told to write."""
    height, width = mask.shape
    padded = np.zeros((height, (width * depth + 7) // 8 * 8 // depth), np.uint8)
    padded[:, :width] = mask * (2**depth - 1)
    bits = np.unpackbits(padded[:, :, None], axis=2)[:, :, 8 - depth :].reshape(height, -1)
    rows = np.packbits(bits, axis=1).astype(int)
    before, lines = np.zeros(rows.shape[1], int), []
    for at, row in enumerate(rows):
        kind = filters[at % len(filters)]
        left, up_left = np.concatenate(([0], row[:-1])), np.concatenate(([0], before[:-1]))
        distance = [abs(before - up_left), abs(left - up_left), abs(left + before - 2 * up_left)]
        a_best = (distance[0] <= distance[1]) & (distance[0] <= distance[2])
        paeth = np.where(a_best, left, np.where(distance[1] <= distance[2], before, up_left))
        guess = [0 * row, left, before, (left + before) // 2, paeth][kind]
        lines.append(bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes())
        before = row
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(lines))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@given(masks)
@example(np.zeros((1, 1), bool))
@example(np.ones((1, 1), bool))
@example(np.ones((5, 1), bool))
@example(np.ones((1, 5), bool))
@example(np.ones((64, 64), bool))
@example(np.eye(65, dtype=bool))
def test_pixels_become_the_runs_area_and_box_of_pycocotools(mask: np.ndarray) -> None:
    check(encode_pixels(mask), mask)


@given(masks, st.sampled_from([1, 2, 4, 8]), st.lists(st.integers(0, 4), min_size=1, max_size=5))
@settings(deadline=None)
def test_grey_pngs_of_every_depth_and_filter_equal_pycocotools(
    mask: np.ndarray, depth: int, filters: list[int]
) -> None:
    picture = raw_png(mask, depth, filters)

    assert np.array_equal(textbook(picture), mask)
    check(encode_mask(picture), mask)


@given(
    arrays(
        np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=70), elements=st.sampled_from([0, 1, 3, 254])
    )
)
@settings(deadline=None)
def test_every_grey_that_is_not_zero_belongs_to_the_mask(samples: np.ndarray) -> None:
    check(encode_mask(png(Image.fromarray(samples))), samples != 0)


MASK = np.zeros((37, 50), bool)
MASK[5:20, 10:45] = True
MASK[30, :] = True


def _pictures() -> dict[str, bytes]:
    grey = Image.fromarray(MASK.astype(np.uint8) * 255)
    palette = Image.fromarray(MASK.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 200, 10, 10])
    pale = Image.fromarray(MASK.astype(np.uint8), "P")
    pale.putpalette([255, 255, 255, 0, 0, 0])
    black = np.zeros((*MASK.shape, 4), np.uint8)
    black[:, :, 3] = MASK * 255
    opaque = np.dstack([MASK * 255] * 3 + [np.full(MASK.shape, 255)]).astype(np.uint8)
    return {
        "16 bit": png(Image.fromarray(MASK.astype(np.uint16))),
        "palette": png(palette),
        "palette, white at zero": png(pale),
        "rgb": png(Image.fromarray(np.dstack([MASK * 0, MASK * 7, MASK * 0]).astype(np.uint8))),
        "rgba, opaque": png(Image.fromarray(opaque)),
        "rgba, alpha only": png(Image.fromarray(black)),
        "grey and alpha": png(
            Image.fromarray(np.dstack([MASK * 255, np.full(MASK.shape, 255)]).astype(np.uint8))
        ),
        "webp": saved(grey.convert("RGB"), "WEBP", lossless=True),
        "bmp": saved(grey, "BMP"),
    }


@pytest.mark.parametrize("kind", list(_pictures()))
def test_a_picture_of_any_other_kind_gives_the_same_mask(kind: str) -> None:
    check(encode_mask(_pictures()[kind]), MASK)


SQUARE = np.zeros((32, 32), bool)
SQUARE[6:26, 6:26] = True


def _lossy() -> dict[str, bytes]:
    grey = Image.fromarray(SQUARE.astype(np.uint8) * 255)
    clear = Image.merge("RGBA", [Image.new("L", grey.size, 255)] * 3 + [grey])
    return {
        "JPEG": saved(grey, "JPEG"),
        "JPEG, RGB": saved(Image.merge("RGB", [grey, grey.point(lambda _: 0), grey]), "JPEG"),
        "JPEG, CMYK": saved(Image.merge("RGB", [grey] * 3).convert("CMYK"), "JPEG"),
        "WEBP": saved(grey, "WEBP", quality=50),
        "WEBP, alpha": saved(clear, "WEBP", quality=50),
        "JPEG2000": saved(grey, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[30]),
        "TIFF": saved(grey, "TIFF", compression="jpeg"),
        **({"AVIF": saved(grey.convert("RGB"), "AVIF")} if features.check("avif") else {}),
    }


@pytest.mark.parametrize("kind", list(_lossy()))
def test_a_picture_of_a_format_that_loses_is_cut_at_half(kind: str) -> None:
    picture = _lossy()[kind]

    found = encode_mask(picture)

    check(found, SQUARE)
    assert found.lossy == kind.partition(",")[0]


def test_what_a_lossy_format_makes_of_black_belongs_to_no_mask() -> None:
    for level, area in ((0, 0), (127, 0), (128, 1024), (255, 1024)):
        assert encode_mask(saved(Image.new("L", (32, 32), level), "JPEG", quality=100)).area == area


@pytest.mark.parametrize("extended", [False, True])
def test_a_webp_without_loss_is_not_cut(extended: bool) -> None:
    labels = Image.fromarray(np.dstack([MASK.astype(np.uint8)] * 3))
    options = {"icc_profile": b"profile of an odd length"} if extended else {}
    picture = saved(labels, "WEBP", lossless=True, exact=True, **options)
    assert picture[12:16] == (b"VP8X" if extended else b"VP8L")

    found = encode_mask(picture)

    check(found, MASK)
    assert found.lossy == ""


def test_colours_count_only_where_they_are_not_transparent() -> None:
    samples = np.full((*MASK.shape, 4), 255, np.uint8)
    samples[:, :, 3] = MASK * 128

    check(encode_mask(png(Image.fromarray(samples))), MASK)


def test_an_opaque_black_picture_is_an_empty_mask() -> None:
    samples = np.zeros((*MASK.shape, 4), np.uint8)
    samples[:, :, 3] = 255

    assert encode_mask(png(Image.fromarray(samples))).area == 0


def test_an_interlaced_png_goes_the_general_way() -> None:
    # One pixel: of its seven passes only the first has a row.
    body = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1)
    picture = raw_png(np.ones((1, 1), bool), 8, [0])
    picture = picture[:16] + body + struct.pack(">I", zlib.crc32(b"IHDR" + body)) + picture[33:]

    check(encode_mask(picture), np.ones((1, 1), bool))


GREY = png(Image.fromarray(MASK.astype(np.uint8) * 255))
ONE_BIT = png(Image.fromarray(MASK.astype(np.uint8) * 255).convert("1"))


@pytest.mark.parametrize("picture", [GREY, ONE_BIT, _pictures()["rgb"]], ids=["8 bit", "1 bit", "rgb"])
def test_a_truncated_png_is_an_error_of_its_input(picture: bytes) -> None:
    with pytest.raises(DecodeError, match="the model sent"):
        encode_mask(picture[: len(picture) // 2])


def test_no_bytes_are_no_mask() -> None:
    with pytest.raises(DecodeError, match="the model sent a mask of 0 bytes"):
        encode_mask(b"")


def test_bytes_of_no_format_are_an_error_that_does_not_show_them() -> None:
    with pytest.raises(
        DecodeError, match="the model sent 12 bytes as a mask that Pillow cannot read: UnidentifiedImageError"
    ):
        encode_mask(b"no picture!!")


def test_a_bomb_is_refused_by_its_header() -> None:
    body = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)

    with pytest.raises(DecodeError, match="a mask of 100000 x 100000 pixels; it cannot be decoded"):
        encode_mask(GREY[:16] + body + GREY[29:])


@given(st.binary(max_size=200), st.integers(0, 100))
@settings(deadline=None)
def test_corrupt_bytes_never_raise_anything_else(noise: bytes, at: int) -> None:
    try:
        encode_mask(GREY[:at] + noise + GREY[at + len(noise) :])
    except DecodeError as error:
        assert error.stage == "decode"


def test_a_png_tells_its_size_without_being_decoded() -> None:
    assert png_size(GREY) == (50, 37)
    assert png_size(b"GIF89a") is None
