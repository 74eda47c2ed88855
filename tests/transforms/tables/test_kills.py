"""A job whose process is killed by SIGKILL before any of its writes, and restarted until it ends, stays exact."""

from __future__ import annotations

import itertools
import multiprocessing
import random
from collections import Counter
from pathlib import Path

import pytest
from bulkinfer.transforms.storage.store import Store
from support import killed_job
from support.s3_server import s3_server
from support.tables import rows_seen

INPUTS, PART = 24, 5

# Each start is a process of its own, forked from one that has imported everything.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["support.killed_job", "apache_beam.metrics"])


class Job:
    """A job whose starts can be killed before a chosen write."""

    def __init__(self, uri, folder, storage=None, partition_by=()):
        self.settings = {
            "uri": uri,
            "storage": storage or {},
            "partition_by": partition_by,
            "inputs": INPUTS,
            "part": PART,
            "paid": str(folder / "paid"),
            "lived": str(folder / "lived"),
            "version": "v1",
        }
        self.numbers = itertools.count()

    def start(self, deadly=-1, **changes):
        """Start the job, to be killed before its n-th write; returns its number of writes, None when it was killed."""
        settings = {**self.settings, **changes, "deadly": deadly}
        settings["run_id"] = f"20260131T12{next(self.numbers):04d}Z-abcdef"
        lived = Path(settings["lived"])
        lived.unlink(missing_ok=True)
        process = PROCESSES.Process(target=killed_job.main, args=(settings,))
        process.start()
        process.join(60)
        assert process.exitcode == (0 if lived.exists() else -9)
        return int(lived.read_text()) if lived.exists() else None

    def tables(self):
        """Read all visible rows, without the columns that depend on the run."""
        store = Store(self.settings["uri"], self.settings["storage"])
        found = {}
        for table in ("predictions", "masks", "errors"):
            rows = rows_seen(store, table)
            for row in rows:
                for name in ("run_id", "failed_at", "file"):
                    row.pop(name, None)
            found[table] = rows
        return found

    def paid(self):
        return Counter(Path(self.settings["paid"]).read_text().splitlines())


@pytest.fixture(params=[pytest.param((), marks=pytest.mark.slow), ("city",)], ids=["whole", "partitioned"])
def partition_by(request):
    return request.param


def undisturbed(tmp_path, partition_by):
    (tmp_path / "calm").mkdir()
    job = Job(str(tmp_path / "calm" / "out"), tmp_path / "calm", partition_by=partition_by)
    return job.tables, job.start()


def test_killed_before_any_write_of_its_protocol_a_job_ends_as_if_undisturbed(tmp_path, partition_by):
    calm, changes = undisturbed(tmp_path, partition_by)
    for deadly in range(1, changes, 6 if partition_by else 4):
        folder = tmp_path / str(deadly)
        folder.mkdir()
        job = Job(str(folder / "out"), folder, partition_by=partition_by)
        assert job.start(deadly) is None
        assert job.start() is not None
        assert job.tables() == calm(), f"killed before write {deadly}"
        assert sum(count - 1 for count in job.paid().values()) <= PART


def test_killed_again_and_again_a_job_ends_as_if_undisturbed(tmp_path, partition_by):
    calm, changes = undisturbed(tmp_path, partition_by)
    job = Job(str(tmp_path / "out"), tmp_path, partition_by=partition_by)
    job.start(version="v0", fingerprint="zero")  # all of whose rows have to be replaced
    chance, killed = random.Random(1), 0
    while job.start(chance.randrange(6, changes)) is None:
        killed += 1
        assert killed < 100

    assert killed >= 3
    assert job.tables() == calm()
    assert sum(count - 1 for count in job.paid().values()) <= PART * killed


@pytest.mark.slow
def test_on_an_object_store_that_fails_now_and_then_a_killed_job_ends_as_if_undisturbed(tmp_path):
    calm, changes = undisturbed(tmp_path, ())
    chance = random.Random(4)
    with s3_server("lake", failing=0.02, seed=3) as server:
        job = Job("s3://lake/out", tmp_path, server.storage)
        killed = sum(job.start(chance.randrange(changes)) is None for _ in range(4))
        assert job.start() is not None
        assert killed >= 1
        assert job.tables() == calm()
    assert sum(count - 1 for count in job.paid().values()) <= PART * killed


def test_a_finished_job_does_nothing_when_it_is_started_again(tmp_path):
    job = Job(str(tmp_path / "out"), tmp_path)
    job.start()
    job.start()
    assert set(job.paid().values()) == {1}
