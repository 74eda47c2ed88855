"""Labels and names of files are data on every export: nothing runs or climbs, and what is read back is the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from bulkinfer.transforms.exports.export import FORMATS, ExportOptions, export
from bulkinfer.transforms.storage.store import Store
from pycocotools.coco import COCO
from support.exports import SOLID, output_of, picture

LABELS = [
    "<script>alert(1)</script>",
    "a\"b'c`d",
    "\u202egpj.exe",
    "\x1b[31mred\x07",
    "two\nlines\r\n\tand a tab",
    "x" * 10_000,
    "../../etc/passwd",
    "a: [b, {c}]",
    "]]>&amp;<!--",
]
NAMES = ["../../etc/passwd.jpg", "a/\x1b[2J.jpg", "b/\n\u202egpj.exe", "c/" + "y" * 500 + ".jpg", "d/<b>.jpg"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    regions = [(label, 0.5, SOLID) for label in LABELS]
    return output_of(tmp_path, [picture(name, *regions, uri=f"s3://lake/{name}") for name in NAMES])


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"csv", "webdataset"}))
def test_no_name_climbs_or_moves_a_terminals_cursor(store: Store, tmp_path: Path, name: str) -> None:
    export(store, name, str(tmp_path / "deep" / "made"), ExportOptions(images="none"))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]
    for place, folders, files in os.walk(tmp_path / "deep"):
        for one in (*folders, *files):
            assert not set(one) & set("\x1b\n\r\u202e\\"), place


def test_json_and_yaml_say_the_labels_as_they_are(store: Store, tmp_path: Path) -> None:
    export(store, "coco", str(tmp_path / "coco"))
    read = COCO(str(tmp_path / "coco" / "instances.json"))
    assert {one["name"] for one in read.cats.values()} == set(LABELS)
    export(store, "yolo", str(tmp_path / "yolo"))
    names = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"]
    assert set(names.values()) == set(LABELS)
    export(store, "label-studio", str(tmp_path / "ls"))
    (task, *_) = json.loads((tmp_path / "ls" / "tasks.json").read_text(encoding="utf-8"))
    brushes = [one["value"]["brushlabels"][0] for one in task["predictions"][0]["result"]]
    assert brushes == LABELS


@pytest.mark.parametrize(
    ("name", "file"), [("cvat", "annotations.xml"), ("label-studio", "label_config.xml")]
)
def test_xml_stays_whole_and_tells_what_it_cannot_say(
    store: Store, tmp_path: Path, name: str, file: str
) -> None:
    made = export(store, name, str(tmp_path / "made"))
    tree = ElementTree.parse(tmp_path / "made" / file).getroot()
    said = {one.attrib.get("label", one.attrib.get("value")) for one in tree.iter()}
    escaped = [label.replace("\x1b", "\ufffd").replace("\x07", "\ufffd") for label in LABELS]
    assert set(escaped) <= said
    assert any("signs that XML cannot hold" in note for note in made["notes"])
    export(store, "voc", str(tmp_path / "voc"))
    (one, *_) = sorted((tmp_path / "voc" / "Annotations").rglob("*.xml"))
    assert {found.text for found in ElementTree.parse(one).getroot().iterfind("object/name")} == set(escaped)
