"""Regions are light rows in predictions, and whole rows in masks where they have a shape."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from clarifai_grpc.grpc.api import resources_pb2
from PIL import Image
from pycocotools import mask as coco
from support.answers import png, prediction, region, returned, rows, square, tables

NAN = float("nan")


def test_regions_are_light_in_predictions_and_whole_in_masks() -> None:
    mask = square(40, 80, top=10, left=20, side=16)
    shape = region(mask, id="r", track_id="t", concepts={"cat": 0.5, "dog": 0.25})

    plain = region(box=(0.25, 0.5, 0.75, 1), value=0.125)
    built = tables(prediction(returned(regions=[plain, shape]), width=80, height=40))
    (row,), (found,) = built.predictions.to_pylist(), built.masks.to_pylist()

    assert (row["num_regions"], row["width"], row["height"]) == (2, 80, 40)
    plain, light = row["regions"]
    assert (plain["bbox_rel"], plain["score"], plain["label"]) == ([0.5, 0.25, 0.5, 0.5], 0.125, None)
    assert (light["bbox"], light["label"], light["score"]) == ([20, 10, 16, 16], "cat", 0.5)
    assert {name: found[name] for name in ("region_index", "region_id", "track_id", "label_id", "area")} == {
        "region_index": 1,
        "region_id": "r",
        "track_id": "t",
        "label_id": "id-cat",
        "area": 256,
    }
    assert (found["bbox"], found["bbox_rel"]) == (
        [20, 10, 16, 16],
        [0.25, 0.25, light["bbox_rel"][2], light["bbox_rel"][3]],
    )
    assert found["bbox_source"] == "mask"
    assert np.array_equal(coco.decode(found["segmentation"]), mask)
    assert [one["name"] for one in found["concepts"]] == ["cat", "dog"]


def test_the_models_own_box_is_kept_and_told_apart() -> None:
    built = tables(prediction(returned(regions=[region(square(), (0, 0, 0.5, 0.5))]), width=100, height=50))
    (found,) = built.masks.to_pylist()

    assert (found["bbox"], found["bbox_rel"], found["bbox_source"]) == (
        [0, 0, 50, 25],
        [0, 0, 0.5, 0.5],
        "model",
    )


def sized(*regions: Any, width: int | None = 60, height: int | None = 40, **options: Any) -> tuple[Any, Any]:
    shown = {"width": width, "height": height, "orientation": options.pop("orientation", None)}
    built = tables(prediction(returned(regions=regions), **shown), **options)
    (row,) = built.predictions.to_pylist()
    return row, built.masks.to_pylist()


def test_a_mask_of_the_whole_picture_in_another_resolution_is_told_and_its_box_is_the_pictures() -> None:
    row, (found,) = sized(region(square(20, 30, top=5, left=10, side=7)))

    assert (row["width"], row["height"], found["segmentation"]["size"]) == (60, 40, [20, 30])
    assert (found["bbox"], found["bbox_source"], found["area"]) == ([20, 10, 14, 14], "mask", 49)
    assert found["note"].startswith(
        "resized: the mask is 30 x 20 pixels, the picture 60 x 40; it shows the whole"
    )


@pytest.mark.parametrize(
    ("mask", "note"),
    [((20, 30), "resized"), ((13, 20), "resized"), ((25, 30), "other_size"), ((40, 60), "None")],
)
def test_sizes_of_one_shape_differ_by_rounding_alone(mask: tuple[int, int], note: str) -> None:
    _, (found,) = sized(region(np.ones(mask, bool)))

    assert str(found["note"]).partition(":")[0] == note
    assert (found["bbox"] is None) == (note == "other_size")


def test_a_mask_as_large_as_its_box_is_a_crop() -> None:
    whole = region(np.ones((20, 30), bool), (0.25, 0.25, 0.75, 0.75))  # of the picture's own shape
    part = region(np.ones((15, 16), bool), (0.25, 0.25, 0.625, 0.5))
    other = region(np.ones((15, 17), bool), (0.25, 0.25, 0.625, 0.5))

    _, found = sized(whole, part, other)

    assert [one["note"].partition(":")[0] for one in found] == ["crop", "crop", "other_size"]
    assert [one["bbox"] for one in found] == [[15, 10, 30, 20], [15, 10, 15, 15], [15, 10, 15, 15]]
    assert [one["segmentation"]["size"] for one in found] == [[20, 30], [15, 16], [15, 17]]


def test_a_mask_of_an_unknown_part_has_no_box_in_the_picture() -> None:
    row, (found,) = sized(region(square(15, 15, top=3, left=6, side=3)))

    assert (found["bbox"], found["bbox_source"], row["regions"][0]["bbox"]) == (None, "mask", None)
    assert found["bbox_rel"] == pytest.approx([0.4, 0.2, 0.2, 0.2])
    assert "what of the picture it shows is not known" in found["note"]


@pytest.mark.parametrize("masks", ["rle", "png", "both", "none"])
@pytest.mark.parametrize(
    ("mask", "orientation"), [((60, 40), 6), ((60, 40), 5), ((30, 20), 8), ((60, 40), 7)]
)
def test_box_and_size_follow_masks_of_a_picture_that_the_model_has_turned(
    mask: tuple[int, int], orientation: int, masks: str
) -> None:
    boxed, drawn = region(box=(0, 0, 0.5, 0.5)), region()
    drawn.region_info.point.row, drawn.region_info.point.col = 1, 1
    odd = region(b"no picture", (0, 0, 1, 1))

    row, found = sized(boxed, odd, region(np.ones(mask, bool)), drawn, orientation=orientation, masks=masks)

    assert (row["width"], row["height"], row["orientation"]) == (40, 60, orientation)
    assert [one["bbox"] for one in row["regions"][:2]] == [[0, 0, 20, 30], [0, 0, 40, 60]]
    if masks != "none":
        assert (found[1]["bbox"], found[1]["bbox_source"], found[2]["point"]) == (
            [0, 0, 40, 60],
            "mask",
            [40, 60],
        )


@pytest.mark.parametrize(
    ("mask", "orientation", "picture", "size"),
    [
        ((60, 40), 3, (60, 40), (60, 40)),  # turned by half: width and height stay
        ((60, 40), None, (60, 40), (60, 40)),
        ((40, 60), 6, (60, 40), (60, 40)),  # the model looked at the picture as it is stored
        ((50, 60), 6, (60, 40), (60, 40)),
        ((40, 40), 6, (40, 40), (40, 40)),
        ((40, 41), 6, (40, 41), (41, 40)),
        ((41, 40), 6, (40, 41), (40, 41)),
        ((20, 20), 6, (40, 41), (40, 41)),  # either may be
    ],
)
def test_a_picture_counts_as_turned_only_where_orientation_and_masks_say_so(
    mask: tuple[int, int], orientation: int | None, picture: tuple[int, int], size: tuple[int, int]
) -> None:
    width, height = picture
    row, _ = sized(region(np.ones(mask, bool)), width=width, height=height, orientation=orientation)

    assert (row["width"], row["height"], row["orientation"]) == (*size, orientation)


def test_the_next_picture_is_not_turned_because_the_last_one_was() -> None:
    turned = returned(regions=[region(np.ones((60, 40), bool))])
    first = prediction(turned, input_id="a", width=60, height=40, orientation=6)
    second = prediction(turned, input_id="b", width=60, height=40)

    assert [row["width"] for row in rows(first, second)] == [40, 60]


@pytest.mark.parametrize("masks", ["rle", "png", "both"])
def test_no_mask_tells_the_size_of_a_picture_that_the_server_fetched(masks: str) -> None:
    drawn = region()
    drawn.region_info.polygon.points.add(row=0.5, col=0.25)
    boxed = region(square(), (0.25, 0.25, 0.5, 0.5))

    row, (own, model, points) = sized(region(square()), boxed, drawn, width=None, height=None, masks=masks)

    assert (row["width"], row["height"]) == (None, None)
    assert (own["bbox"], own["bbox_source"], own["note"]) == ([20, 10, 15, 15], "mask", None)
    assert (model["bbox"], model["bbox_source"]) == ([20, 10, 15, 15], "mask")  # in pixels of the mask
    assert (model["bbox_rel"], model["note"]) == ([0.25, 0.25, 0.25, 0.25], None)
    assert points["polygon"] is None
    assert points["note"].startswith("points: they come in 0 to 1, and the picture's size is unknown")


def test_points_that_are_no_numbers_are_null_and_told() -> None:
    drawn = region()
    drawn.region_info.polygon.points.add(row=NAN, col=0.25)
    drawn.region_info.point.row, drawn.region_info.point.col = 0.5, float("inf")
    drawn.region_info.keypoint_locations.add(row=0.5, col=NAN, visibility=1)
    drawn.region_info.keypoint_locations.add(row=0.5, col=0.5, visibility=1)

    _, (found,) = sized(drawn)

    assert (found["polygon"], found["point"]) == (None, None)
    assert found["keypoints"] == [0, 0, 0, 30, 20, 2]
    assert found["note"] == "points: polygon holds what is no number; points: point holds what is no number"


def test_no_number_is_never_the_best_score() -> None:
    odd, lone = region(concepts={"a": NAN, "b": 0.5}), region(concepts={"a": NAN})
    alone = region(value=NAN)
    track = resources_pb2.Track()
    track.data.frames.add().data.regions.extend([odd, lone, alone])
    concepts = list(odd.data.concepts)

    (row,) = rows(prediction(returned(regions=[odd, lone, alone], concepts=concepts, tracks=[track])))

    best = [("b", 0.5), ("a", None), (None, None)]
    assert [(one["label"], one["score"]) for one in row["regions"]] == best
    assert [(one["label"], one["score"]) for one in row["tracks"][0]["frames"][0]["regions"]] == best
    assert (row["label"], row["score"]) == ("b", 0.5)
    (row,) = rows(prediction(returned(concepts=list(lone.data.concepts))))
    assert (row["label"], row["score"]) == ("a", None)


def test_a_mask_of_a_format_that_loses_is_told() -> None:
    out = io.BytesIO()
    Image.fromarray(square().astype(np.uint8) * 255).save(out, "JPEG")

    (found,) = tables(
        prediction(returned(regions=[region(out.getvalue())]), width=60, height=40)
    ).masks.to_pylist()

    assert (found["area"], found["bbox"]) == (225, [20, 10, 15, 15])
    assert found["note"].startswith("lossy: the mask is a JPEG")


@pytest.mark.parametrize(
    "box",
    [
        (NAN, 0, 0.5, 0.5),
        (0, 0, 0.5, float("inf")),
        (0, 0, 1.5, 1),
        (-0.1, 0, 0.5, 0.5),
        (0, -0.1, 0.5, 0.5),
        (0, 0, 1, 1.5),
        (0.5, 0.5, 0.25, 0.75),
        (0.5, 0.5, 0.75, 0.25),
        (0.25, 0.25, 0.75, 0.25),
        (0.25, 0.25, 0.25, 0.75),
    ],
)
def test_a_box_that_is_none_gives_way_to_the_masks_and_stays_in_bbox_rel(box: tuple[float, ...]) -> None:
    own = np.array([box[1], box[0], box[3] - box[1], box[2] - box[0]], np.float32)

    for masks in ("rle", "png"):
        built = tables(
            prediction(returned(regions=[region(square(), box)]), width=60, height=40), masks=masks
        )
        (row,), (found,) = built.predictions.to_pylist(), built.masks.to_pylist()

        assert (found["bbox"], found["bbox_source"]) == ([20, 10, 15, 15], "mask")
        assert np.array_equal(found["bbox_rel"], own, equal_nan=True)
        assert found["note"].startswith("box: the model's own")
        assert row["regions"][0]["bbox"] == [20, 10, 15, 15]
        assert np.array_equal(row["regions"][0]["bbox_rel"], own, equal_nan=True)


def test_a_box_that_is_none_has_no_pixels_without_a_mask() -> None:
    odd = [region(box=(0, 0, 0.5, 1.5)), region(box=(NAN, 0, 1, 1)), region(box=(0.5, 0, 0, 1))]
    flat, rounded = region(box=(0.5, 0, 0.5, 1)), region(box=(0, 0, 1.0005, 1))
    lone = region(None, (0, 0, 2, 1))
    lone.region_info.point.row = 0.5

    built = tables(prediction(returned(regions=[*odd, flat, rounded, lone]), width=60, height=40))
    (row,), (found,) = built.predictions.to_pylist(), built.masks.to_pylist()

    boxes = [one["bbox"] for one in row["regions"]]
    assert boxes[:4] == [None, None, None, [0, 20, 60, 0]]
    assert boxes[4] == pytest.approx([0, 0, 60, 40.02])
    assert row["regions"][0]["bbox_rel"] == [0, 0, 1.5, 0.5]
    assert (found["bbox"], found["bbox_rel"], found["bbox_source"]) == (None, [0, 0, 1, 2], "model")
    assert found["note"].startswith("box: the model's own")


def test_an_empty_box_beside_a_mask_is_no_box() -> None:
    (found,) = tables(
        prediction(returned(regions=[region(square(), (0, 0, 0, 0))]), width=60, height=40)
    ).masks.to_pylist()

    assert (found["bbox"], found["bbox_rel"][2], found["bbox_source"], found["note"]) == (
        [20, 10, 15, 15],
        0.25,
        "mask",
        None,
    )


@pytest.mark.parametrize("masks", ["rle", "png", "both"])
def test_an_unreadable_mask_stands_with_its_reason_and_the_models_box(masks: str) -> None:
    boxed, empty = region(b"no picture!!", (0, 0, 0.5, 0.5)), region()
    empty.region_info.mask.SetInParent()

    first, second = tables(
        prediction(returned(regions=[boxed, empty]), width=60, height=40), masks=masks
    ).masks.to_pylist()

    assert (first["segmentation"], first["area"], first["bbox"]) == (None, None, [0, 0, 30, 20])
    assert first["note"].startswith("unreadable: the model sent 12 bytes as a mask")
    assert (first["mask"] is None) == (masks == "rle")
    assert (second["bbox"], second["note"]) == (None, "unreadable: the model sent a mask of 0 bytes")


def test_a_box_has_no_pixels_where_the_size_is_unknown() -> None:
    (row,) = rows(prediction(returned(regions=[region(box=(0, 0, 0.5, 0.5))])))

    assert (row["regions"][0]["bbox"], row["regions"][0]["bbox_rel"]) == (None, [0, 0, 0.5, 0.5])


def test_polygons_keypoints_points_and_texts_are_rows_of_masks_in_pixels() -> None:
    shape = region()
    shape.region_info.polygon.points.add(row=0.5, col=0.25)
    shape.region_info.polygon.points.add(row=1, col=0)
    shape.region_info.keypoint_locations.add(row=0.5, col=0.5, visibility=2)
    shape.region_info.point.row, shape.region_info.point.col = 0.5, 1
    shape.data.text.raw = "STOP"

    (found,) = tables(prediction(returned(regions=[shape]), width=100, height=10)).masks.to_pylist()

    assert found["polygon"] == [[25, 5, 0, 10]]
    assert (found["keypoints"], found["point"], found["text"]) == ([50, 5, 1], [100, 5], "STOP")
    assert (found["segmentation"], found["area"]) == (None, None)


@pytest.mark.parametrize(
    ("masks", "rle", "picture"), [("rle", True, False), ("png", False, True), ("both", True, True)]
)
def test_masks_are_stored_as_asked(masks: str, rle: bool, picture: bool) -> None:
    (found,) = tables(prediction(returned(regions=[region(square())])), masks=masks).masks.to_pylist()

    assert (found["segmentation"] is not None) == rle
    assert (found["mask"] or {}).get("bytes") == (png(square()) if picture else None)
    assert found["bbox"] == [20, 10, 15, 15]


def test_masks_none_leaves_the_table_empty_and_counts_regions() -> None:
    built = tables(prediction(returned(regions=[region(b"never read")])), masks="none")

    assert (built.masks.num_rows, built.predictions["num_regions"].to_pylist()) == (0, [1])


def test_a_png_with_a_box_is_stored_without_being_decoded() -> None:
    broken = png(square())[:60]
    (found,) = tables(
        prediction(returned(regions=[region(broken, (0, 0, 0.5, 0.5))]), width=60, height=40), masks="png"
    ).masks.to_pylist()

    assert (found["mask"]["bytes"], found["bbox"]) == (broken, [0, 0, 30, 20])
