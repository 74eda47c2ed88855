"""Nights whose kept columns differ: the table's type widens, older files with it, and readers see one schema."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.kept.types import kept_field
from bulkinfer.transforms.runs.record import read_run
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.output_check import check_output
from support.tables import CrashingStore, Killed, make_spec, prediction, rows_seen, stage

NIGHTS = [f"2026013{n}T120000Z-00000{n}" for n in range(5)]


def answer(name, value):
    made = prediction(name)
    columns = value if isinstance(value, dict) else {"k": value}
    return dataclasses.replace(made, reference=dataclasses.replace(made.reference, columns=columns))


def night(uri, number, *fields, partition_by=(), **values):
    """Run one night: one input a value of the kept column `k`."""
    spec = make_spec(uri, NIGHTS[number], keep_schema=pa.schema(fields), partition_by=partition_by)
    store = spec.store()
    check_output(store, spec, write=False)
    stage(spec, [[answer(name, value) for name, value in values.items()]])
    commit_run(store, spec.run_id)
    return store


def seen(store):
    return {row["input_id"]: row["k"] for row in rows_seen(store, "predictions")}


def schemas_of(store):
    paths = [store.full_path(entry.path) for entry in store.find("predictions")]
    return {str(pq.read_schema(path).field("k").type) for path in paths}


@pytest.mark.parametrize(
    ("nights", "kind", "rows"),
    [
        ([(pa.null(), None), (pa.string(), "text")], "string", {"n0": None, "n1": "text"}),
        (
            [(pa.int64(), 7), (pa.float64(), 1.5), (pa.int64(), 8)],
            "double",
            {"n0": 7.0, "n1": 1.5, "n2": 8.0},
        ),
        (
            [(pa.list_(pa.null()), []), (pa.list_(pa.string()), ["a"])],
            "list<element: string>",
            {"n0": [], "n1": ["a"]},
        ),
        (
            [(pa.string(), "text"), (pa.int64(), 7), (pa.bool_(), True)],
            "string",
            {"n0": '"text"', "n1": "7", "n2": "true"},
        ),
    ],
)
def test_a_later_type_widens_the_table(tmp_path, nights, kind, rows):
    for number, (type_, value) in enumerate(nights):
        store = night(str(tmp_path), number, kept_field("k", type_), **{f"n{number}": value})
    assert seen(store) == rows
    assert schemas_of(store) == {kind}


def test_a_new_kept_column_is_null_in_older_rows(tmp_path):
    night(str(tmp_path), 0, kept_field("k", pa.int64()), a=1)
    both = [kept_field("k", pa.int64()), kept_field("late", pa.string())]
    store = night(str(tmp_path), 1, *both, b={"k": 2, "late": "x"})
    assert [(row["k"], row["late"]) for row in rows_seen(store, "predictions")] == [(1, None), (2, "x")]
    footer = pq.read_schema(store.full_path(store.find("predictions")[0].path)).metadata
    assert "late" in json.loads(footer[b"huggingface"])["info"]["features"]


def test_what_no_double_holds_never_locks_an_output_of_an_older_version(tmp_path):
    # as records were before they told how large their values are
    night(str(tmp_path), 0, pa.field("k", pa.int64()), a=2**60 + 1)
    night(str(tmp_path), 1, kept_field("k", pa.float64()), b=0.5)
    store = night(str(tmp_path), 2, kept_field("k", pa.float64()), c=1.5)
    assert seen(store) == {"a": str(2**60 + 1), "b": "0.5", "c": "1.5"}


def test_a_run_of_a_narrower_type_that_was_interrupted_is_committed_as_the_table_is(tmp_path):
    spec = make_spec(str(tmp_path), NIGHTS[1], keep_schema=pa.schema([kept_field("k", pa.int64())]))
    stage(spec, [[answer("left", 3)]])
    store = night(str(tmp_path), 0, kept_field("k", pa.float64()), a=0.5)
    commit_run(store, spec.run_id)
    assert seen(store) == {"a": 0.5, "left": 3.0}
    assert schemas_of(store) == {"double"}
    assert str(read_run(store, spec.run_id).keep_schema.field("k").type) == "double"


def test_files_stay_as_they_are_when_nothing_widens(tmp_path):
    store = night(str(tmp_path), 0, kept_field("k", pa.int64()), a=1)
    before = {entry.path: store.read(entry.path) for entry in store.find("predictions")}
    night(str(tmp_path), 1, kept_field("k", pa.int64()), b=2)
    assert all(store.read(path) == data for path, data in before.items())


def test_partitions_stay_where_they_are_when_a_type_widens(tmp_path):
    night(str(tmp_path), 0, kept_field("k", pa.int64()), partition_by=("k",), a=7)
    store = night(str(tmp_path), 1, kept_field("k", pa.string()), partition_by=("k",), b="Bern")
    assert seen(store) == {"a": "7", "b": "Bern"}


def test_a_value_too_long_for_a_folder_never_locks_the_output(tmp_path):
    long = {"a": "x" * 260, "b": "x" * 261, "c": "\u6771" * 90}
    store = night(str(tmp_path), 0, kept_field("k", pa.string()), partition_by=("k",), **long)
    assert len(set(seen(store).values())) == 3
    night(str(tmp_path), 1, kept_field("k", pa.string()), partition_by=("k",), d="Bern")


def test_a_widening_that_is_killed_anywhere_is_finished_by_the_next_start(tmp_path):
    for crash in range(30):
        uri = str(tmp_path / str(crash))
        night(uri, 0, kept_field("k", pa.int64()), a=1, b=2)
        spec = make_spec(uri, NIGHTS[1], keep_schema=pa.schema([kept_field("k", pa.float64())]))
        stage(spec, [[answer("b", 0.5), answer("c", 1.5)]])
        try:
            commit_run(CrashingStore(uri, before=crash), spec.run_id)
        except Killed:
            commit_run(spec.store(), spec.run_id)
        else:
            break
        assert seen(spec.store()) == {"a": 1.0, "b": 0.5, "c": 1.5}
        assert schemas_of(spec.store()) == {"double"}
    assert crash > 5
