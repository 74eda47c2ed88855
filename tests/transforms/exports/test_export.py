"""Exports read back by the tools that they are for, equal to the tables."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from bulkinfer.transforms.errors import ConfigError, StoreError
from bulkinfer.transforms.exports.export import FORMATS, ExportOptions, export
from bulkinfer.transforms.records import Prediction
from bulkinfer.transforms.storage.store import Store
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO
from support.exports import HEIGHT, PICTURES, RING, SOLID, WIDTH, output_of, picture, told
from support.tables import rows_seen


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return output_of(tmp_path, PICTURES)


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_is_read_by_pycocotools(store: Store, tmp_path: Path, polygons: bool) -> None:
    export(store, "coco", str(tmp_path / "coco"), ExportOptions(polygons=polygons))
    read = COCO(str(tmp_path / "coco" / "instances.json"))

    names = {image["id"]: image["file_name"] for image in read.loadImgs(read.getImgIds())}
    assert sorted(names.values()) == ["a/one.jpg", "b/none.jpg", "b/two.jpg"]
    assert {one["id"]: one["name"] for one in read.loadCats(read.getCatIds())} == {1: "cat", 2: "coin"}
    found = {}
    for one in read.loadAnns(read.getAnnIds()):
        found[names[one["image_id"]], read.cats[one["category_id"]]["name"]] = one
    assert set(found) == {("a/one.jpg", "coin"), ("a/one.jpg", "cat"), ("b/two.jpg", "coin")}
    assert (read.annToMask(found["a/one.jpg", "coin"]) == RING).all()
    assert (read.annToMask(found["a/one.jpg", "cat"]) == SOLID).all()
    # Polygons have no holes.
    assert isinstance(found["a/one.jpg", "coin"]["segmentation"], dict)
    assert isinstance(found["a/one.jpg", "cat"]["segmentation"], list if polygons else dict)
    holes = "masks with holes, which stay run lengths as COCO's polygons have none"
    assert told(tmp_path / "coco")["notes"] == ({holes: 1} if polygons else {})
    masks = {row["label"]: row for row in rows_seen(store, "masks")}
    for label in ("coin", "cat"):
        one = found["a/one.jpg", label]
        assert (one["area"], one["bbox"], one["score"], one["iscrowd"]) == (
            masks[label]["area"],
            masks[label]["bbox"],
            masks[label]["score"],
            0,
        )
    assert found["b/two.jpg", "coin"]["bbox"] == [4, 3, 4, 6]
    assert found["b/two.jpg", "coin"]["area"] == 24


def test_coco_results_are_read_by_pycocotools(store: Store, tmp_path: Path) -> None:
    export(store, "coco", str(tmp_path / "coco"))
    export(store, "coco-results", str(tmp_path / "results"))
    areas = {}
    for kind in ("bbox", "segm"):
        read = COCO(str(tmp_path / "coco" / "instances.json")).loadRes(
            str(tmp_path / "results" / f"{kind}.json")
        )
        areas[kind] = sorted((one["score"], one["area"]) for one in read.anns.values())
    assert areas["segm"] == [(0.5, 12), (0.75, 48)]
    assert areas["bbox"] == [(0.25, 24), (0.5, 12), (0.75, 49)]


def test_splits_are_files_of_their_own_that_hold_all(tmp_path: Path) -> None:
    many = [picture(f"{number}.jpg", ("coin", 0.5, SOLID)) for number in range(30)]
    store = output_of(tmp_path, many)
    for name, file in (
        ("coco", "instances_{}.json"),
        ("coco-results", "segm_{}.json"),
        ("jsonl", "{}.jsonl"),
    ):
        export(store, name, str(tmp_path / name), ExportOptions(split="0.6/0.2/0.2"))
        assert all((tmp_path / name / file.format(split)).exists() for split in ("train", "val", "test"))
    sets = [COCO(str(tmp_path / "coco" / f"instances_{split}.json")) for split in ("train", "val", "test")]
    assert sum(len(one.imgs) for one in sets) == sum(len(one.anns) for one in sets) == 30
    assert all(one.anns and one.imgs for one in sets)
    for one in sets:
        assert {ann["image_id"] for ann in one.anns.values()} == set(one.imgs)


def test_yolo_has_a_line_a_box_and_an_empty_file_for_a_negative(store: Store, tmp_path: Path) -> None:
    export(store, "yolo", str(tmp_path / "yolo"))
    told_names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert told_names["names"] == {0: "cat", 1: "coin"}
    assert told_names["train"] == told_names["val"] == "images/train"
    labels = tmp_path / "yolo" / "labels" / "train"
    assert (labels / "b" / "two.txt").read_text() == "1 0.375000 0.500000 0.250000 0.500000\n"
    assert (labels / "b" / "none.txt").read_text() == ""
    lines = sorted((labels / "a" / "one.txt").read_text().splitlines())
    assert [line.split()[0] for line in lines] == ["0", "1"]
    values = [float(value) for value in lines[0].split()[1:]]
    assert values == pytest.approx([4 / WIDTH, 2.5 / HEIGHT, 4 / WIDTH, 3 / HEIGHT], abs=1e-6)


def test_yolo_segments_are_outlines_with_holes_told(store: Store, tmp_path: Path) -> None:
    made = export(store, "yolo-seg", str(tmp_path / "yolo"))
    (line,) = [
        line
        for line in (tmp_path / "yolo" / "labels" / "train" / "a" / "one.txt").read_text().splitlines()
        if line.startswith("0 ")
    ]
    values = [float(value) for value in line.split()[1:]]
    corners = [value * (HEIGHT if at % 2 else WIDTH) for at, value in enumerate(values)]
    assert (coco.decode(coco.frPyObjects([corners], HEIGHT, WIDTH))[:, :, 0] == SOLID).all()
    assert made["notes"] == {
        "masks with holes, to which a cut without width leads from the outline": 1,
        "regions without a mask, which are left out": 1,
    }


def test_sa1b_has_a_file_a_picture(store: Store, tmp_path: Path) -> None:
    export(store, "sa1b", str(tmp_path / "sa1b"))
    one = json.loads((tmp_path / "sa1b" / "a" / "one.jpg.json").read_text())
    assert (one["image"]["file_name"], one["image"]["width"]) == ("a/one.jpg", WIDTH)
    rles = [
        {**ann["segmentation"], "counts": ann["segmentation"]["counts"].encode()}
        for ann in one["annotations"]
    ]
    assert {coco.decode(rle).sum() for rle in rles} == {RING.sum(), SOLID.sum()}
    assert json.loads((tmp_path / "sa1b" / "b" / "none.jpg.json").read_text())["annotations"] == []


def test_label_maps_number_regions_and_the_smaller_lies_above(store: Store, tmp_path: Path) -> None:
    made = export(store, "png", str(tmp_path / "png"))
    pixels = np.array(Image.open(tmp_path / "png" / "a" / "one.jpg.png"))
    labels = json.loads((tmp_path / "png" / "a" / "one.jpg.json").read_text())
    by_label = {value["label"]: int(number) for number, value in labels.items()}
    assert pixels.dtype.kind in "ui"
    assert (pixels == by_label["cat"]).sum() == SOLID.sum()
    assert ((pixels == by_label["coin"]) == (RING & ~SOLID)).all()
    assert (pixels == 0).sum() == HEIGHT * WIDTH - (RING | SOLID).sum()
    assert made["notes"] == {
        "pixels that several regions claim; the smallest region has them, and png-masks keeps all": (
            RING & SOLID
        ).sum()
    }


def test_voc_counts_pixels_from_one(store: Store, tmp_path: Path) -> None:
    export(store, "voc", str(tmp_path / "voc"))
    tree = ElementTree.parse(tmp_path / "voc" / "Annotations" / "b" / "two.xml").getroot()
    assert [tree.findtext(f"size/{side}") for side in ("width", "height")] == ["16", "12"]
    assert tree.findtext("object/name") == "coin"
    box = [float(tree.findtext(f"object/bndbox/{side}") or 0) for side in ("xmin", "ymin", "xmax", "ymax")]
    assert box == [5, 4, 8, 9]
    names = (tmp_path / "voc" / "ImageSets" / "Main" / "trainval.txt").read_text().split()
    assert sorted(names) == ["a/one", "b/none", "b/two"]


def test_rows_as_json_lines_and_as_csv(tmp_path: Path) -> None:
    store = output_of(tmp_path, [picture("a.txt"), picture("b.txt")])
    export(store, "jsonl", str(tmp_path / "jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "jsonl" / "predictions.jsonl").read_text().splitlines()]
    assert [(row["input_id"], row["text"]) for row in rows] == [
        ("a.txt", "about a.txt"),
        ("b.txt", "about b.txt"),
    ]
    assert all(None not in row.values() for row in rows)
    export(store, "csv", str(tmp_path / "csv"))
    with (tmp_path / "csv" / "predictions.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["input_id"], row["text"]) for row in read] == [
        ("a.txt", "about a.txt"),
        ("b.txt", "about b.txt"),
    ]
    assert "embedding" not in read[0]


def test_a_condition_chooses_rows(store: Store, tmp_path: Path) -> None:
    made = export(store, "coco", str(tmp_path / "c"), ExportOptions(where="num_regions > 0"))
    assert (made["rows"], made["regions"]) == (2, {"cat": 1, "coin": 2})
    where = "input_id IN (SELECT input_id FROM masks WHERE area > 20)"
    made = export(store, "coco", str(tmp_path / "c"), ExportOptions(where=where))
    assert (made["rows"], made["regions"]) == (1, {"cat": 1, "coin": 1})
    with pytest.raises(ConfigError, match=r"--where nonsense: .*nonsense.* write a condition on the columns"):
        export(store, "coco", str(tmp_path / "d"), ExportOptions(where="nonsense"))
    assert not (tmp_path / "d").exists()


def test_the_same_tables_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    for name in FORMATS:
        if name in ("csv", "webdataset"):  # one has no masks, the other needs the inputs
            continue
        hashes = []
        for attempt in ("first", "second"):
            folder = tmp_path / name / attempt
            export(store, name, str(folder), ExportOptions(split="1/1"))
            hashes.append(
                {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            )
        assert hashes[0] == hashes[1]
        files = told(folder)["files"]
        assert {path.as_posix() for path in hashes[0]} == {*files, "manifest.json"}
        for path, one in files.items():
            assert hashlib.sha256(hashes[0][Path(path)]).hexdigest() == one["sha256"]


def test_an_export_takes_an_older_ones_place_and_nothing_elses(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "coco"
    export(store, "coco", str(target))
    (target / "stale.json").write_text("{}")
    export(store, "coco", str(target))
    assert sorted(path.name for path in target.iterdir()) == ["instances.json", "manifest.json"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="there is something else than an export"):
        export(store, "coco", str(tmp_path / "mine"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_dry_run_writes_nothing(store: Store, tmp_path: Path) -> None:
    made = export(store, "coco", str(tmp_path / "coco"), ExportOptions(dry_run=True))
    assert (made["rows"], made["regions"]) == (3, {"cat": 1, "coin": 2})
    assert not (tmp_path / "coco").exists()
    assert not store.exists("_categories.json")


def test_ids_are_the_same_in_the_next_export(store: Store, tmp_path: Path) -> None:
    export(store, "coco", str(tmp_path / "coco"))
    grown = output_of(tmp_path, [picture("new.jpg", ("ant", 0.5, SOLID))], run_id="20260102T000000Z-000002")
    export(grown, "coco", str(tmp_path / "coco"))
    listed = json.loads((tmp_path / "coco" / "instances.json").read_text())["categories"]
    assert {one["name"]: one["id"] for one in listed} == {"cat": 1, "coin": 2, "ant": 3}


def test_answers_of_several_versions_go_together_only_if_that_is_meant(tmp_path: Path) -> None:
    mixed = [picture("a.jpg", ("cat", 0.5, SOLID), version="v1"), picture("b.jpg", version="v2")]
    store = output_of(tmp_path, mixed)
    with pytest.raises(
        ConfigError, match=r"several models or versions \(.*version v1.*version v2\).*--mixed"
    ):
        export(store, "coco", str(tmp_path / "coco"))
    export(store, "coco", str(tmp_path / "coco"), ExportOptions(mixed=True))
    export(store, "coco", str(tmp_path / "coco"), ExportOptions(where="model_version = 'v1'"))


@pytest.mark.parametrize(
    ("name", "pictures", "message"),
    [
        ("csv", PICTURES, "have masks, which CSV cannot hold; use coco"),
        ("coco", [picture("a.txt", size=False)], "use jsonl or csv for texts"),
        (
            "yolo",
            [picture("a.jpg", ("cat", 0.5, (0, 0, 1, 1)), size=False)],
            "the size of .*a.jpg is not known",
        ),
        ("voc", [picture("a.jpg", size=False)], "the size of .*a.jpg is not known"),
        ("sa1b", [picture("a.jpg", ("cat", 0.5, (0, 0, 1, 1)))], "have no masks; use coco for boxes"),
        ("png", [picture("a.jpg")], "have no masks; use coco for boxes"),
    ],
)
def test_what_a_format_cannot_say_is_refused_with_one_that_can(
    tmp_path: Path, name: str, pictures: list[Prediction], message: str
) -> None:
    store = output_of(tmp_path, pictures)
    with pytest.raises(ConfigError, match=message):
        export(store, name, str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_where_there_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no table `predictions`"):
        export(Store(str(tmp_path)), "coco", str(tmp_path / "coco"))
