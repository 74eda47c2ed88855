"""WriteTables as a step of a pipeline: its inputs, its result, and the rows of a failed bundle."""

from __future__ import annotations

import os
import sys

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from bulkinfer.transforms import WriteTables
from bulkinfer.transforms.runs.lock import RunLock
from bulkinfer.transforms.runs.parts import OutputSpec
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.write_tables import _CommitFn
from support.s3_server import s3_server
from support.tables import failure, make_spec, prediction, rows_seen, stage

RUN = "20260131T120000Z-000001"


def predicted(number):
    return prediction(f"{number:04}", masks=number % 2)


def failed(number):
    return failure(f"{number:04}")


def pipeline(*options):
    return beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(options)))


def rows(begin, label, numbers, build):
    return begin | f"{label}Numbers" >> beam.Create(numbers) | f"{label}Rows" >> beam.Map(build)


def results(expected):
    def check(actual):
        assert [(one.inputs, one.predictions, one.errors, one.masks) for one in actual] == [expected]

    return check


def ids(uri, table):
    return [row["input_id"] for row in rows_seen(Store(uri), table)]


@pytest.mark.parametrize("shape", [tuple, lambda both: dict(zip("ab", both, strict=True))])
def test_several_collections_become_one_set_of_tables(tmp_path, shape):
    with pipeline() as p:
        both = rows(p, "Good", range(20), predicted), rows(p, "Bad", range(20, 23), failed)
        assert_that(shape(both) | WriteTables(make_spec(str(tmp_path), RUN)), results((23, 20, 3, 10)))
    assert ids(str(tmp_path), "predictions") == [f"{n:04}" for n in range(20)]
    assert ids(str(tmp_path), "errors") == ["0020", "0021", "0022"]


def test_one_collection_is_taken_as_it_is(tmp_path):
    with pipeline() as p:
        assert_that(
            rows(p, "Good", range(3), predicted) | WriteTables(make_spec(str(tmp_path))),
            results((3, 3, 0, 1)),
        )


def test_a_job_without_rows_still_gives_its_result_and_tables(tmp_path):
    with pipeline() as p:
        assert_that(
            rows(p, "None", [], predicted) | WriteTables(make_spec(str(tmp_path))), results((0, 0, 0, 0))
        )
    assert len(list(tmp_path.glob("*/*.parquet"))) == 3


def test_windows_do_not_matter(tmp_path):
    with pipeline() as p:
        stamped = (
            p
            | beam.Create(range(10))
            | beam.Map(lambda number: TimestampedValue(number, number * 60))
            | beam.WindowInto(FixedWindows(60))
            | beam.Map(predicted)
        )
        assert_that(stamped | WriteTables(make_spec(str(tmp_path))), results((10, 10, 0, 5)))


def test_two_processes_write_one_set_of_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # workers import what builds the rows
    options = "--direct_num_workers=2", "--direct_running_mode=multi_processing"
    names = [f"{number:04}" for number in range(40)]
    with pipeline(*options) as p:
        (
            p
            | beam.Create(names)
            | beam.Reshuffle()
            | beam.Map(prediction)
            | WriteTables(make_spec(str(tmp_path)))
        )
    assert ids(str(tmp_path), "predictions") == names


def test_on_an_object_store_that_fails_now_and_then(tmp_path):
    with s3_server("flow", failing=0.02, seed=5) as server:
        spec = make_spec("s3://flow/out", storage=server.storage, partition_by=("city",))
        with pipeline() as p:
            rows(p, "Good", range(40), predicted) | WriteTables(spec)
        store = spec.store()
        assert [row["input_id"] for row in rows_seen(store, "predictions")] == [f"{n:04}" for n in range(40)]
        assert len(rows_seen(store, "masks")) == 20


def test_rows_of_a_bundle_that_failed_are_kept_by_the_next_start(tmp_path):
    def break_at_30(number):
        if number == 30:
            raise ValueError("a step of the user's own")
        return predicted(number)

    with pytest.raises(Exception, match="a step of the user's own"), pipeline() as p:
        (
            p
            | beam.Create(range(40), reshuffle=False)
            | beam.Map(break_at_30)
            | WriteTables(make_spec(str(tmp_path)))
        )
    (result,) = recover(Store(str(tmp_path)))
    assert result.predictions == 30


def test_a_commit_gives_way_to_another_run_that_is_alive(tmp_path):
    with (
        RunLock(Store(str(tmp_path)), "theirs"),
        pytest.raises(Exception, match="run theirs writes to"),
        pipeline() as p,
    ):
        rows(p, "Good", range(3), predicted) | WriteTables(make_spec(str(tmp_path)))
    assert ids(str(tmp_path), "predictions") == []


def test_a_commit_bundle_that_runs_twice_finds_the_parts_that_the_other_has_cleaned(tmp_path, monkeypatch):
    spec = make_spec(str(tmp_path), RUN)
    names = stage(spec, [[predicted(1)]])

    class OvertakenStore(Store):
        def files(self, directory=""):
            if directory.endswith("/parts"):
                commit_run(Store(self.uri), RUN)
            return super().files(directory)

    monkeypatch.setattr(OutputSpec, "store", lambda self: OvertakenStore(self.uri))

    (result,) = _CommitFn(spec).process(names)

    assert result.predictions == 1
