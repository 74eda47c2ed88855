"""Faults of the store that holds the tables: nothing durable is lost, and each message says what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from bulkinfer.pipelines.jobs import bulk_inference
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.job.job_file import load_job
from support.bad_days import Job, until
from support.fault_server import running
from support.jobs import rows
from support.s3_server import s3_server


@pytest.fixture(scope="module")
def server():
    with running() as one:
        yield one


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, most of it taken by the file `ballast`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        (disk / "ballast").write_bytes(b"\0" * 1_700_000)
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_full_disk_ends_the_job_and_with_space_the_same_command_pays_for_nothing_durable(
    server, tmp_path, small_disk
):
    job = Job(tmp_path, server, count=1200, base_ms=10, part_seconds=0.1, output={"uri": "disk/out"})

    full = job.run()
    durable = durable_inputs(small_disk / "out")
    sent = sum(job.sent().values())
    (small_disk / "ballast").unlink()
    done = job.run()

    assert full.code == 1, full.err
    assert "the disk is full" in full.err
    assert "Traceback" not in full.err
    assert 0 < durable <= sent < job.count
    assert done.code == 3, done.err
    assert done.json["skipped"] >= durable
    assert sum(job.sent().values()) == sent + job.count - done.json["skipped"]
    job.check("disk/out")


def durable_inputs(output):
    found = 0
    for path in output.glob("_runs/*/parts/*.json"):
        part = json.loads(path.read_text())
        found += part["predictions"] + part["errors"]
    return found


def killed(job):
    """Kill the job when some parts are durable; returns the manifest of one with predictions."""
    with job.start() as started:
        until(lambda: job.durable() >= 60)
        started.kill_all()
    manifests = [json.loads(path.read_text()) for path in job.folder.glob("out/_runs/*/parts/*.json")]
    return next(manifest for manifest in manifests if "predictions" in manifest["files"])


def test_a_last_look_at_the_tables_that_fails_is_a_job_that_failed(server, tmp_path, monkeypatch):
    """It exits with 1 and not 2: a scheduler retries the one, and calls a person for the other."""
    job = Job(tmp_path, server, count=8)
    monkeypatch.chdir(tmp_path)

    def away(*_):
        raise StoreError("the store is away")

    monkeypatch.setattr(bulk_inference, "commit_run", away)
    with pytest.raises(StoreError) as caught:
        bulk_inference.run_job(load_job(job.path), bulk_inference.RunOptions())

    assert len(job.sent()) == 8
    assert caught.value.inputs_sent


@pytest.mark.parametrize("fault", ["truncated", "missing", "no parquet"])
def test_a_broken_staged_file_costs_its_own_part_and_is_reported(server, tmp_path, fault):
    job = Job(tmp_path, server)
    broken = killed(job)
    durable = job.durable()
    staged = tmp_path / "out" / broken["files"]["predictions"]["path"]
    content = staged.read_bytes()
    if fault == "truncated":
        staged.write_bytes(content[: len(content) // 2])
    elif fault == "missing":
        staged.unlink()
    else:
        staged.write_bytes(b"\0" * len(content))

    ran = job.run()

    assert ran.code == 3, ran.err
    assert broken["part_id"] in ran.err
    assert ran.json["skipped"] == durable - broken["predictions"] - broken["errors"]
    job.check()


def test_a_record_of_a_newer_version_stops_before_any_call_and_changes_nothing(server, tmp_path):
    job = Job(tmp_path, server, count=20, base_ms=1)
    assert job.run().code == 3
    change_record(tmp_path, format=99)
    before = rows(tmp_path / "out", "predictions")
    job.serve()

    ran = job.run("--force")

    assert ran.code == 2
    assert "newer version of bulkinfer (format 99" in ran.err
    assert rows(tmp_path / "out", "predictions") == before
    assert not job.sent()


def test_a_record_of_an_older_version_is_read_and_its_inputs_are_skipped(server, tmp_path):
    job = Job(tmp_path, server, count=20, base_ms=1)
    assert job.run().code == 3
    # Keys that an older version did not write have defaults; one that this version dropped is ignored.
    change_record(tmp_path, drop=("versions", "lists_all", "invalid_parts"), forgotten="x")
    job.serve()

    ran = job.run()

    assert (ran.code, ran.json["skipped"]) == (3, 20), ran.err
    assert not job.sent()


def test_a_broken_record_is_named_and_nothing_is_sent(server, tmp_path):
    job = Job(tmp_path, server, count=20, base_ms=1)
    assert job.run().code == 3
    (record,) = tmp_path.glob("out/_runs/*/run.json")
    record.write_text('{"format": 1, "run')
    job.serve()

    ran = job.run()

    assert ran.code == 2
    assert str(record) in ran.err.replace("file://", "")
    assert not job.sent()


def change_record(folder, *, drop=(), **changes):
    (record,) = folder.glob("out/_runs/*/run.json")
    values = {**json.loads(record.read_text()), **changes}
    record.write_text(json.dumps({key: value for key, value in values.items() if key not in drop}))


def test_tables_of_somebody_else_are_refused_and_left_alone(server, tmp_path):
    job = Job(tmp_path, server, count=20, base_ms=1)
    foreign = tmp_path / "out" / "predictions" / "theirs.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"PAR1 of another tool")

    ran = job.run()

    assert ran.code == 2
    assert "theirs.parquet" in ran.err
    assert foreign.read_bytes() == b"PAR1 of another tool"
    assert not job.sent()


def test_a_second_run_is_refused_while_one_is_alive_and_both_lose_nothing(server, tmp_path):
    job = Job(tmp_path, server, count=4000)
    with job.start() as started:
        job.wait_for_sent(20)
        (claim,) = (tmp_path / "out" / "_runs" / "locks").iterdir()
        second = job.run()
        started.process.terminate()
        first = started.end()
    sent = job.sent()
    kept = [row["input_id"] for table in ("predictions", "errors") for row in rows(tmp_path / "out", table)]

    assert second.code == 2
    assert claim.stem in second.err
    assert f"process {started.process.pid}" in second.err
    assert first.code == 4, first.err
    assert set(sent.values()) == {1}
    assert len(set(kept)) == len(kept) == len(sent)


def test_an_object_store_that_fails_now_and_then_and_kills_lose_nothing(server, tmp_path):
    with s3_server("lake", failing=0.02) as s3:
        job = Job(tmp_path, server, output={"uri": "s3://lake/out", "storage": s3.storage})
        for moment in (80, 160):
            with job.start() as started:
                job.wait_for_sent(moment)
                started.kill_all()
        ran = job.run()
        s3.failing = 0.0
        s3.filesystem().get("lake/out", str(tmp_path / "copy"), recursive=True)

    assert ran.code == 3, ran.err
    job.check("copy")
    assert sum(job.sent().values()) - job.count <= 2 * job.bound()


@pytest.mark.slow  # 28 s, as each request that hangs waits for its timeout
def test_an_object_store_that_times_out_now_and_then_costs_time_and_nothing_else(server, tmp_path):
    with s3_server("lake") as s3:
        storage = {**s3.storage, "config_kwargs": {"read_timeout": 0.7, "retries": {"max_attempts": 1}}}
        job = Job(tmp_path, server, count=120, output={"uri": "s3://lake/out", "storage": storage})
        s3.hanging = 0.08
        ran = job.run()
        s3.hanging = 0.0
        s3.filesystem().get("lake/out", str(tmp_path / "copy"), recursive=True)
        hung = s3.hung

    assert ran.code == 3, ran.err
    assert hung >= 2
    assert set(job.sent().values()) == {1}
    job.check("copy")
