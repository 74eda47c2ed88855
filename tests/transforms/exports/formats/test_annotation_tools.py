"""CVAT, Label Studio and FiftyOne read what is written for them; their readers are heavy, so these follow them."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.exports.export import ExportOptions, export
from bulkinfer.transforms.exports.formats.label_studio import brush_codes
from bulkinfer.transforms.storage.store import Store
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco
from pycocotools.coco import COCO
from support.exports import HEIGHT, PICTURES, RING, SOLID, WIDTH, output_of, picture


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return output_of(tmp_path, PICTURES)


def cvat_mask(element: ElementTree.Element) -> NDArray[np.bool_]:
    """As Datumaro reads it: runs over the columns of the transposed box."""
    left, top, width, height = (int(element.attrib[name]) for name in ("left", "top", "width", "height"))
    counts = [int(one) for one in element.attrib["rle"].split(",")]
    rle = coco.frPyObjects({"counts": counts, "size": [width, height]}, width, height)
    canvas = np.zeros((HEIGHT, WIDTH), bool)
    canvas[top : top + height, left : left + width] = coco.decode(rle).T
    return canvas


def test_cvat_has_masks_in_its_own_runs(store: Store, tmp_path: Path) -> None:
    export(store, "cvat", str(tmp_path / "cvat"))
    tree = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    assert tree.findtext("version") == "1.1"
    assert [one.text for one in tree.iterfind("meta/task/labels/label/name")] == ["cat", "coin"]
    images = {one.attrib["name"]: one for one in tree.iterfind("image")}
    assert {name: (one.attrib["id"], one.attrib["width"]) for name, one in images.items()} == {
        "a/one.jpg": ("0", "16"),
        "b/two.jpg": ("1", "16"),
        "b/none.jpg": ("2", "16"),
    }
    masks = {one.attrib["label"]: cvat_mask(one) for one in images["a/one.jpg"].iterfind("mask")}
    assert (masks["coin"] == RING).all()
    assert (masks["cat"] == SOLID).all()
    (box,) = images["b/two.jpg"].iterfind("box")
    assert [float(box.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr")] == [4, 3, 8, 9]
    assert box.find("attribute[@name='score']").text == "0.25"  # type: ignore[union-attr]
    assert not list(images["b/none.jpg"])


def test_cvat_polygons_keep_masks_with_holes(store: Store, tmp_path: Path) -> None:
    made = export(store, "cvat", str(tmp_path / "cvat"), ExportOptions(polygons=True))
    (image, *_) = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot().iterfind("image")
    assert image.find("polygon").attrib["points"] == "2.00,1.00;6.00,1.00;6.00,4.00;2.00,4.00"  # type: ignore[union-attr]
    assert [one.attrib["label"] for one in image.iterfind("mask")] == ["coin"]
    assert made["notes"] == {"masks with holes, which stay masks as CVAT's polygons have none": 1}


def brush_mask(codes: list[int]) -> NDArray[np.uint8]:
    """As rle-pack decodes it."""
    bits = "".join(f"{one:08b}" for one in codes)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    found: list[int] = []
    while len(found) < total:
        is_run = read(1)
        length = read(sizes[read(2)]) + 1
        found += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    return np.array(found, np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 200), st.sampled_from((0.0, 0.01, 0.5, 1.0)))
def test_brushes_are_the_masks(seed: int, height: int, width: int, share: float) -> None:
    pixels = np.random.default_rng(seed).random((height, width)) < share
    channels = brush_mask(brush_codes(pixels)).reshape(height, width, 4)
    assert (channels == 255 * pixels[:, :, None]).all()


def test_runs_longer_than_a_length_can_say() -> None:
    pixels = np.zeros((300, 200), bool)
    pixels[:150] = True
    assert (brush_mask(brush_codes(pixels)).reshape(300, 200, 4)[:, :, 3] == 255 * pixels).all()


def test_label_studio_has_brushes_boxes_and_choices(store: Store, tmp_path: Path) -> None:
    export(store, "label-studio", str(tmp_path / "ls"))
    tasks = {
        task["data"]["input_id"]: task for task in json.loads((tmp_path / "ls" / "tasks.json").read_text())
    }
    assert tasks["a/one.jpg"]["data"]["image"] == "s3://lake/photos/a/one.jpg"
    (prediction,) = tasks["a/one.jpg"]["predictions"]
    assert prediction["score"] == pytest.approx(0.625)
    found = {one["value"]["brushlabels"][0]: one for one in prediction["result"]}
    for label, mask in (("coin", RING), ("cat", SOLID)):
        one = found[label]
        assert (one["type"], one["original_width"], one["original_height"]) == ("brushlabels", WIDTH, HEIGHT)
        channels = brush_mask(one["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)
        assert (channels[:, :, 3] == 255 * mask).all()
    (box,) = tasks["b/two.jpg"]["predictions"][0]["result"]
    assert (box["type"], box["value"]["rectanglelabels"], box["score"]) == ("rectanglelabels", ["coin"], 0.25)
    assert [box["value"][side] for side in ("x", "y", "width", "height")] == [25, 25, 25, 50]
    (answer,) = tasks["b/none.jpg"]["predictions"][0]["result"]
    assert answer["value"] == {"text": ["about b/none.jpg"]}
    config = ElementTree.parse(tmp_path / "ls" / "label_config.xml").getroot()
    names = {one.attrib["name"] for one in config}
    results = [one for task in tasks.values() for one in task["predictions"][0]["result"]]
    assert {one["from_name"] for one in results} <= names
    assert [one.attrib["value"] for one in config.iterfind("BrushLabels/Label")] == ["cat", "coin"]


def test_a_label_studio_project_is_about_one_kind_of_input(tmp_path: Path) -> None:
    both = [picture("a.jpg"), picture("a.txt", media="text", size=False)]
    with pytest.raises(ConfigError, match=r"the rows are about image, text.*choose one by --where"):
        export(output_of(tmp_path, both), "label-studio", str(tmp_path / "ls"))
    store = output_of(tmp_path / "texts", [picture("a.txt", media="text", size=False)])
    export(store, "label-studio", str(tmp_path / "ls"))
    (task,) = json.loads((tmp_path / "ls" / "tasks.json").read_text())
    assert task["data"] == {"text": "s3://lake/photos/a.txt", "input_id": "a.txt"}
    config = ElementTree.parse(tmp_path / "ls" / "label_config.xml").getroot()
    assert config.find("Text").attrib["valueType"] == "url"  # type: ignore[union-attr]


def test_fiftyone_has_coco_and_samples(store: Store, tmp_path: Path) -> None:
    export(store, "fiftyone", str(tmp_path / "fo"), ExportOptions(images="none"))
    read = COCO(str(tmp_path / "fo" / "labels.json"))
    assert len(read.anns) == 3
    samples: dict[str, Any] = {
        one["input_id"]: one for one in json.loads((tmp_path / "fo" / "samples.json").read_text())
    }
    one = samples["a/one.jpg"]
    assert one["filepath"] == "s3://lake/photos/a/one.jpg"
    for found in one["detections"]["detections"]:
        mask = RING if found["label"] == "coin" else SOLID
        x, y, width, height = found["bounding_box"]
        left, top = round(x * WIDTH), round(y * HEIGHT)
        packed = zlib.decompress(base64.b64decode(found["mask"]["$binary"]["base64"]))
        pixels = np.load(io.BytesIO(packed))
        assert pixels.shape == (round(height * HEIGHT), round(width * WIDTH))
        canvas = np.zeros((HEIGHT, WIDTH), bool)
        canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        assert (canvas == mask).all()
    (box,) = samples["b/two.jpg"]["detections"]["detections"]
    assert box["bounding_box"] == [0.25, 0.25, 0.25, 0.5]
    assert samples["b/none.jpg"]["text"] == "about b/none.jpg"
