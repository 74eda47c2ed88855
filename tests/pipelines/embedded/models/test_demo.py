"""What the embedded models compute: masks that lie on their objects, and tracks that follow them."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from bulkinfer.pipelines.embedded.models.segmentation import predict, segment_anything
from bulkinfer.pipelines.embedded.models.text import classify, summarize
from bulkinfer.pipelines.embedded.models.video import generate
from bulkinfer.pipelines.embedded.types import Concept, Image, Region, Video
from numpy.typing import NDArray
from PIL import Image as Pillow
from support.paths import PHOTOS
from support.videos import moving_object


def _photo(name: str) -> Image:
    return Image((PHOTOS / f"{name}.jpg").read_bytes())


def _mask(region: Region) -> NDArray[np.bool_]:
    assert region.mask is not None
    return np.asarray(Pillow.open(io.BytesIO(region.mask))) > 0


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def _scene() -> tuple[Image, list[NDArray[np.bool_]]]:
    """A noisy picture of three discs and a bar on a shaded ground, and where each lies."""
    random = np.random.default_rng(7)
    rows, columns = np.indices((300, 400))
    picture = np.dstack([90 + rows / 6, 120 + columns / 9, 100 + rows / 9])
    shapes = [
        (rows - 80) ** 2 + (columns - 90) ** 2 < 45**2,
        (rows - 200) ** 2 + (columns - 120) ** 2 < 60**2,
        (rows - 100) ** 2 + (columns - 300) ** 2 < 50**2,
        (abs(rows - 230) < 25) & (abs(columns - 300) < 70),
    ]
    for shape, colour in zip(
        shapes, [(200, 40, 40), (40, 60, 190), (240, 220, 60), (30, 30, 30)], strict=True
    ):
        picture[shape] = colour
    noisy = np.clip(picture + random.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(noisy).save(buffer, "PNG")
    return Image(buffer.getvalue()), shapes


def test_every_object_of_a_noisy_scene_is_found_to_the_pixel() -> None:
    image, shapes = _scene()
    masks = [_mask(region) for region in segment_anything(image)]

    assert [max(_overlap(mask, shape) for mask in masks) > 0.95 for shape in shapes] == [True] * 4


def test_a_box_and_a_point_cut_out_the_object_they_mean() -> None:
    image, shapes = _scene()
    (boxed,) = predict(image, dict_inputs={"box": [30, 20, 150, 140]})
    (pointed,) = predict(image, regions=[Region(point=(0.75, 0.33, 0.0), concepts=(Concept("1"),))])

    assert _overlap(_mask(boxed), shapes[0]) > 0.95
    assert _overlap(_mask(pointed), shapes[2]) > 0.95


def test_a_point_off_the_object_keeps_it_apart() -> None:
    image, shapes = _scene()
    (region,) = predict(image, dict_inputs={"points": [[0.3, 0.66], [0.02, 0.02]], "labels": [1, 0]})

    assert _overlap(_mask(region), shapes[1]) > 0.95


def test_several_readings_are_given_on_request() -> None:
    regions = predict(_photo("coffee"), dict_inputs={"points": [[0.5, 0.4]]}, multimask_output=True)

    assert 2 <= len(regions) <= 3
    assert all(_mask(region)[160, 300] for region in regions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"return_type": "masks"}, "return_type='masks' is none of all, box, mask"),
        (
            {"dict_inputs": {"point": [1, 1]}},
            "unknown key point in a prompt; it takes points, labels and box",
        ),
        (
            {"dict_inputs": {"points": [[0.5, 0.5]], "labels": [0]}},
            "a prompt needs a box or a point on the object",
        ),
        ({"dict_inputs": {"points": [[0.5, 0.5]], "labels": [1, 0]}}, "1 points and 2 labels"),
        ({"dict_inputs": {"box": [0.1, 0.2, 0.3]}}, r"has 3 numbers; write it as \[x1, y1, x2, y2\]"),
        ({"dict_inputs": {"box": [0.5, 0.5, 0.2, 0.9]}}, "is empty; write it as"),
        ({"dict_inputs": {"box": [0, 0, 5000, 100]}}, "a prompt lies outside the picture"),
        (
            {"dict_inputs": {"box": [0, 0, 1, 1]}, "regions": [Region(box=(0, 0, 1, 1))]},
            "regions and dict_inputs were both given",
        ),
    ],
)
def test_a_prompt_that_means_nothing_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict(_photo("coins"), **arguments)  # type: ignore[arg-type]


def test_the_coins_are_found_one_by_one() -> None:
    regions = segment_anything(_photo("coins"))
    coins = [region for region in regions if _mask(region).mean() < 0.05]

    assert 23 <= len(coins) <= 30
    for region in coins:
        assert region.box is not None
        width, height = (region.box[2] - region.box[0]) * 384, (region.box[3] - region.box[1]) * 303
        assert 0.6 < _mask(region).sum() / (width * height) < 0.95, "a coin fills its box as a disc does"


def test_pictures_without_objects_have_no_regions() -> None:
    for size in ((1, 1), (8, 200), (64, 64)):
        buffer = io.BytesIO()
        Pillow.new("RGB", size, (120, 60, 30)).save(buffer, "PNG")

        assert segment_anything(Image(buffer.getvalue())) == []


def test_an_object_is_followed_through_a_video() -> None:
    video = moving_object(frames=8)
    prompt = {"frame_index": 0, "track_id": "flower", "box": list(video.boxes[0])}
    frames = list(generate(Video(video.data), list_dict_inputs=[prompt]))

    assert [frame.index for frame in frames] == list(range(8))
    assert [frame.time_ms for frame in frames[:3]] == [0, 83, 167]
    for frame in frames:
        (region,) = frame.regions
        assert region.track_id == "flower"
        assert _overlap(_mask(region), video.masks[frame.index]) > 0.9


def test_bytes_that_are_no_video_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot decode the video"):
        list(generate(Video(b"no video at all")))


def test_empty_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="the text is empty"):
        classify(" ")
    with pytest.raises(ValueError, match="the text is empty"):
        list(summarize("\n"))


def test_a_summary_is_made_of_the_texts_sentences_in_their_order() -> None:
    text = "Rain fell on the harbour. The harbour flooded at night. Boats in the harbour sank. I like tea."
    summary = list(summarize(text, sentences=2))

    assert len(summary) == 2
    assert text.index(summary[0].strip()) < text.index(summary[1].strip())
    assert "tea" not in "".join(summary)


def test_every_photograph_has_a_licence_and_all_are_small() -> None:
    named = set(
        re.findall(r"^\| ([\w-]+\.jpg) \|", (PHOTOS / "LICENSES.md").read_text(encoding="utf-8"), re.M)
    )
    photos = sorted(PHOTOS.glob("*.jpg"))

    assert {photo.name for photo in photos} == named
    assert len(photos) >= 20
    assert sum(photo.stat().st_size for photo in photos) < 3_000_000
