"""Inputs that earlier runs finished are left out; changed ones, and failed ones on request, are done again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle

import numpy as np
import pyarrow as pa
import pytest
from bulkinfer.transforms.content.versions import local_version
from bulkinfer.transforms.metrics import process_metrics
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.input_index import (
    INDEX_SCHEMA,
    IdLookup,
    InputIndex,
    hash_column,
    hash_ids,
    ids_of,
    ids_to_arrow,
    version_code,
)
from hypothesis import given
from hypothesis import strategies as st
from support.tables import failure, make_spec, prediction, stage


def run(uri, number, rows, **changes):
    spec = make_spec(uri, f"20260131T12000{number}Z-00000{number}", **changes)
    stage(spec, [rows])
    commit_run(spec.store(), spec.run_id)
    return spec


def remaining(spec, *references, **changes):
    asked = dataclasses.replace(CompletedSpec.of(spec, **changes), run_id=os.urandom(4).hex())
    asked = pickle.loads(pickle.dumps(asked))
    return [reference.input_id for reference in asked.remaining(list(references))]


def ref(name, version="v1", uri=None):
    return Reference(name, uri or f"mem://{name}", "image", version)


def test_finished_inputs_are_left_out_whether_they_succeeded_or_not(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a"), failure("b")])
    assert remaining(spec, ref("a"), ref("b"), ref("c")) == ["c"]


def test_what_is_left_out_is_counted_for_what_it_is(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a"), failure("b"), prediction("c")])
    asked = ref("a"), ref("b"), ref("c", "v2"), ref("d")

    def counted(**changes):
        process_metrics().take_delta("test")
        remaining(spec, *asked, **changes)
        growth = process_metrics().take_delta("test")
        names = ("inputs_skipped", "errors_skipped", "inputs_new", "inputs_changed", "inputs_undone")
        return [growth.get(name, 0) for name in names]

    assert counted() == [2, 1, 1, 1, 0]
    assert counted(force=True) == [0, 0, 1, 1, 0]
    assert counted(retry_failed=True) == [2, 0, 0, 0, 1]


def test_another_version_or_another_job_is_done_again(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a")])
    assert remaining(spec, ref("a", "v2")) == ["a"]
    assert remaining(dataclasses.replace(spec, fingerprint="two"), ref("a")) == ["a"]


def test_the_latest_outcome_counts_although_its_run_id_sorts_first(tmp_path):
    run(str(tmp_path), 5, [prediction("a", version="v1")])
    spec = run(str(tmp_path), 2, [prediction("a", version="v2")])  # by a clock that is behind
    assert remaining(spec, ref("a", "v2")) == []
    assert remaining(spec, ref("a", "v1")) == ["a"]


def test_only_what_failed_is_tried_again(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a"), failure("b", kind="empty"), failure("c", kind="timeout")])
    asked = ref("a"), ref("b"), ref("c"), ref("d")
    assert remaining(spec, *asked, retry_failed=True) == ["b", "c"]
    assert remaining(spec, *asked, retry_failed=True, error_types=["timeout"]) == ["c"]


def test_force_leaves_nothing_out(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a")])
    assert remaining(spec, ref("a"), force=True) == ["a"]


def test_each_reference_is_counted_for_what_it_is_when_everything_is_done_again_as_well(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a"), prediction("b"), failure("c"), prediction("gone")])
    asked = [ref("a"), ref("b", "v2"), ref("c"), ref("d")]
    for changes, kept in (({}, "bd"), ({"force": True}, "abcd"), ({"retry_failed": True}, "c")):
        index = dataclasses.replace(CompletedSpec.of(spec, **changes), run_id="next").load()
        division = index.divide(asked)

        assert "".join(reference.input_id for reference in division.kept) == kept
        assert (division.new, division.changed) == ((0, 0) if kept == "c" else (1, 1))
        assert index.predicted - division.predicted == 1


def test_a_version_that_the_listing_does_not_tell_is_asked_for(tmp_path):
    file = tmp_path / "content"
    file.write_text("one")
    version = local_version(file.stat())
    spec = run(str(tmp_path / "out"), 1, [prediction("a", version=version)])
    asked = ref("a", "", str(file))

    assert remaining(spec, asked) == []
    file.write_text("other")
    assert remaining(spec, asked) == ["a"]
    assert remaining(spec, asked, revalidate=False) == []
    file.unlink()
    assert remaining(spec, asked) == []


def test_a_version_that_was_not_known_then_counts_as_the_same(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a", version="")])
    assert remaining(spec, ref("a", "v7")) == []


def test_the_index_is_read_once_in_a_process(tmp_path):
    spec = run(str(tmp_path), 1, [prediction("a")])
    asked = CompletedSpec.of(spec)
    assert asked.load() is pickle.loads(pickle.dumps(asked)).load()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_a_look_up_finds_the_last_of_equal_names(pairs):
    names = np.array(pairs, np.uint64).reshape(-1, 2)
    asked = np.array([(high, low) for high in range(5) for low in range(5)], np.uint64)

    found = IdLookup(names).find(asked)

    for (high, low), row in zip(asked.tolist(), found.tolist(), strict=True):
        rows = [index for index, pair in enumerate(pairs) if pair == (high, low)]
        assert row == (rows[-1] if rows else -1)


@given(st.lists(st.tuples(st.text(max_size=5), st.sampled_from([None, "empty", "timeout"])), max_size=20))
def test_an_index_survives_its_file(entries):
    types = ["empty", "timeout"]
    codes = [types.index(kind) if kind else -1 for _, kind in entries]
    index = InputIndex(
        hash_ids([name for name, _ in entries]),
        np.arange(len(entries), dtype=np.uint64),
        np.array(codes, np.int16),
        types,
        np.arange(len(entries), dtype=np.uint64) * 7,
    )
    read = InputIndex.from_table(index.to_table())

    assert (read.ids == index.ids).all()
    assert (read.versions == index.versions).all()
    assert (read.contents == index.contents).all()
    older = InputIndex.from_table(index.to_table().drop_columns(["content"]))
    assert older.contents.tolist() == [0] * len(entries)
    kinds = [*read.error_types, None]
    assert [kinds[code] for code in read.error_codes] == [kind for _, kind in entries]


def test_names_are_16_bytes_of_blake2b_of_the_id():
    high, low = hash_ids(["a.jpg"])[0].tolist()
    assert f"{high:016x}{low:016x}" == hashlib.blake2b(b"a.jpg", digest_size=16).hexdigest()


def test_codes_of_versions_stay_since_the_indexes_of_outputs_hold_them():
    digest = hashlib.blake2b(b"etag", digest_size=8).hexdigest()

    assert f"{version_code('etag'):016x}" == digest
    assert version_code("") == 0


def test_a_look_up_tells_ids_apart_whose_first_halves_are_equal():
    names = np.array([(1, 9), (1, 2), (0, 5), (1, 7)], np.uint64)

    assert IdLookup(names).find(names).tolist() == [0, 1, 2, 3]
    assert IdLookup(names).ids.tolist() == [[0, 5], [1, 2], [1, 7], [1, 9]]
    assert IdLookup(names[:0]).find(names).tolist() == [-1] * 4


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_column_of_ids_is_hashed_whole_in_pieces_and_in_part(kind):
    ids = ["a", "b", "a", "c", "b"]
    array = pa.array(ids, pa.string()).cast(kind)
    whole = hash_ids(ids)

    assert (hash_column(array) == whole).all()
    assert (hash_column(pa.chunked_array([array[:2], array[2:]])) == whole).all()
    assert (hash_column(array[1:4]) == whole[1:4]).all()


def test_stored_ids_are_read_whole_and_in_part():
    ids = hash_ids(["a", "b", "c"])
    column = pa.chunked_array([ids_to_arrow(ids)])

    assert (ids_of(column) == ids).all()
    assert (ids_of(column[1:]) == ids[1:]).all()
    assert ids_of(column[:0]).shape == (0, 2)
    assert [field.nullable for field in INDEX_SCHEMA] == [False, False, True, False]
