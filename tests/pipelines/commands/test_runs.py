"""`bulkinfer runs`: every run at an output with what it did."""

from __future__ import annotations

import pytest
from support.bad_days import MODEL_URL, Job
from support.fault_server import running
from support.jobs import rows, run_cli


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two runs: 20 texts of which one is refused, then three further ones."""
    with running() as server:
        stop = {"error_ratio": 1, "prices": {"call": 0.5}}
        job = Job(tmp_path_factory.mktemp("runs"), server, count=20, base_ms=1, sections={"stop": stop})
        assert job.run().code == 3
        job.count = 23
        job.write_manifest()
        assert job.run().code == 3
        yield job


def test_every_run_stands_in_json_with_its_figures(job):
    told = run_cli("runs", "out", "--json", cwd=job.folder).json

    first, second = told["runs"]
    assert told["output"].endswith("/out")
    assert (first["inputs"], first["predictions"], first["errors"], first["calls"]) == (20, 19, 1, 5)
    assert (first["new"], first["skipped"], first["gone"], first["remaining"]) == (20, 0, 0, 0)
    assert (second["inputs"], second["new"], second["skipped"], second["calls"]) == (3, 3, 20, 1)
    assert (first["cost"], second["cost"]) == (2.5, 0.5)
    for run in told["runs"]:
        assert (run["job"], run["model"], run["method"]) == ("bulk-inference", MODEL_URL, "predict")
        assert (run["state"], len(run["arguments"])) == ("committed", 32)
        assert 0 <= run["seconds"] < 60
        assert {"model_version", "tokens", "retries", "started_at", "finished_at"} <= run.keys()


def test_a_person_sees_a_line_a_run(job):
    ran = run_cli("runs", job.path, cwd=job.folder)

    head, first, second = ran.out.splitlines()
    assert head.split() == [
        *(
            "run",
            "started",
            "job",
            "model",
            "version",
            "inputs",
            "errors",
            "calls",
            "tokens",
            "seconds",
            "state",
        )
    ]
    assert "bulk-inference" in first
    assert second.split()[-6:-4] == ["3", "0"]


def test_a_place_without_runs_is_told(job):
    ran = run_cli("runs", "nowhere", cwd=job.folder)

    assert ran.code == 2
    assert "holds no finished run" in ran.err


def test_compact_leaves_the_rows_and_the_history_and_later_runs_go_on(job):
    before = rows(job.folder / "out", "predictions")

    done = run_cli("compact", "out", "--json", cwd=job.folder).json
    job.count = 24
    job.write_manifest()
    ran = job.run()

    assert (done["files_before"], done["files_after"], done["runs_folded"]) == (4, 4, 1)
    assert [run["inputs"] for run in run_cli("runs", "out", "--json", cwd=job.folder).json["runs"]] == [
        20,
        3,
        1,
    ]
    assert (ran.json["new"], ran.json["skipped"]) == (1, 23), ran.err
    after = [row for row in rows(job.folder / "out", "predictions") if row["run_id"] != ran.json["run_id"]]
    assert after == before
    text = run_cli("compact", job.path, "--target", "1MB", cwd=job.folder).out
    assert "out: 5 table files before, 4 now; 2 runs folded into one history" in text
    assert run_cli("compact", "out", "--target", "much", cwd=job.folder).code == 2
