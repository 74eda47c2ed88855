"""A table file that somebody removed by hand makes its inputs undone: they would stand in no table for ever."""

from __future__ import annotations

import json
import logging

import pytest
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.runs.record import list_runs
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.completed import CompletedIndex, CompletedSpec
from bulkinfer.transforms.tables.lost import lost_files
from support.tables import failure, make_spec, prediction, rows_seen, stage, temporary_output


def run(uri, number, *parts, **changes):
    spec = make_spec(uri, f"20260131T12000{number}Z-00000{number}", **changes)
    stage(spec, parts)
    commit_run(spec.store(), spec.run_id)
    return spec


def undone(spec, *names):
    index = CompletedIndex.read(spec.store(), CompletedSpec(spec.uri, run_id="next", fingerprint="one"))
    division = index.divide([Reference(name, f"mem://{name}", "image", "v1") for name in names])
    return [reference.input_id for reference in division.kept]


def remove(spec, table, number=0):
    files = [entry.path for entry in spec.store().find(table) if f"-{number:05}" in entry.path]
    spec.store().remove(next(path for path in files if spec.run_id in path))


def staged_bytes(part, table):
    """The size of a staged file: one of about `file_bytes` becomes visible as it is."""
    spec = make_spec(temporary_output())
    stage(spec, [part])
    (size,) = [entry.size for entry in spec.store().find("_runs") if f"-{table}." in entry.path]
    return size


@pytest.fixture
def uri():
    return temporary_output()


def test_its_inputs_are_done_again_and_nobody_elses(uri):
    spec = run(uri, 1, [prediction("a"), failure("b")])
    night = run(uri, 2, [prediction("c"), prediction("d")])
    remove(night, "predictions")

    assert undone(spec, "a", "b", "c", "d") == ["c", "d"]
    run(uri, 3, [prediction("c"), prediction("d")])
    assert undone(spec, "a", "b", "c", "d") == []
    assert [row["input_id"] for row in rows_seen(spec.store(), "predictions")] == ["a", "c", "d"]


def test_of_several_files_only_the_one_that_is_gone_counts(uri):
    parts = [[prediction(name)] for name in "abcd"]
    spec = run(uri, 1, *parts, file_bytes=staged_bytes(parts[0], "predictions"))
    assert len(spec.store().find("predictions")) == 4
    remove(spec, "predictions", 2)

    assert undone(spec, *"abcd") == ["c"]


def test_rows_of_errors_and_masks_count_as_well(uri):
    spec = run(uri, 1, [prediction("a", masks=2), prediction("b"), failure("c")])
    remove(spec, "errors")
    assert undone(spec, "a", "b", "c") == ["c"]
    remove(spec, "masks")
    assert undone(spec, "a", "b", "c") == ["a", "c"]


def test_an_input_whose_rows_may_go_on_in_the_file_that_is_gone_is_done_again(uri):
    parts = [[prediction(name, masks=2), prediction(f"{name}2", masks=2)] for name in "abc"]
    names = [one.reference.input_id for part in parts for one in part]
    spec = run(uri, 1, *parts, file_bytes=staged_bytes(parts[0], "masks"))
    assert len(spec.store().find("masks")) == 3
    remove(spec, "masks", 1)

    assert undone(spec, *names) == ["a2", "b", "b2", "c"]  # a mask of a2 or c may have stood in the file of b


def test_an_older_outcome_does_not_stand_in_for_one_that_is_gone(uri):
    run(uri, 1, [prediction("a")])
    forced = run(uri, 2, [prediction("a")])
    remove(forced, "predictions")

    assert undone(forced, "a") == ["a"]


def test_files_that_a_commit_replaced_or_is_about_to_replace_are_not_missed(uri):
    first = run(uri, 1, [failure("a"), prediction("b")])
    second = run(uri, 2, [prediction("a"), prediction("b")])
    store = first.store()
    assert lost_files(store, list_runs(store)) == {}

    path = f"_runs/{second.run_id}/run.json"  # as while the commit is under way, or after a kill in it
    store.write(
        path, json.dumps({**json.loads(store.read(path)), "state": "running", "removed": []}).encode()
    )
    assert lost_files(store, list_runs(store)) == {}


def test_the_launcher_says_it_once(uri, caplog):
    spec = run(uri, 1, [prediction("a"), prediction("b")])
    asked = CompletedSpec(spec.uri, run_id="next", fingerprint="one")
    with caplog.at_level(logging.WARNING):
        asked.warn_of_lost()
        assert not caplog.records
        remove(spec, "predictions")
        asked.warn_of_lost()
        run(uri, 2, [prediction("a"), prediction("b")])
        CompletedSpec(spec.uri, run_id="after", fingerprint="one").warn_of_lost()

    (record,) = caplog.records
    assert "predictions/part-20260131T120001Z-000001-00000.parquet, written by" in record.getMessage()
    assert "the 2 inputs whose rows stood there count as not done" in record.getMessage()


@pytest.mark.parametrize(
    ("tables", "others"), [(("errors",), ""), (("predictions", "errors"), " and 1 more")]
)
def test_of_several_files_the_first_is_named_and_the_others_are_counted(uri, caplog, tables, others):
    spec = run(uri, 1, [prediction("a"), failure("b")])
    for table in tables:
        remove(spec, table)

    CompletedSpec(spec.uri, run_id="next", fingerprint="one").warn_of_lost()

    (record,) = caplog.records
    assert (
        f"{tables[0]}/part-20260131T120001Z-000001-00000.parquet{others}, written by" in record.getMessage()
    )
    assert f"the {len(tables)} inputs whose rows" in record.getMessage()


def test_a_run_without_its_index_is_told_before_rows_are_doubled(uri):
    spec = run(uri, 1, [prediction("a")])
    (index,) = [entry.path for entry in spec.store().find("_runs") if "/index/" in entry.path]
    spec.store().remove(index)

    with pytest.raises(
        StoreError, match=r"/index lacks files, so that nobody can tell which inputs run 2026"
    ):
        CompletedSpec(spec.uri, run_id="next").warn_of_lost()
