"""Rows are durable within two seconds, whatever `part_seconds` says; what a kill leaves of them is committed."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest
from bulkinfer.transforms.errors import StoppedError, StoreError
from bulkinfer.transforms.metrics import process_metrics
from bulkinfer.transforms.runs.parts import SEGMENT
from bulkinfer.transforms.runs.record import begin_run, read_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedIndex, CompletedSpec
from bulkinfer.transforms.tables.staging import part_writer
from bulkinfer.transforms.tables.staging.part_writer import PartWriter
from bulkinfer.transforms.tables.staging.segment import SegmentError, read_segment
from support.tables import CrashingStore, Killed, failure, make_spec, prediction, rows_seen

HOUR = 3600.0


@contextlib.contextmanager
def writing(spec, store=None):
    """Yield a writer that is never closed well: what it holds in memory is lost, as with `kill -9`."""
    begin_run(spec.store(), spec)
    writer = PartWriter(spec, store)
    try:
        yield writer
    finally:
        with writer._changed:
            writer._fault = Killed()
            writer._closed = True
            writer._changed.notify_all()
        for thread in writer._threads:
            thread.join()


def segments(spec):
    found = spec.store().files(f"_runs/{spec.run_id}/staging")
    return [entry.path for entry in found if entry.path.endswith(SEGMENT)]


def until(held, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not held():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def left_behind(spec, *groups):
    """Write each group of rows as a segment, and lose the process."""
    for number, rows in enumerate(groups, 1):
        with writing(spec) as writer:
            for row in rows:
                writer.add(row)
            until(lambda number=number: len(segments(spec)) == number)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(part_writer, "SEAL_S", 0.05)


def test_rows_are_durable_within_two_seconds_although_none_follow(tmp_path):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    with writing(spec) as writer:
        started = time.monotonic()
        writer.add(prediction("a"))
        writer.add(failure("b"))
        until(lambda: segments(spec))
        assert time.monotonic() - started < 2.0

    (result,) = recover(spec.store())

    assert (result.predictions, result.errors) == (1, 1)
    assert not segments(spec)


@pytest.mark.parametrize("partition_by", [(), ("city",), ("date", "city")], ids=str)
def test_what_a_kill_left_is_committed_as_if_nothing_had_happened(tmp_path, soon, partition_by):
    rows = [prediction(f"{n}", city=["Bern", "Basel", None][n % 3], masks=n % 3) for n in range(9)]
    rows[4] = failure("4")
    spec = make_spec(str(tmp_path / "killed"), part_seconds=HOUR, partition_by=partition_by)
    calm = make_spec(str(tmp_path / "calm"), partition_by=partition_by)

    left_behind(spec, rows[:4], rows[4:5], rows[5:])
    begin_run(calm.store(), calm)
    with contextlib.closing(PartWriter(calm)) as writer:
        for row in rows:
            writer.add(row)

    (result,), (expected,) = recover(spec.store()), recover(calm.store())

    assert (result.predictions, result.errors, result.masks) == (8, 1, expected.masks)
    for table in ("predictions", "masks", "errors"):
        assert _plain(spec, table) == _plain(calm, table)


def _plain(spec, table):
    return [
        {name: value for name, value in row.items() if name not in ("file", "failed_at")}
        for row in rows_seen(spec.store(), table)
    ]


def test_counters_of_segments_are_those_of_the_run(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    process_metrics().take_delta()
    process_metrics().add(calls=3)
    left_behind(spec, [prediction("a")])
    process_metrics().add(calls=4)
    begin_run(spec.store(), spec)
    with contextlib.closing(PartWriter(spec)) as writer:
        writer.add(prediction("b"))
        until(lambda: len(segments(spec)) == 2)
    process_metrics().add(calls=100)  # of another run, in the process that recovers this one

    (result,) = recover(spec.store())

    assert (result.predictions, result.calls) == (2, 7)
    process_metrics().take_delta()


def test_a_part_removes_the_segments_that_it_holds(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    begin_run(spec.store(), spec)
    with contextlib.closing(PartWriter(spec)) as writer:
        for count in (1, 2, 3):
            writer.add(prediction(f"{count}"))
            until(lambda count=count: len(segments(spec)) == count)
        writer.flush()
        (part,) = writer.take()
        assert (part.predictions, len(part.segments)) == (3, 3)
        assert not segments(spec)


def test_a_segment_whose_part_is_durable_counts_once(tmp_path, soon):
    """The worker dies after its part and before it has removed the part's segments."""
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    begin_run(spec.store(), spec)

    class Keeping(Store):
        def remove(self, path):
            if not path.endswith(SEGMENT):
                super().remove(path)

    writer = PartWriter(spec, Keeping(str(tmp_path)))
    for count in (1, 2):
        writer.add(prediction(f"{count}", masks=1))
        until(lambda count=count: len(segments(spec)) == count)
    writer.flush()
    assert len(segments(spec)) == 2

    (result,) = recover(spec.store())

    assert (result.predictions, result.masks, result.counts["prediction_rows"]) == (2, 2, 2)
    assert len(read_run(spec.store(), spec.run_id).parts) == 1


def test_an_input_in_two_segments_is_seen_once(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    left_behind(spec, [prediction("a"), prediction("b")], [failure("a"), prediction("c")])

    (result,) = recover(spec.store())

    assert [row["input_id"] for row in rows_seen(spec.store(), "predictions")] == ["a", "b", "c"]
    assert not rows_seen(spec.store(), "errors")
    assert (result.predictions, result.errors) == (3, 0)


def test_a_damaged_segment_costs_its_own_inputs_and_is_told(tmp_path, soon, caplog):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    left_behind(spec, [prediction("a")], [prediction("b")])
    damaged = sorted(segments(spec))[0]
    (tmp_path / damaged).write_bytes((tmp_path / damaged).read_bytes()[:-40])
    with pytest.raises(SegmentError):
        read_segment(spec.store(), damaged)

    with caplog.at_level(logging.WARNING):
        (result,) = recover(spec.store())

    assert [row["input_id"] for row in rows_seen(spec.store(), "predictions")] == ["b"]
    assert len(result.invalid_parts) == 1
    assert "is unreadable" in caplog.text


def test_a_kill_while_segments_are_taken_in_loses_nothing(tmp_path, soon):
    before = 0
    while True:
        spec = make_spec(str(tmp_path / f"{before}"), part_seconds=HOUR)
        left_behind(spec, [prediction("a", masks=1)], [prediction("a"), failure("b")], [prediction("c")])
        store = CrashingStore(spec.uri, before)
        try:
            recover(store)
        except Killed:
            recover(spec.store())
        else:
            assert before > 10
            break
        assert [row["input_id"] for row in rows_seen(spec.store(), "predictions")] == ["a", "c"]
        assert [row["input_id"] for row in rows_seen(spec.store(), "errors")] == ["b"]
        before += 1


def test_plan_knows_what_the_next_start_will_take_in(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    left_behind(spec, [prediction("a")])

    later = make_spec(str(tmp_path), "20260131T120000Z-000002")
    rows = [prediction("a").reference, prediction("b").reference]

    known = CompletedIndex.read(spec.store(), CompletedSpec.of(later), uncommitted=True)

    assert [reference.input_id for reference in known.divide(rows).kept] == ["b"]


def test_a_worker_that_wakes_after_its_run_was_committed_writes_no_segment(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    with writing(spec) as writer:
        writer.add(prediction("a"))
        until(lambda: segments(spec))
        recover(spec.store())
        writer.add(prediction("b"))
        with pytest.raises(StoppedError, match="was taken over by a later start"):
            until(lambda: writer.add(prediction("c")), timeout=5)
    assert not segments(spec)
    assert [row["input_id"] for row in rows_seen(spec.store(), "predictions")] == ["a"]


class Slow(Store):
    """A store whose writes wait for an event, or fail."""

    def __init__(self, uri):
        super().__init__(uri)
        self.go, self.full = threading.Event(), False

    def write(self, path, data):
        if path.endswith(SEGMENT):
            assert self.go.wait(20)
            if self.full:
                raise StoreError("the disk is full")
        super().write(path, data)


def test_calls_wait_for_a_store_only_when_it_is_late(tmp_path, soon, monkeypatch):
    monkeypatch.setattr(part_writer, "LATE_S", 0.5)
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    store = Slow(str(tmp_path))
    before = process_metrics().snapshot()["waiting_for_store"]
    with writing(spec, store) as writer:
        started = time.monotonic()
        for number in range(40):
            writer.add(prediction(f"{number}"))
            time.sleep(0.005)
        assert time.monotonic() - started < 0.5  # a segment waits all the while

        thread = threading.Thread(target=lambda: [time.sleep(0.6), writer.add(prediction("late"))])
        thread.start()
        until(lambda: process_metrics().snapshot()["waiting_for_store"] == before + 1)
        thread.join(0.3)
        assert thread.is_alive()
        store.go.set()
        thread.join(10)
        assert not thread.is_alive()
        assert process_metrics().snapshot()["waiting_for_store"] == before
        writer.flush()
    (result,) = recover(spec.store())
    assert result.predictions == 41


def test_a_segment_that_cannot_be_written_stops_the_job(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR)
    store = Slow(str(tmp_path))
    store.full = True
    store.go.set()
    with writing(spec, store) as writer:
        writer.add(prediction("a"))
        with pytest.raises(StoreError, match="the disk is full"):
            until(lambda: writer.add(prediction("b")), timeout=5)
        with pytest.raises(StoreError, match="the disk is full"):
            writer.flush()


def test_full_parts_do_not_pile_up_before_a_slow_store(tmp_path, soon):
    spec = make_spec(str(tmp_path), part_seconds=HOUR, file_bytes=20_000)
    store = Slow(str(tmp_path))
    with writing(spec, store) as writer:
        writer.add(prediction("first"))
        until(lambda: writer._sealing is not None)  # and its segment waits for the store
        added = []

        def fill():
            for number in range(200):
                writer.add(prediction(f"{number}", text="x" * 5_000))
                added.append(number)

        thread = threading.Thread(target=fill)
        thread.start()
        thread.join(1.0)
        assert thread.is_alive()
        assert len(added) < 60  # one part has ended, and the next is full
        store.go.set()
        thread.join(20)
        writer.flush()
    (result,) = recover(spec.store())
    assert result.predictions == 201
