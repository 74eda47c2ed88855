"""The job files in `configs/` run as they stand, against the embedded server that they start."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from support.jobs import Ran, rows, run_cli
from support.paths import ROOT

CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))


def _run(name: str, output: pathlib.Path, *options: str) -> Ran:
    job = f"configs/{name}.yaml"
    ran = run_cli("run", job, "--json", "--set", f"output.uri={output}", *options, cwd=ROOT)
    assert ran.code == 0, ran.err
    return ran


def _masks(output: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows(output, "masks"):
        found.setdefault(row["input_id"], []).append(row)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_each_one_passes_the_checks(name: str) -> None:
    ran = run_cli("plan", f"configs/{name}", "--json", cwd=ROOT)

    assert ran.code == 0, ran.err


def test_quickstart_finds_the_coins(tmp_path: pathlib.Path) -> None:
    ran = _run("quickstart", tmp_path, "--set", "source.files=configs/photos/co*.jpg")

    assert ran.json["predictions"] == 3  # coffee, coins, colosseum
    (coins,) = (masks for key, masks in _masks(tmp_path).items() if key.endswith("coins.jpg"))
    round_ones = [mask for mask in coins if mask["area"] < 0.05 * 384 * 303]
    assert len(round_ones) >= 23
    for mask in round_ones:
        _, _, width, height = mask["bbox"]
        assert int(coco.decode(mask["segmentation"]).sum()) == mask["area"]
        assert 0.6 < mask["area"] / (width * height) < 0.95


def test_chats_give_structured_answers(tmp_path: pathlib.Path) -> None:
    _run("openai-chat", tmp_path)
    found = {row["input_id"]: json.loads(row["json"]) for row in rows(tmp_path, "predictions")}

    assert (found["m-1"]["language"], found["m-2"]["language"]) == ("English", "German")


def test_prompts_point_at_one_object_each(tmp_path: pathlib.Path) -> None:
    _run("segment_prompts", tmp_path)
    masks = _masks(tmp_path)

    assert set(masks) == {"otter", "cup and saucer", "cup", "cat", "pagoda", "cameraman", "wren"}
    assert [len(found) for found in masks.values()] == [1] * 7
    assert coco.decode(masks["cup"][0]["segmentation"])[160, 300] == 1
    assert coco.decode(masks["otter"][0]["segmentation"])[200, 400] == 1
    assert masks["cup"][0]["mask"]["bytes"].startswith(b"\x89PNG")


def test_texts_are_classified_into_partitions(tmp_path: pathlib.Path) -> None:
    _run("classify_texts", tmp_path)
    best = {row["input_id"]: row["concepts"][0]["id"] for row in rows(tmp_path, "predictions")}

    assert best == {
        **{"m-1": "en", "m-2": "de", "m-3": "fr", "m-4": "es", "c-1": "it", "c-2": "nl"},
        **{"c-3": "pl", "c-4": "sv", "r-1": "pt", "r-2": "ru", "r-3": "ja", "r-4": "en"},
    }
    assert {path.name for path in (tmp_path / "predictions").iterdir()} == {
        "channel=chat",
        "channel=mail",
        "channel=review",
    }


def test_texts_are_summarized_by_a_stream(tmp_path: pathlib.Path) -> None:
    _run("summarize_texts", tmp_path, "--limit", "1")
    found = rows(tmp_path, "predictions")

    assert all(row["text"] for row in found)
    assert len(found) == 3  # the joined text and its two pieces


def test_a_callable_finds_what_is_bright(tmp_path: pathlib.Path) -> None:
    _run("python-callable", tmp_path, "--set", "source.files=configs/photos/{saturn,wren}.jpg")
    found = {row["input_id"].rpartition("/")[2]: row for row in rows(tmp_path, "predictions")}
    masks = {key.rpartition("/")[2]: mask for key, (mask,) in _masks(tmp_path).items()}

    assert {name: row["label"] for name, row in found.items()} == {"saturn.jpg": "dark", "wren.jpg": "bright"}
    for name, mask in masks.items():
        row = found[name]
        assert mask["area"] / (row["width"] * row["height"]) == pytest.approx(mask["score"])
        grey = np.asarray(Image.open(ROOT / "configs" / "photos" / name).convert("RGB")).mean(axis=2)
        bright = coco.decode(mask["segmentation"]) == 1
        assert grey[bright].min() > grey[~bright].max()


def test_an_object_is_tracked_through_a_video(tmp_path: pathlib.Path) -> None:
    _run("track_video", tmp_path)
    frames = rows(tmp_path, "predictions")
    masks = rows(tmp_path, "masks")

    assert [frame["frame_index"] for frame in frames] == list(range(24))
    assert {mask["track_id"] for mask in masks} == {"dahlia"}
    assert len(masks) == 24
    # The flower crosses the picture from left to right.
    lefts = [mask["bbox"][0] for mask in masks]
    assert lefts == sorted(lefts)
