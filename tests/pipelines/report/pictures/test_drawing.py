"""What is drawn over a picture lies where the tables say."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from bulkinfer.pipelines.report.markup import Element, html
from bulkinfer.pipelines.report.pictures.drawing import Drawing, draw, frame_size
from bulkinfer.pipelines.report.pictures.thumbnails import Thumbnail
from PIL import Image
from support.outputs import mask, prediction, region

from .test_outlines import filled

DISC = (np.add.outer((np.arange(30) - 12.0) ** 2, (np.arange(40) - 25.0) ** 2)) < 80


def drawn(
    masks: list[dict[str, Any]],
    regions: list[dict[str, Any]] | None = None,
    size: tuple[int, int] = (40, 30),
    width: int = 40,
    height: int = 30,
    turn: int = 1,
) -> Drawing:
    if regions is None:
        regions = [region(one["region_index"], one.get("bbox_rel") or ()) for one in masks]
    thumbnail = Thumbnail("data:,", width, height, size, turn)
    return draw(thumbnail, prediction("a", regions=regions), masks, "a")


def found(drawing: Drawing, tag: str) -> list[Element]:
    return list(drawing.svg.iter(tag))


def test_a_mask_is_drawn_along_its_pixels() -> None:
    (path,) = found(drawn([mask("a", 0, DISC)]), "path")

    assert np.array_equal(filled(path.get("d"), 30, 40), DISC)


def test_a_mask_stored_as_a_picture_alone_is_drawn_as_well() -> None:
    out = io.BytesIO()
    Image.fromarray(DISC.astype(np.uint8) * 255).save(out, "PNG")
    (path,) = found(drawn([mask("a", 0, mask={"bytes": out.getvalue(), "path": None})]), "path")

    assert np.array_equal(filled(path.get("d"), 30, 40), DISC)


def test_the_smaller_masks_lie_above_the_larger_ones() -> None:
    corner = np.zeros((30, 40), bool)
    corner[:2, :2] = True
    paths = found(drawn([mask("a", 0, corner), mask("a", 1, DISC)]), "path")

    assert [filled(path.get("d"), 30, 40).sum() for path in paths] == [DISC.sum(), 4]


def test_a_mask_in_another_resolution_covers_the_whole_picture() -> None:
    note = "resized: the mask is 40 x 30 pixels, the picture 80 x 60; it shows the whole picture"
    (path,) = found(drawn([mask("a", 0, DISC, note=note)], size=(80, 60), width=80, height=60), "path")

    assert np.array_equal(filled(path.get("d"), 60, 80), DISC.repeat(2, 0).repeat(2, 1))


def test_a_mask_of_a_box_is_drawn_in_its_box() -> None:
    whole = np.ones((10, 20), bool)
    row = mask("a", 0, whole, note="crop: the mask is as large as its box") | {
        "bbox_rel": [0.25, 0.5, 0.5, 1 / 3]
    }
    (path,) = found(drawn([row]), "path")

    expected = np.zeros((30, 40), bool)
    expected[15:25, 10:30] = True
    assert np.array_equal(filled(path.get("d"), 30, 40), expected)


def test_a_mask_of_unknown_place_is_told_and_not_drawn() -> None:
    drawing = drawn([mask("a", 0, DISC, note="other_size: what it shows is not known")])

    assert not found(drawing, "path")
    assert drawing.unplaced == 1


def test_a_region_without_a_mask_is_a_box() -> None:
    (box,) = found(drawn([], [region(0, (0.25, 0.5, 0.5, 0.25), label="cat", score=0.75)]), "rect")

    assert [float(box.get(name)) for name in ("x", "y", "width", "height")] == [10, 15, 20, 7.5]
    assert "lone" in box.get("class")
    assert box.findtext("title") == "cat, 0.75"


def test_polygons_and_points_are_scaled_from_pixels_of_the_picture() -> None:
    row = mask("a", 0, polygon=[[0, 0, 80, 0, 80, 60]], keypoints=[40, 30, 2, 8, 8, 0], point=[20, 10])
    drawing = drawn([row], [region(0, ())], size=(80, 60))

    assert found(drawing, "path")[0].get("d") == "M0.0 0.0L40.0 0.0L40.0 30.0z"
    assert [(one.get("cx"), one.get("cy")) for one in found(drawing, "circle")] == [
        ("20.0", "15.0"),
        ("10.0", "5.0"),
    ]


def test_an_object_has_one_colour_through_a_video() -> None:
    def colour(**values: Any) -> str:
        regions = [region(values.pop("index"), **values)]
        return found(drawn([], regions), "rect")[0].get("class")

    assert colour(index=0, track_id="ball") == colour(index=5, track_id="ball")
    assert colour(index=0, label="a", track_id=None) == colour(index=5, label="a", track_id=None)
    assert len({colour(index=index) for index in range(10)}) == 10


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_picture_has_upright_labels_at_the_corner_that_is_up(turn: int) -> None:
    drawing = drawn([], [region(0, (0.25, 0.5, 0.5, 0.25), label="cat")], turn=turn)
    (label,) = found(drawing, "text")
    width, height = (30, 40) if turn in (5, 6, 7, 8) else (40, 30)

    assert drawing.svg.get("viewBox") == f"0 0 {width} {height}"
    lefts = {1: 10, 2: 10, 3: 10, 4: 10, 5: 15, 6: 30 - 22.5, 7: 30 - 22.5, 8: 15}
    assert float(label.get("x")) == lefts[turn] + 2
    assert 0 <= float(label.get("y")) <= height


def test_of_very_many_regions_the_largest_are_drawn() -> None:
    regions = [region(number, (0, 0, number / 200, 0.5)) for number in range(200)]
    drawing = drawn([], regions)

    assert (drawing.regions, drawing.left_out) == (120, 80)
    assert float(found(drawing, "rect")[0].get("width")) == pytest.approx(40 * 199 / 200, abs=0.1)


def test_labels_are_text() -> None:
    drawing = drawn([], [region(0, label="</svg><script>alert(1)</script>")])

    assert "<script" not in html(drawing.svg)


def test_a_box_that_is_none_is_not_drawn() -> None:
    assert not found(drawn([], [region(0, (float("nan"), 0, 1, 1)), region(1, ())]), "rect")


def test_the_size_of_a_frame_is_that_of_its_masks() -> None:
    assert frame_size([mask("a", 0), mask("a", 1, DISC)]) == (40, 30)
    assert frame_size([]) is None
