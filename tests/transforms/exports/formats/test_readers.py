"""What is exported is read by the libraries that people train with, equal to the tables."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
import webdataset
from bulkinfer.transforms.exports.contents import Origin
from bulkinfer.transforms.exports.export import ExportOptions, export
from bulkinfer.transforms.storage.store import Store
from faster_coco_eval import COCO as FasterCoco
from PIL import Image
from pycocotools import mask as coco
from support.exports import HEIGHT, RING, SOLID, WIDTH, output_of, picture


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rows = []
    for name, regions in {
        "one.png": (("coin", 0.75, RING), ("cat", 0.5, SOLID)),
        "two.png": (("coin", 0.25, (0.25, 0.25, 0.5, 0.75)),),
        "none.png": (),
    }.items():
        out = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT)).save(out, "PNG")
        (tmp_path / name).write_bytes(out.getvalue())
        rows.append(picture(name, *regions, uri=str(tmp_path / name)))
    return output_of(tmp_path, rows)


def boxes(dataset: Any) -> dict[str, list[tuple[str, list[float]]]]:
    return {
        Path(path).name: sorted(
            (dataset.classes[label], [round(float(at), 3) for at in box])
            for box, label in zip(found.xyxy, found.class_id if len(found) else (), strict=True)
        )
        for path, _, found in dataset
    }


SEEN = {
    "one.png": [("cat", [2, 1, 6, 4]), ("coin", [3, 2, 10, 9])],
    "two.png": [("coin", [4, 3, 8, 9])],
    "none.png": [],
}


def test_supervision_reads_yolo(store: Store, tmp_path: Path) -> None:
    export(store, "yolo", str(tmp_path / "yolo"), ExportOptions(images="copy"), origin=Origin())
    read = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "yolo" / "images" / "train"),
        str(tmp_path / "yolo" / "labels" / "train"),
        str(tmp_path / "yolo" / "data.yaml"),
    )
    assert read.classes == ["cat", "coin"]
    assert boxes(read) == SEEN


@pytest.mark.parametrize("polygons", [False, True])
def test_supervision_and_faster_coco_eval_read_coco(store: Store, tmp_path: Path, polygons: bool) -> None:
    options = ExportOptions(images="copy", polygons=polygons)
    export(store, "coco", str(tmp_path / "coco"), options, origin=Origin())
    file = str(tmp_path / "coco" / "instances.json")
    read = supervision.DetectionDataset.from_coco(str(tmp_path / "coco" / "images"), file)
    assert boxes(read) == SEEN
    fast = FasterCoco(file)
    masks = {
        fast.cats[one["category_id"]]["name"]: fast.annToMask(one)
        for one in fast.loadAnns(fast.getAnnIds())
        if "segmentation" in one
    }
    assert (masks["coin"] == RING).all()
    assert (masks["cat"] == SOLID).all()


def test_supervision_reads_outlines(store: Store, tmp_path: Path) -> None:
    export(store, "yolo-seg", str(tmp_path / "yolo"), ExportOptions(images="copy"), origin=Origin())
    read = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "yolo" / "images" / "train"),
        str(tmp_path / "yolo" / "labels" / "train"),
        str(tmp_path / "yolo" / "data.yaml"),
        force_masks=True,
    )
    (found,) = [found for path, _, found in read if Path(path).name == "one.png"]
    for mask, label in zip(found.mask, found.class_id, strict=True):
        # Its rasterizer draws the outline itself, half a pixel to each side.
        exact = RING if read.classes[label] == "coin" else SOLID
        grown = np.zeros((HEIGHT + 1, WIDTH + 1), bool)
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            grown[y : y + HEIGHT, x : x + WIDTH] |= exact
        assert (mask == grown[:HEIGHT, :WIDTH]).all()


def test_webdataset_reads_shards(store: Store, tmp_path: Path) -> None:
    for name in ("first", "second"):
        export(store, "webdataset", str(tmp_path / name), origin=Origin())
    shard = tmp_path / "first" / "shard-000000.tar"
    assert shard.read_bytes() == (tmp_path / "second" / "shard-000000.tar").read_bytes()
    samples = {}
    for sample in webdataset.WebDataset(str(shard), shardshuffle=False):
        labels = json.loads(sample["json"])
        assert sample["png"] == (tmp_path / labels["input_id"]).read_bytes()
        samples[labels["input_id"]] = labels
    assert set(samples) == {"one.png", "two.png", "none.png"}
    masks = {one["label"]: one for one in samples["one.png"]["regions"]}
    for label, exact in (("coin", RING), ("cat", SOLID)):
        rle = masks[label]["rle"]
        assert (coco.decode({**rle, "counts": rle["counts"].encode()}) == exact).all()
    assert [one["bbox"] for one in samples["two.png"]["regions"]] == [[4, 3, 4, 6]]
    assert samples["none.png"]["text"] == "about none.png"
