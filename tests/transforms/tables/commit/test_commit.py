"""Staged parts become visible exactly once, whatever is killed, duplicated or broken meanwhile."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter

import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.errors import StoppedError, StoreError
from bulkinfer.transforms.runs.parts import TABLES, run_id_of
from bulkinfer.transforms.runs.record import read_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import (
    CrashingStore,
    Killed,
    failure,
    make_spec,
    prediction,
    rows_seen,
    stage,
    temporary_output,
)

RUNS = [f"20260131T12000{n}Z-00000{n}" for n in range(1, 5)]


def ids(store, table):
    return [row["input_id"] for row in rows_seen(store, table)]


def outcomes(store):
    """Map each visible input to its text or its error type; checks that none is visible twice."""
    seen = [(row["input_id"], row["text"]) for row in rows_seen(store, "predictions")]
    seen += [(row["input_id"], row["error_type"]) for row in rows_seen(store, "errors")]
    assert len(seen) == len(dict(seen)), "an input is seen twice"
    return dict(seen)


def test_rows_of_all_parts_become_visible(tmp_path):
    spec = make_spec(str(tmp_path))
    stage(spec, [[prediction("a", masks=2), failure("b")], [prediction("c", masks=1)]])
    store = spec.store()

    result = commit_run(store, spec.run_id)

    assert (result.inputs, result.predictions, result.errors, result.masks) == (3, 2, 1, 3)
    assert ids(store, "predictions") == ["a", "c"]
    assert ids(store, "masks") == ["a", "a", "c"]
    assert ids(store, "errors") == ["b"]


def test_a_part_without_a_manifest_does_not_exist(tmp_path):
    spec = make_spec(str(tmp_path))
    first, second = stage(spec, [[prediction("a")], [prediction("b")]])
    store = spec.store()
    store.remove(f"_runs/{spec.run_id}/parts/{second}.json")

    commit_run(store, spec.run_id)

    assert ids(store, "predictions") == ["a"]
    assert read_run(store, spec.run_id).parts == (first,)


def test_committing_twice_changes_nothing(tmp_path):
    spec = make_spec(str(tmp_path))
    stage(spec, [[prediction("a")]])
    store = spec.store()
    once = commit_run(store, spec.run_id)
    files = store.find()

    assert commit_run(store, spec.run_id) == once
    assert store.find() == files


def test_only_records_and_the_index_stay_behind(tmp_path):
    spec = make_spec(str(tmp_path))
    stage(spec, [[prediction("a")], [prediction("b")]])
    store = spec.store()

    commit_run(store, spec.run_id)

    left = [entry.path.removeprefix(f"_runs/{spec.run_id}/") for entry in store.find("_runs")]
    assert left == ["commit.json", "index/part-00000.parquet", "run.json"]


def test_an_input_in_two_parts_is_shown_once_and_a_prediction_wins(tmp_path):
    spec = make_spec(str(tmp_path))
    parts = [
        [failure("a"), prediction("b", text="first", masks=1), failure("c")],
        [prediction("a", text="second", masks=2), prediction("b", text="second", masks=1), failure("d")],
        [failure("c"), failure("b")],
    ]
    stage(spec, parts)
    store = spec.store()

    result = commit_run(store, spec.run_id)

    assert outcomes(store) == {"a": "second", "b": "first", "c": "empty", "d": "empty"}
    assert ids(store, "masks") == ["a", "a", "b"]
    assert (result.inputs, result.predictions, result.errors, result.masks) == (4, 2, 2, 3)


def test_rows_of_inputs_that_were_done_again_are_replaced(tmp_path):
    spec = make_spec(str(tmp_path), RUNS[0])
    store = spec.store()
    stage(
        spec,
        [
            [
                prediction("a", text="old", masks=3),
                prediction("b", text="old", masks=1),
                failure("c"),
                failure("d"),
            ]
        ],
    )
    commit_run(store, RUNS[0])
    again = make_spec(str(tmp_path), RUNS[1])
    stage(
        again,
        [[prediction("a", text="new", masks=1), prediction("c", text="new"), failure("b", kind="timeout")]],
    )

    result = commit_run(store, RUNS[1])

    assert outcomes(store) == {"a": "new", "b": "timeout", "c": "new", "d": "empty"}
    assert ids(store, "masks") == ["a"]
    assert result.replaced_rows == 2 + 4 + 1


def test_a_table_without_rows_is_still_a_table(tmp_path):
    spec = make_spec(str(tmp_path), RUNS[0])
    store = spec.store()
    stage(spec, [])
    commit_run(store, RUNS[0])
    assert [len(store.find(table)) for table in TABLES] == [1, 1, 1]
    stage(make_spec(str(tmp_path), RUNS[1]), [[prediction("a", masks=1), failure("b")]])

    commit_run(store, RUNS[1])

    assert [[run_id_of(entry.path) for entry in store.find(table)] for table in TABLES] == [[RUNS[1]]] * 3


@pytest.mark.parametrize("table", ["predictions", "masks", "index"])
@pytest.mark.parametrize("harm", ["missing", "truncated"])
def test_a_broken_part_is_left_out_and_reported(tmp_path, table, harm, caplog):
    spec = make_spec(str(tmp_path), partition_by=("city",))
    rows = [prediction("a", city="Bern", masks=1), prediction("b", city="Basel", masks=1)]
    broken, _ = stage(spec, [rows, [prediction("c", masks=1)]])
    store = spec.store()
    (path,) = (e.path for e in store.find(f"_runs/{spec.run_id}/staging") if f"{broken}-{table}" in e.path)
    if harm == "missing":
        store.remove(path)
    else:
        store.write(path, store.read(path)[:-7])

    with caplog.at_level(logging.WARNING):
        result = commit_run(store, spec.run_id)

    assert ids(store, "predictions") == ids(store, "masks") == ["c"]
    assert list(result.invalid_parts) == [broken]
    assert "its inputs are done again" in caplog.text
    todo = dataclasses.replace(CompletedSpec.of(spec), run_id="next")
    assert todo.remaining([row.reference for row in rows]) == [row.reference for row in rows]


@pytest.mark.parametrize("partition_by", [(), ("city",)])
def test_corrupted_bytes_make_a_part_broken(tmp_path, partition_by):
    spec = make_spec(str(tmp_path), partition_by=partition_by)
    rows = [prediction("a", city="Bern"), prediction("b", city="Basel")]
    broken, _ = stage(spec, [rows, [prediction("c")]])
    store = spec.store()
    (path,) = (
        e.path for e in store.find(f"_runs/{spec.run_id}/staging") if f"{broken}-predictions" in e.path
    )
    store.write(path, b"\0" * len(store.read(path)))

    assert list(commit_run(store, spec.run_id).invalid_parts) == [broken]
    assert ids(store, "predictions") == ["c"]


def test_a_worker_that_outlives_its_run_stages_nothing_more(tmp_path):
    spec = make_spec(str(tmp_path))
    stage(spec, [[prediction("a")]])
    recover(spec.store())

    with pytest.raises(StoppedError, match="was taken over by a later start of the job and is committed"):
        stage(spec, [[prediction("b")]])


def test_a_prepared_file_that_vanished_is_told(tmp_path):
    spec = make_spec(str(tmp_path))
    stage(spec, [[prediction("a")]])
    store = CrashingStore(str(tmp_path), before=6)  # after the index, two empty tables, the plan
    with pytest.raises(Killed):
        commit_run(store, spec.run_id)
    assert store.exists(f"_runs/{spec.run_id}/commit.json")
    plain = spec.store()
    plain.remove_tree(f"_runs/{spec.run_id}/staging")

    with pytest.raises(StoreError, match="is gone, though it was to become"):
        recover(plain)


def test_a_run_without_a_record_cannot_be_committed(tmp_path):
    with pytest.raises(StoreError, match=r"run\.json is missing, so the run cannot be committed"):
        commit_run(Store(str(tmp_path)), "nobody")


def test_an_older_file_that_cannot_be_read_is_told(tmp_path):
    spec = make_spec(str(tmp_path), RUNS[0])
    store = spec.store()
    stage(spec, [[prediction("a")]])
    commit_run(store, RUNS[0])
    (entry,) = store.find("predictions")
    store.write(entry.path, b"not Parquet at all")
    stage(make_spec(str(tmp_path), RUNS[1]), [[prediction("a")]])

    with pytest.raises(StoreError, match=r"which an earlier run wrote: .*; restore the file, or delete it"):
        commit_run(store, RUNS[1])


def test_errors_of_listing_leave_when_a_whole_new_listing_does_not_find_them(tmp_path):
    spec = make_spec(str(tmp_path), RUNS[0], lists_all=True)
    store = spec.store()
    stage(spec, [[failure("refs.csv:7", stage="list"), failure("x", stage="read")]])
    commit_run(store, RUNS[0], complete=True)
    again = make_spec(str(tmp_path), RUNS[1], lists_all=True)
    stage(again, [[prediction("y")]])

    commit_run(store, RUNS[1], complete=True)

    assert outcomes(store) == {"x": "empty", "y": "about y"}


def test_partitions_hold_their_rows_and_do_not_repeat_the_key(tmp_path):
    spec = make_spec(str(tmp_path), partition_by=("date", "city"))
    rows = [prediction(f"{n}", city=["Bern", "La Paz/BO", None][n % 3], masks=1) for n in range(30)]
    stage(spec, [rows[:17], rows[17:]])
    store = spec.store()

    commit_run(store, spec.run_id)

    for table in ("predictions", "masks"):
        seen = rows_seen(store, table)
        assert Counter(row["city"] for row in seen) == {
            "Bern": 10,
            "La%20Paz%2FBO": 10,
            "__HIVE_DEFAULT_PARTITION__": 10,
        }
        assert {row["date"] for row in seen} == {"2026-01-31"}
        assert len(store.find(table)) == 3
    file = store.find("predictions")[0]
    assert not {"city", "date"} & set(pq.read_schema(tmp_path / file.path).names)


def brute_force(runs):
    """Compute what readers must see: each input's outcome of its latest run, a prediction before an error."""
    seen = {}
    for parts in runs:
        mine = {}
        for name, ok, text in (row for part in parts for row in part):
            if name not in mine or (ok and not mine[name][0]):
                mine[name] = (ok, text)
        seen.update(mine)
    return seen


rows_of_a_part = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=1, max_size=4, unique_by=lambda row: row[0]
)
some_runs = st.lists(st.lists(rows_of_a_part, max_size=3), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(some_runs, st.lists(st.integers(0, 40), max_size=3), st.sampled_from([(), ("city",)]))
def test_any_crash_leaves_what_was_durable_and_readers_never_see_an_input_twice(runs, crashes, partition_by):
    uri = temporary_output()
    crashes = list(crashes)
    durable = []

    def readers_are_safe(store):
        predictions = rows_seen(Store(uri), "predictions")
        masks = Counter(row["input_id"] for row in rows_seen(Store(uri), "masks"))
        outcomes(Store(uri))
        for row in predictions:
            assert masks[row["input_id"]] == row["num_regions"], "a prediction is seen without its masks"

    for number, parts in enumerate(runs):
        spec = make_spec(uri, RUNS[number], partition_by=partition_by)
        named = [
            [(name, ok, f"{name}{number}.{index}" if ok else f"e{number}.{index}") for name, ok in part]
            for index, part in enumerate(parts)
        ]
        built = [
            [
                prediction(name, text=text, masks=number % 3, city=name) if ok else failure(name, kind=text)
                for name, ok, text in part
            ]
            for part in named
        ]
        stage(spec, built)
        durable.append(named)
        while True:
            store = CrashingStore(uri, crashes.pop() if crashes else None, readers_are_safe)
            try:
                recover(store)
                break
            except Killed:
                continue

    expected = {name: text for name, (_, text) in brute_force(durable).items()}
    assert outcomes(Store(uri)) == expected
    assert not [e for e in Store(uri).find("_runs") if "/staging/" in e.path or "/ready-" in e.path]
