"""The path of a mask encloses its pixels and no others."""

from __future__ import annotations

import re

import numpy as np
from bulkinfer.pipelines.report.pictures.outlines import outline, sampled
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def filled(path: str, height: int, width: int) -> np.ndarray:
    """Fill a path of horizontal and vertical steps by the rule `evenodd`."""
    pixels = np.zeros((height, width), bool)
    for piece in path.split("z")[:-1]:
        x, y = start = tuple(map(int, re.match(r"M(\d+) (\d+)", piece).groups()))
        for step, length in re.findall(r"([hv])(-?\d+)", piece):
            if step == "h":
                x += int(length)
                continue
            low, high = sorted((y, y + int(length)))
            pixels[low:high, x:] ^= True
            y += int(length)
        assert x == start[0]  # the last side, which `z` draws, goes straight up or down
        low, high = sorted((y, start[1]))
        pixels[low:high, x:] ^= True
    return pixels


@given(MASKS)
def test_a_path_encloses_the_pixels_of_its_mask(mask: np.ndarray) -> None:
    assert np.array_equal(filled(outline(mask), *mask.shape), mask)


def test_a_path_has_a_step_for_each_side_and_none_for_each_pixel() -> None:
    assert outline(np.ones((300, 200), bool)) == "M0 0h200v300h-200z"


@given(MASKS, st.integers(1, 12), st.integers(1, 12))
def test_a_mask_at_another_size_has_the_pixels_under_the_middles_of_its_own(mask, height, width) -> None:
    small = sampled(mask, height, width)

    assert small.shape == (height, width)
    assert small.any() == mask.any()
    ys = [int((y + 0.5) * mask.shape[0] / height) for y in range(height)]
    xs = [int((x + 0.5) * mask.shape[1] / width) for x in range(width)]
    direct = np.array([[mask[y, x] for x in xs] for y in ys])
    assert np.array_equal(small, direct) or not direct.any()


def test_a_mask_of_its_own_size_stays_as_it_is() -> None:
    mask = np.random.default_rng(0).random((7, 5)) < 0.5

    assert np.array_equal(sampled(mask.astype(np.uint8), 7, 5), mask)
