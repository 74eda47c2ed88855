"""The content of the sample is read as the job reads it, and where it cannot be, the page says why."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.pipelines.report.pictures.content import Seen, contents
from bulkinfer.transforms.job.config import SourceConfig
from support.http_server import http_server
from support.jobs import photo
from support.outputs import prediction
from support.s3_server import s3_server
from support.videos import moving_object


def seen(rows: list[dict[str, Any]], folder: Path | str = "", **source: Any) -> dict[str, Seen]:
    config = SourceConfig.model_validate(source) if source else None
    return {name: found for (name, _), found in contents(rows, config, str(folder), {}).items()}


def test_a_relative_reference_is_relative_to_where_the_job_was_started(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    found = seen([prediction("a.jpg", width=96, height=72)], tmp_path, files="*.jpg")

    assert found["a.jpg"].picture is not None
    assert found["a.jpg"].picture.size == (96, 72)


def test_without_a_record_of_the_source_what_has_a_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())

    assert seen([prediction(str(tmp_path / "a.jpg"))])[str(tmp_path / "a.jpg")].picture


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    found = seen([prediction("gone.jpg")], tmp_path, files="*.jpg")["gone.jpg"]

    assert found.picture is None
    assert "gone.jpg is not there" in found.missing


def test_bytes_that_are_no_picture_cost_one_card(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (tmp_path / "good.jpg").write_bytes(photo())
    found = seen([prediction("bad.jpg"), prediction("good.jpg")], tmp_path, files="*.jpg")

    assert "cannot be decoded" in found["bad.jpg"].missing
    assert found["good.jpg"].picture


def test_what_a_manifest_holds_itself_is_found_in_it(tmp_path: Path) -> None:
    lines = [{"key": "t1", "body": "The first text."}, {"key": "t2", "body": "The second text."}]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = {
        "manifest": "texts.jsonl",
        "media": "text",
        "columns": {"content": "body", "id": "key", "keep": ["key"]},
    }
    rows = [prediction(name, uri=None, media_type="text") for name in ("t2", "t9")]
    found = seen(rows, tmp_path, **source)

    assert found["t2"].text == "The second text."
    assert "it does not name it" in found["t9"].missing


def test_a_reference_with_a_secret_is_read_from_the_manifest_and_shown_without_it(tmp_path: Path) -> None:
    with http_server() as web:
        web.files["a.jpg"] = photo()
        signed = web.link("a.jpg?X-Amz-Signature=hunter2")
        content = base64.b64encode(photo(1)).decode()
        (tmp_path / "refs.csv").write_text(
            f'id,url\nsigned,{signed}\nheld,"data:image/jpeg;base64,{content}"\n'
        )
        rows = [
            prediction("signed", uri=web.link("a.jpg?X-Amz-Signature=***")),
            prediction("held", uri="data:image/jpeg,blake2b:00"),
        ]
        source = {"manifest": "refs.csv", "columns": {"uri": "url", "id": "id"}}
        found = seen(rows, tmp_path, **source)
        (tmp_path / "refs.csv").unlink()
        lost = seen(rows, tmp_path, **source)

    assert found["signed"].picture
    assert found["held"].picture
    assert "it cannot be read" in lost["signed"].missing
    assert "hunter2" not in str(found) + str(lost)


def test_a_reference_that_the_job_may_not_read_is_not_read_here_either(tmp_path: Path) -> None:
    with http_server() as web:
        web.files["refs.csv"] = b"u\n"
        web.files["a.txt"] = b"secret"
        source = {"manifest": "https://example.org/refs.csv", "columns": {"uri": "u"}}
        found = seen([prediction(web.link("a.txt"), media_type="text")], tmp_path, **source)

        assert found[web.link("a.txt")].missing
        assert not web.requests["a.txt"]


def test_after_some_that_cannot_be_read_no_more_are_tried() -> None:
    with http_server() as web:
        names = [web.link(f"{number}.jpg") for number in range(40)]
        found = seen([prediction(name) for name in names])

        assert len(web.requests) < 40
        assert all(one.missing for one in found.values())
        assert any("not tried" in one.missing for one in found.values())


def test_frames_of_a_video_are_decoded_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(moving_object().data)
    rows = [
        prediction("a.mp4", media_type="video", output_index=index, frame_time_ms=time)
        for index, time in ((0, 500), (1, 0), (2, 99_000))
    ]
    found = contents(rows, SourceConfig(files=("*.mp4",)), str(tmp_path), {})

    assert found["a.mp4", 0].picture and found["a.mp4", 1].picture
    assert found["a.mp4", 0].picture.uri != found["a.mp4", 1].picture.uri
    assert "ends before this frame" in found["a.mp4", 2].missing


def test_a_masks_size_tells_the_frame_where_the_row_does_not(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    found = contents(
        [prediction("a.jpg")], SourceConfig(files=("*",)), str(tmp_path), {("a.jpg", 0): (48, 36)}
    )

    assert found["a.jpg", 0].picture
    assert found["a.jpg", 0].picture.size == (48, 36)


def test_long_texts_are_cut_and_broken_ones_shown(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ä" * 10_000)
    (tmp_path / "b.txt").write_bytes(b"ok \xff\xfe")
    found = seen(
        [prediction(name, media_type="text") for name in ("a.txt", "b.txt")], tmp_path, files="*.txt"
    )

    assert found["a.txt"].text == "ä" * 1500
    assert found["b.txt"].text.startswith("ok ")


def test_objects_of_a_store_are_read_by_the_options_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_KEY", "testing")
    with s3_server("bucket") as server:
        server.filesystem().pipe_file("bucket/a.jpg", photo())
        storage = server.storage | {"key": {"env": "S3_KEY"}}
        found = seen([prediction("s3://bucket/a.jpg")], files="s3://bucket/*.jpg", storage=storage)

    assert found["s3://bucket/a.jpg"].picture
