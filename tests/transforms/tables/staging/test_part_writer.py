"""Rows become durable by size, by time and at the end; a full disk loses nothing durable."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from bulkinfer.transforms.errors import DecodeError, StoreError
from bulkinfer.transforms.metrics import process_metrics
from bulkinfer.transforms.rows.table_builder import TableBuilder
from bulkinfer.transforms.runs.parts import PartManifest, read_manifest
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.staging import part_writer
from bulkinfer.transforms.tables.staging.part import options_of
from bulkinfer.transforms.tables.staging.part_writer import PartWriter
from support.paths import TESTS
from support.tables import failure, make_spec, prediction, rows_seen


@pytest.fixture
def open_writer(tmp_path):
    writers = []

    def open_it(builder=None, **changes):
        spec = make_spec(str(tmp_path), **changes)
        begin_run(spec.store(), spec)
        writers.append(PartWriter(spec, builder=builder and (lambda: builder(spec))))
        return writers[-1]

    yield open_it
    for writer in writers:
        writer.close()


def durable(tmp_path):
    return sum(
        read_manifest(path.read_bytes(), str(path)).predictions
        for path in tmp_path.glob("_runs/*/parts/*.json")
    )


def test_a_part_holds_so_many_inputs_at_most_whose_ids_are_in_memory(tmp_path, open_writer, monkeypatch):
    monkeypatch.setattr(part_writer, "_INPUTS", 40)
    writer = open_writer()
    for number in range(200):
        writer.add(prediction(f"{number}"))
    writer.flush()

    *full, _ = [part.predictions for part in writer.take()]
    assert full
    assert all(40 <= predictions < 40 + 32 for predictions in full)  # so many become rows at once


def test_a_part_rolls_when_it_would_fill_a_file(tmp_path, open_writer):
    writer = open_writer(file_bytes=1_000_000)
    for number in range(120):
        writer.add(prediction(f"{number}", text=os.urandom(50_000).hex()))
    writer.flush()

    parts = writer.take()
    assert sum(part.predictions for part in parts) == 120
    sizes = [part.files["predictions"].size for part in parts]
    assert len(sizes) > 3
    assert all(
        750_000 < size < 1_250_000 for size in sizes[2:-1]
    )  # the first two are cut before a written part has shown the ratio of file bytes to memory


def test_rows_become_durable_in_time_although_none_follow(tmp_path, open_writer):
    writer = open_writer(part_seconds=1)
    writer.add(prediction("a"))
    writer.add(prediction("b"))
    time.sleep(0.1)
    assert durable(tmp_path) == 0
    deadline = time.monotonic() + 5
    while not durable(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert durable(tmp_path) == 2
    parts = writer.take()
    while not parts and time.monotonic() < deadline:  # a part is reported just after it is durable
        time.sleep(0.05)
        parts = writer.take()
    assert [part.predictions for part in parts] == [2]


def test_the_clock_starts_with_the_first_row_of_each_part(tmp_path, open_writer):
    writer = open_writer(part_seconds=0.75)
    for number in range(4):
        writer.add(prediction(f"{number}"))
        time.sleep(0.5)
    writer.flush()
    assert len(writer.take()) == 2


def test_an_input_that_comes_twice_goes_to_a_part_of_its_own(open_writer):
    writer = open_writer()
    for row in (prediction("a"), failure("b"), failure("a")):
        writer.add(row)
    writer.flush()
    assert [(part.predictions, part.errors) for part in writer.take()] == [(1, 1), (0, 1)]


class Choosy(TableBuilder):
    """A table builder that cannot decode the input named odd."""

    def __init__(self, spec):
        super().__init__(options_of(spec))

    def add(self, predictions):
        if len(predictions) > 1:
            return [self.add([prediction])[0] for prediction in predictions]
        if predictions[0].reference.input_id == "odd":
            return [DecodeError("mask", "its mask is no PNG")]
        return super().add(predictions)


def test_one_answer_that_makes_no_rows_is_an_error_row(tmp_path, open_writer):
    writer = open_writer(builder=Choosy)
    for name in ("a", "odd", "b"):
        writer.add(prediction(name))
    writer.flush()
    recover(Store(str(tmp_path)))

    assert [row["input_id"] for row in rows_seen(Store(str(tmp_path)), "predictions")] == ["a", "b"]
    (error,) = rows_seen(Store(str(tmp_path)), "errors")
    assert (error["input_id"], error["stage"], error["error_type"]) == ("odd", "decode", "mask")


def test_a_part_carries_the_growth_of_the_counters(open_writer):
    process_metrics().take_delta()
    process_metrics().add(calls=3)
    writer = open_writer()
    writer.add(prediction("a"))
    writer.flush()
    assert writer.take()[0].metrics == {"calls": 3}


def test_a_part_counts_its_masks_that_cannot_be_read(open_writer):
    process_metrics().take_delta()
    odd = prediction("a", masks=3)
    odd.answer[0].data.regions[1].region_info.mask.image.base64 = b"no picture"

    writer = open_writer()
    writer.add(odd)
    writer.flush()

    assert writer.take()[0].metrics == {"masks_unreadable": 1}


def test_closing_saves_what_a_failed_bundle_left(tmp_path, open_writer):
    writer = open_writer()
    writer.add(prediction("a"))
    writer.close()
    assert durable(tmp_path) == 1


def test_a_manifest_survives_its_file(open_writer):
    writer = open_writer(partition_by=("city",))
    writer.add(prediction("a", city="Bern", masks=1))
    writer.flush()
    (part,) = writer.take()
    assert isinstance(part, PartManifest)
    assert read_manifest(part.to_json(), "here") == part


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "here is no part manifest .*; move it away, and its inputs are done again"),
        (b'{"format": 9}', "here was written by a newer version of bulkinfer .*; upgrade bulkinfer"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_told(data, message):
    with pytest.raises(StoreError, match=message):
        read_manifest(data, "here")


FULL = """
import sys
sys.path.insert(0, sys.argv[2])
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.tables.staging.part_writer import PartWriter
from support.tables import make_spec, prediction
import os, pathlib

spec = make_spec(sys.argv[1], file_bytes=100_000)
begin_run(spec.store(), spec)
writer = PartWriter(spec)
try:
    for number in range(200):
        writer.add(prediction(str(number), text=os.urandom(5000).hex()))
        if number == 30:
            writer.flush()
            # From here on no file may exceed 50 kB.
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    writer.flush()
except StoreError as error:
    print(error)
"""


def test_a_full_disk_stops_the_job_and_loses_nothing_durable(tmp_path):
    out = tmp_path / "out"
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(out), str(TESTS)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "the disk is full, or over its quota" in said
    assert "what was durable is kept and not paid again" in said
    assert not list(out.rglob("*.tmp"))

    (result,) = recover(Store(str(out)))

    assert result.predictions == 31
    assert not result.invalid_parts
