"""What makes two jobs ask the same of a model, so that what one did is done for the other."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bulkinfer.transforms.job.config import JobConfig
from bulkinfer.transforms.preparation import fingerprint, prepare_job
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.tables.commit.commit import commit_run
from support.bad_days import MODEL_URL
from support.fault_server import running
from support.s3_server import s3_server
from support.tables import make_spec, prediction, stage


def asked(**image: Any) -> str:
    config = JobConfig.model_validate(
        {
            "source": {"files": "a.jpg", "image": image},
            "model": {"endpoint": "embedded"},
            "output": {"uri": "out"},
        }
    )
    call = SimpleNamespace(endpoint=SimpleNamespace(identity="https://m", version="v1"))
    return fingerprint(config, cast("Any", call))


def test_a_job_that_sends_other_pictures_is_another_job() -> None:
    assert asked(orientation="apply") != asked()


def test_outputs_of_jobs_that_named_no_orientation_stay_done() -> None:
    assert (
        asked() == asked(orientation="keep") == asked(max_pixels=None) == "bfd140c27e60911950d42edfa3502c25"
    )


def test_a_job_names_its_inputs_as_its_output_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a text")
    old = make_spec(str(tmp_path / "old"), keep_schema=None)
    begin_run(old.store(), old, {"source": {"files": "./*.txt"}})
    stage(old, [[prediction("./a.txt")]])
    commit_run(old.store(), old.run_id)
    path = tmp_path / "old/_runs" / old.run_id / "run.json"
    record = json.loads(path.read_text())
    del record["layout"]["ids"]  # it was written before there were several kinds
    path.write_text(json.dumps(record))
    with running() as server:
        model = {"url": MODEL_URL, "endpoint": server.endpoint, "method": "predict"}
        named = {
            output: prepare_job(
                {"source": {"files": "./*.txt"}, "model": model, "output": {"uri": str(tmp_path / output)}}
            )
            for output in ("new", "old")
        }
    assert named["new"].source.patterns[0].text == f"{tmp_path}/*.txt"
    assert named["new"].output.layout()["ids"] == "canonical"
    assert named["old"].source.patterns[0].text == "./*.txt"
    assert (named["old"].output.layout()["ids"], named["old"].output.relative_to) == (
        "written",
        str(tmp_path),
    )


def test_the_source_knows_how_long_the_names_of_partitions_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.jsonl").write_text(json.dumps({"u": "a.txt", "t": "Bern"}) + "\n")
    with running() as server, s3_server("lake") as store:
        job = prepare_job(
            {
                "source": {
                    "manifest": "m.jsonl",
                    "columns": {"uri": "u", "keep": {"town": "t"}},
                    "media": "text",
                },
                "model": {"url": MODEL_URL, "endpoint": server.endpoint, "method": "predict"},
                "output": {
                    "uri": f"s3://lake/{'a' * 700}",
                    "storage": store.storage,
                    "partition_by": ["town", "date", "model"],
                },
            }
        )
    rest = f"{'a' * 700}/predictions//date=2026-01-31/model={MODEL_URL.rpartition('/')[2]}/part-{job.output.run_id}-"
    assert job.source.folders == ("town",)
    assert job.source.folder_bytes == 1024 - len(f"{rest}1000000000.parquet")
