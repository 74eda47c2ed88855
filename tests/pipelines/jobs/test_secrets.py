"""What a run leaves behind holds none of the secrets that were planted in its job, environment and references."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import apache_beam as beam
import pytest
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.job.job_file import check_sections
from bulkinfer.transforms.sources.read_references import ReadReferences
from bulkinfer.transforms.sources.source import inspect_source
from support.http_server import http_server
from support.jobs import rows, run_cli, write_job

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"


def test_no_table_record_log_stream_or_temporary_file_holds_a_planted_secret(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with http_server() as web:
        web.files["a.txt"] = web.files["refs.jsonl"] = b"hello"
        web.faults["down.txt"] = [403] * 9
        signed = web.url.replace("http://", "http://me:hunter2@") + "/{}.txt?X-Amz-Signature=hunter3&w=1"
        uris = [signed.format(name) for name in ("a", "gone", "down")]
        web.files["refs.jsonl"] = "".join(json.dumps({"u": uri}) + "\n" for uri in uris).encode()
        write_job(
            tmp_path,
            source={
                "manifest": web.link("refs.jsonl?sig=hunter4"),
                "columns": {"uri": "u", "keep": ["u"]},
                "storage": {"http": {"client_kwargs": {"headers": {"X-Key": "${W_KEY}"}}}},
            },
            model={"url": MODEL, "endpoint": "embedded", "method": "classify"},
        )
        env = {"W_KEY": "hunter5", "CLARIFAI_PAT": "hunter6", "TMPDIR": str(temporary)}
        ran = run_cli("run", "job.yaml", "-vv", cwd=tmp_path, env=env)

    assert ran.code == 3, ran.err
    out = tmp_path / "out"
    read = [row for table in ("predictions", "errors") for row in rows(out, table)]
    assert sorted(row["input_id"].rpartition("/")[2] for row in read) == [
        "a.txt?w=1",
        "down.txt?w=1",
        "gone.txt?w=1",
    ]
    left = [path for folder in (out, temporary) for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "run.json" for path in left)
    for place, text in (
        ("tables", str(read)),
        ("stdout", ran.out),
        ("log", ran.err),
        *((str(path), path.read_bytes().decode("latin-1")) for path in left),
    ):
        assert "hunter" not in text, f"{place}: {text[max(0, text.find('hunter') - 200) :][:300]}"


def test_a_pipelines_serialized_form_holds_no_secret_that_workers_read_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("W_KEY", "hunter2")
    caplog.set_level(logging.DEBUG)
    (tmp_path / "a.txt").write_text("hello")
    storage = {"s3": {"key": {"env": "W_KEY"}}}
    config = check_sections(
        {
            "source": {"files": str(tmp_path / "*.txt"), "storage": storage},
            "model": {"url": MODEL, "method": "classify"},
            "output": {"uri": str(tmp_path / "out"), "storage": {}},
        }
    )
    pipeline = beam.Pipeline()
    read = pipeline | ReadReferences(inspect_source(config.source))
    _ = read.references | LoadContent(storage=config.source.storage)
    form = pipeline.to_runner_api().SerializeToString()

    assert b"hunter2" not in form + pickle.dumps(config)
    assert "hunter2" not in caplog.text
