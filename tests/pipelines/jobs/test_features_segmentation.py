"""Segmentation of everything, by points, by boxes and through a video, in a job and in one call."""

from __future__ import annotations

import base64
import io
import pathlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from support.features import call, jsonl, predictions
from support.http_server import http_server
from support.jobs import rows
from support.videos import MovingObject, moving_object

SIZE = (160, 120)
ROWS, COLUMNS = np.indices((SIZE[1], SIZE[0]))
LEFT = (ROWS - 60) ** 2 + (COLUMNS - 40) ** 2 <= 25**2
RIGHT = (ROWS - 60) ** 2 + (COLUMNS - 120) ** 2 <= 20**2
ON_LEFT = {"point": [0.25, 0.5, 0], "concepts": [{"name": "1", "value": 1}]}
OFF_RIGHT = {"point": [0.75, 0.5, 0], "concepts": [{"name": "0", "value": 1}]}
AROUND_RIGHT = {"box": [0.6, 0.3, 0.9, 0.7]}


@pytest.fixture(name="photo")
def photo_fixture(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two discs on a noisy ground, the left one larger."""
    ground = np.random.default_rng(1).integers(20, 60, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    picture = Image.fromarray(ground)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((15, 35, 65, 85), fill=(240, 200, 40))
    draw.ellipse((100, 40, 140, 80), fill=(60, 120, 250))
    path = tmp_path / "discs.png"
    picture.save(path)
    return path


def _overlap(one: NDArray[Any], other: NDArray[np.bool_]) -> float:
    one = one.astype(bool)
    return float((one & other).sum() / (one | other).sum())


def _masks(folder: pathlib.Path) -> list[NDArray[Any]]:
    return [coco.decode(row["segmentation"]) for row in rows(folder / "out", "masks")]


def _png(region: dict[str, Any]) -> NDArray[Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(region["mask"]["base64"])))) > 0


def _prompted(
    folder: pathlib.Path, prompts: Any, argument: str, **constants: Any
) -> tuple[dict[str, Any], Any]:
    source = jsonl(folder, {"id": "x", "uri": "discs.png", "prompts": prompts}, media="image")
    arguments = {"image": "$content", argument: "$column.prompts", **constants}
    return source, arguments


@pytest.mark.parametrize(("orientation", "told"), [("keep", 6), ("apply", 1)])
def test_boxes_and_masks_of_a_lying_photo_are_of_the_picture_that_is_told(
    tmp_path, endpoint, photo, orientation, told
):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned to the right: the left disc is the upper one
    with Image.open(photo) as picture:
        picture.save(tmp_path / "lying.jpg", exif=exif, quality=95)
    source = {"files": str(tmp_path / "lying.jpg"), "image": {"orientation": orientation}}

    (row,) = predictions(tmp_path, source, {"endpoint": endpoint, "method": "segment_anything"})

    assert (row["width"], row["height"], row["orientation"]) == (*SIZE[::-1], told)
    masks = rows(tmp_path / "out", "masks")
    assert {tuple(mask["segmentation"]["size"]) for mask in masks} == {SIZE}
    assert max(_overlap(coco.decode(mask["segmentation"]), np.rot90(LEFT, -1)) for mask in masks) > 0.9
    for mask in masks:
        x, y, width, height = mask["bbox"]
        assert [x, y, width, height] == pytest.approx(coco.toBbox(mask["segmentation"]).tolist())
        assert x + width <= SIZE[1]
        assert y + height <= SIZE[0]
    assert [mask["note"] for mask in masks] == [None] * len(masks)


def test_everything_is_segmented(tmp_path, endpoint, photo):
    model = {"endpoint": endpoint, "method": "segment_anything"}

    (row,) = predictions(tmp_path, {"files": str(photo)}, model, output={"masks": "both"})
    regions = call(endpoint, "segment_anything", None, "--file", f"image={photo}")

    assert row["num_regions"] == len(regions) >= 2
    for found in (_masks(tmp_path), [_png(region) for region in regions]):
        for wanted in (LEFT, RIGHT):
            assert max(_overlap(mask, wanted) for mask in found) > 0.9
    stored = [Image.open(io.BytesIO(row["mask"]["bytes"])) for row in rows(tmp_path / "out", "masks")]
    assert {picture.size for picture in stored} == {SIZE}


@pytest.mark.parametrize(
    ("argument", "prompts", "objects"),
    [
        ("regions", [ON_LEFT, OFF_RIGHT], [LEFT]),
        ("regions", [AROUND_RIGHT], [RIGHT]),
        ("dict_inputs", {"points": [[0.25, 0.5]], "labels": [1]}, [LEFT]),
        ("dict_inputs", {"box": [0.6, 0.3, 0.9, 0.7]}, [RIGHT]),
    ],
    ids=["points", "box", "dict of points", "dict of a box"],
)
def test_prompts_of_a_column_pick_an_object(tmp_path, endpoint, photo, argument, prompts, objects):
    source, arguments = _prompted(tmp_path, prompts, argument)

    (row,) = predictions(tmp_path, source, {"endpoint": endpoint, "arguments": arguments})
    regions = call(endpoint, "predict", {argument: prompts}, "--file", f"image={photo}")

    assert row["num_regions"] == len(objects)
    for found in (_masks(tmp_path), [_png(region) for region in regions]):
        assert [_overlap(mask, wanted) > 0.9 for mask, wanted in zip(found, objects, strict=True)] == [True]


@pytest.mark.parametrize("return_type", ["box", "mask", "all"])
def test_boxes_masks_or_both_come_back(tmp_path, endpoint, photo, return_type):
    source, arguments = _prompted(tmp_path, [AROUND_RIGHT], "regions", return_type=return_type)

    (row,) = predictions(tmp_path, source, {"endpoint": endpoint, "arguments": arguments})
    (region,) = call(
        endpoint,
        "predict",
        {"regions": [AROUND_RIGHT], "return_type": return_type},
        "--file",
        f"image={photo}",
    )

    masks = rows(tmp_path / "out", "masks")
    assert len(masks) == (return_type != "box")
    assert ("mask" in region, "box" in region) == (return_type != "box", return_type != "mask")
    (light,) = row["regions"]
    assert light["bbox"] == pytest.approx([100, 40, 41, 41], abs=3)
    if masks:
        assert masks[0]["bbox_source"] == ("mask" if return_type == "mask" else "model")
        assert masks[0]["bbox"] == pytest.approx(light["bbox"], abs=1)


def test_several_readings_of_a_prompt_are_asked_for_by_a_constant(tmp_path, endpoint, photo):
    prompts = {"points": [[0.25, 0.5]], "labels": [1]}
    source, arguments = _prompted(tmp_path, prompts, "dict_inputs", multimask_output=True)

    (row,) = predictions(tmp_path, source, {"endpoint": endpoint, "arguments": arguments})
    given = {"dict_inputs": prompts, "multimask_output": True}
    regions = call(endpoint, "predict", given, "--file", f"image={photo}")

    assert row["num_regions"] == len(regions) == len(_masks(tmp_path))
    assert row["num_regions"] > 1


@pytest.fixture(scope="module", name="film")
def film_fixture() -> MovingObject:
    return moving_object(frames=6)


def _objects(film: MovingObject, argument: str) -> Any:
    box = list(film.boxes[0])
    if argument == "frames":
        return [{"index": 0, "regions": [{"box": box, "track_id": "dahlia"}]}]
    return [{"frame_index": 0, "track_id": "dahlia", "box": box}]


@pytest.mark.parametrize(("argument", "video"), [("frames", "$content"), ("list_dict_inputs", "$uri")])
def test_an_object_is_tracked_through_a_video_by_bytes_and_by_url(tmp_path, endpoint, film, argument, video):
    objects = _objects(film, argument)
    (tmp_path / "a.mp4").write_bytes(film.data)
    with http_server() as server:
        server.files["a.mp4"] = film.data
        uri = "a.mp4" if video == "$content" else server.link("a.mp4")
        source = jsonl(tmp_path, {"id": "x", "uri": uri, "objects": objects}, media="video")
        model = {"method": "generate", "arguments": {"video": video, argument: "$column.objects"}}
        found = predictions(tmp_path, source, {"endpoint": endpoint, **model}, output={"raw": True})

    assert [row["frame_index"] for row in found] == list(range(6))
    assert [row["output_index"] for row in found] == list(range(6))
    assert [row["frame_time_ms"] for row in found] == pytest.approx([n * 1000 / 12 for n in range(6)], abs=1)
    assert all(row["raw"] for row in found)
    masks = rows(tmp_path / "out", "masks")
    assert {row["track_id"] for row in masks} == {"dahlia"}
    assert [row["frame_index"] for row in masks] == list(range(6))
    for row, wanted in zip(masks, film.masks, strict=True):
        assert _overlap(coco.decode(row["segmentation"]), wanted) > 0.6


def test_one_call_tracks_it_too(tmp_path, endpoint, film):
    (tmp_path / "a.mp4").write_bytes(film.data)
    given = {"frames": _objects(film, "frames"), "return_type": "mask"}

    frames = call(endpoint, "generate", given, "--file", f"video={tmp_path / 'a.mp4'}")

    assert [frame["index"] for frame in frames] == list(range(6))
    for frame, wanted in zip(frames, film.masks, strict=True):
        (region,) = frame["regions"]
        assert region["track_id"] == "dahlia"
        assert _overlap(_png(region), wanted) > 0.6
