"""Work in passes: a worker that is done ends a pass, and what was not begun is handed back and lost to nobody."""

from __future__ import annotations

import gzip
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.runs.chunks import evenly
from bulkinfer.transforms.runs.control import ControlSpec
from bulkinfer.transforms.runs.rebalance import WorkPass, WorkPassSpec
from hypothesis import given
from hypothesis import strategies as st
from support.bad_days import Job, until
from support.fault_server import FaultServer, running

FAST = {"poll_s": 0.02, "grace_s": 0.1}


@pytest.fixture
def spec(tmp_path: Path) -> WorkPassSpec:
    return WorkPassSpec(ControlSpec(str(tmp_path / "out"), {}, "run-1"), 1)


def over_within(one: WorkPass, seconds: float = 5.0) -> bool:
    """Whether the pass ends in that time."""
    deadline = time.monotonic() + seconds
    while not one.over and time.monotonic() < deadline:
        time.sleep(0.01)
    return one.over


def test_the_first_that_is_done_ends_the_pass_for_all(spec: WorkPassSpec) -> None:
    fast, slow = WorkPass(spec, **FAST), WorkPass(spec, **FAST)
    fast.begin()
    slow.begin()
    assert not over_within(slow, 0.3)

    fast.end()

    assert over_within(slow)


def test_others_go_on_for_a_while(spec: WorkPassSpec) -> None:
    """What they do by then is not worth a pass."""
    fast, slow = WorkPass(spec, **FAST), WorkPass(spec, poll_s=0.02, grace_s=0.6)
    slow.begin()
    fast.begin()
    fast.end()

    assert not over_within(slow, 0.3)
    assert over_within(slow)


def test_a_process_with_a_further_bundle_is_not_done(spec: WorkPassSpec) -> None:
    busy, other = WorkPass(spec, **FAST), WorkPass(spec, **FAST)
    other.begin()
    busy.begin()
    busy.begin()
    busy.end()

    assert not over_within(other, 0.5)


def test_a_bundle_that_failed_ends_nothing(spec: WorkPassSpec) -> None:
    failed, other = WorkPass(spec, **FAST), WorkPass(spec, **FAST)
    other.begin()
    failed.begin()
    failed.end(done=False)

    assert not over_within(other, 0.5)


def test_each_pass_ends_by_itself(spec: WorkPassSpec) -> None:
    first = WorkPass(spec, **FAST)
    first.begin()
    first.end()
    waiting = WorkPass(spec, **FAST)
    waiting.begin()
    assert over_within(waiting)

    second = WorkPass(WorkPassSpec(spec.run, 2), **FAST)
    second.begin()
    assert not over_within(second, 0.3)


def test_a_worker_that_comes_late_hears_of_it_too(spec: WorkPassSpec) -> None:
    fast = WorkPass(spec, **FAST)
    fast.begin()
    fast.end()
    late = WorkPass(spec, **FAST)
    late.begin()
    assert over_within(late)


def test_no_watcher_outlives_its_bundles(spec: WorkPassSpec) -> None:
    alone = WorkPass(WorkPassSpec(spec.run, 77), **FAST)
    alone.begin()
    assert any(thread.name == "bulkinfer-pass-77" for thread in threading.enumerate())
    alone.end(done=False)
    until(lambda: not any(thread.name == "bulkinfer-pass-77" for thread in threading.enumerate()))


def test_a_bundle_that_follows_at_once_is_seen_by_the_others(spec: WorkPassSpec) -> None:
    """Each has a claim of its own, although the first one's watcher has not ended yet."""
    one = WorkPass(spec, **FAST)
    for _ in range(3):
        one.begin()
        one.end(done=False)
    one.begin()
    until(lambda: len(one.store.files(spec.folder)) == 4)


def test_the_last_pass_is_played_to_its_end(spec: WorkPassSpec) -> None:
    last = WorkPassSpec(spec.run, 3, last=True)
    fast, slow = WorkPass(last, **FAST), WorkPass(last, **FAST)
    slow.begin()
    fast.begin()
    fast.end()

    assert not over_within(slow, 0.5)


@given(st.integers(1, 300), st.integers(1, 20))
def test_what_is_handed_back_is_cut_evenly(count: int, parts: int) -> None:
    references = [Reference(str(number), None, "text") for number in range(count)]
    cut = evenly(references, parts)

    assert list(itertools.chain.from_iterable(cut)) == references
    assert len(cut) == min(parts, count)
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running() as one:
        yield one


def test_a_slow_worker_does_less_and_every_input_is_done_once(server: FaultServer, tmp_path: Path) -> None:
    """One of two workers gets its answers ten times later; without passes it would do half of all inputs."""
    job = Job(tmp_path, server, count=480, batch=1, in_flight=4)
    job.serve(base_ms=40, first_peer_times=10, places=64)

    ran = job.run("--set", "runner.workers=2")

    assert ran.code == 3, ran.err
    job.check()
    assert set(job.sent().values()) == {1}
    slow, fast = server.stats()["peers"].values()
    assert slow + fast == 480
    assert slow < 0.75 * 240


def test_a_compressed_manifest_stays_with_the_worker_that_reads_it(
    server: FaultServer, tmp_path: Path
) -> None:
    """Although the other one, which has nothing to do, ends the pass at once: its content would cross memory."""
    job = Job(tmp_path, server, count=480, batch=4, in_flight=4, base_ms=50)
    manifest = tmp_path / "refs.jsonl"
    (tmp_path / "refs.jsonl.gz").write_bytes(gzip.compress(manifest.read_bytes()))
    columns = {"content": "body", "id": "id"}
    job.write(source={"manifest": "refs.jsonl.gz", "media": "text", "columns": columns})

    ran = job.run("--set", "runner.workers=2")

    assert ran.code == 3, ran.err
    job.check()
    assert len(server.stats()["peers"]) == 1
