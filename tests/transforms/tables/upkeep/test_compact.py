"""`compact`: few files with the same rows, an index of what they hold, a history; killed anywhere it is repaired."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path

import pytest
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.runs.record import list_runs
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit import commit as commit_module
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.dropped import write_dropped
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.input_index import hash_ids
from bulkinfer.transforms.tables.upkeep import compact as compact_module
from bulkinfer.transforms.tables.upkeep.compact import compact, needs_compacting
from support.s3_server import s3_server
from support.tables import Killed, failure, make_spec, prediction, rows_seen, stage

TABLES = ("predictions", "masks", "errors")
NAME = "20260201T000000Z-c0ffee"


def night(uri, number, rows, *, drop=(), complete=True, **changes):
    """One run that does these rows, and drops these inputs."""
    spec = make_spec(uri, f"20260131T12{number:04d}Z-00000{number % 10}", **changes)
    store = spec.store()
    stage(spec, [rows])
    if drop:
        write_dropped(store, spec.run_id, hash_ids(list(drop)))
    commit_run(store, spec.run_id, complete=complete)
    return spec


def three_nights(uri, **changes):
    """Inputs that were done, done again, failed, tried again, dropped; the last night's stand apart."""
    first = [prediction(f"a{n}", city="Bern", masks=2) for n in range(4)]
    night(uri, 1, [*first, failure("f1"), failure("f2")], **changes)
    night(
        uri,
        2,
        [prediction("a1", text="again", city="Basel"), prediction("f1", city="Bern")],
        drop=["a3"],
        **changes,
    )
    return night(uri, 3, [prediction("b0", city="Bern", masks=1)], **changes)


def seen(store):
    """All rows, without where they lie."""
    found = {}
    for table in TABLES:
        found[table] = [{k: v for k, v in row.items() if k != "file"} for row in rows_seen(store, table)]
    return found


def left(spec, names, **changes):
    asked = CompletedSpec.of(make_spec(spec.uri, "20260301T000000Z-000009", storage=spec.storage, **changes))
    return [one.input_id for one in asked.remaining([prediction(name).reference for name in names])]


@pytest.mark.parametrize("partition_by", [(), ("city",)], ids=["plain", "partitioned"])
def test_rows_are_the_same_in_fewer_files_and_runs_know_what_is_done(tmp_path, partition_by):
    spec = three_nights(str(tmp_path / "out"), partition_by=partition_by)
    store = spec.store()
    before = seen(store)

    done = compact(store, NAME, 1_000_000)

    assert seen(store) == before
    assert (done.runs_folded, done.files_after) == (2, done.files_before - 1)
    names = ["a0", "a1", "a2", "a3", "f1", "f2", "b0", "new"]
    assert left(spec, names) == ["a3", "new"]  # a3 was dropped
    assert left(spec, names, fingerprint="two") == names
    first = ["20260131T120001Z-000001", "20260131T120002Z-000002"]
    assert [run.run_id for run in list_runs(store)] == [*first, NAME, spec.run_id]
    assert not {run_id for run_id in first if (tmp_path / "out" / "_runs" / run_id).exists()}


def test_later_runs_replace_drop_and_fold_what_was_compacted(tmp_path):
    uri = str(tmp_path / "out")
    store = three_nights(uri).store()
    compact(store, NAME, 1_000_000)

    night(uri, 4, [prediction("a0", text="new", masks=1), prediction("f2")], drop=["a2"])
    spec = night(uri, 5, [prediction("c0")])
    compact(store, NAME.replace("c0ffee", "c0ffe1"), 1_000_000)

    assert [row["input_id"] for row in rows_seen(store, "predictions")] == [
        "a0",
        "a1",
        "b0",
        "c0",
        "f1",
        "f2",
    ]
    assert [row["text"] for row in rows_seen(store, "predictions")][:2] == ["new", "again"]
    assert [row["input_id"] for row in rows_seen(store, "masks")] == ["a0", "b0"]
    assert not rows_seen(store, "errors")
    assert left(spec, ["a0", "a1", "a2", "b0", "c0", "f1", "f2"]) == ["a2"]
    assert {run.folded_into for run in list_runs(store)} == {"", "20260201T000000Z-c0ffe1"}


def test_rows_of_two_jobs_stay_apart_and_each_is_known_to_its_own(tmp_path):
    uri = str(tmp_path / "out")
    night(uri, 1, [prediction("a"), prediction("b")])
    night(uri, 2, [prediction("a", text="two")], fingerprint="two", beside=True)
    spec = night(uri, 3, [prediction("b", text="two")], fingerprint="two", beside=True)
    night(uri, 4, [prediction("c")])
    store = spec.store()
    before = seen(store)

    compact(store, NAME, 1_000_000)

    assert seen(store) == before
    assert len(before["predictions"]) == 5
    own = CompletedSpec.of(make_spec(uri, "next", fingerprint="two"), on_change="keep_both")
    assert [one.input_id for one in own.remaining([prediction(name).reference for name in "abc"])] == ["c"]
    night(uri, 5, [prediction("a", text="third")], fingerprint="three", beside=True)
    texts = [row["text"] for row in rows_seen(store, "predictions") if row["input_id"] == "a"]
    assert sorted(texts) == ["about a", "third", "two"]
    night(uri, 6, [prediction("a", text="last")])
    assert [row["text"] for row in rows_seen(store, "predictions") if row["input_id"] == "a"] == ["last"]


class Deadly(Store):
    """A store that is killed before its n-th change, the two renames of a directory among them."""

    def __init__(self, uri, storage, before=None):
        super().__init__(uri, storage)
        self.before, self.changes = before, itertools.count()

    def change(self):
        if next(self.changes) == self.before:
            raise Killed

    def write(self, path, data):
        self.change()
        super().write(path, data)

    def create(self, path, write):
        self.change()
        return super().create(path, write)

    def copy(self, source, target):
        self.change()
        super().copy(source, target)

    def move(self, source, target):
        self.change()
        super().move(source, target)

    def remove(self, path):
        self.change()
        super().remove(path)

    def remove_tree(self, path):
        self.change()
        super().remove_tree(path)


def swap_in_steps(store):
    """`swap_directory`, one killable rename after the other."""

    def swap(new, place):
        old = new.with_name(f"{new.name}-old")
        if not new.is_dir():
            return
        if place.is_dir() and not old.exists():
            store.change()
            place.rename(old)
        store.change()
        new.rename(place)

    return swap


def killed_everywhere(storage, again, monkeypatch=None, step=1):
    """Compact a copy of the output, killed before each of its changes in turn, then repaired by the next start."""
    for before in itertools.count(0, step):
        store = again(before)
        expected = seen(store)
        deadly = Deadly(store.uri, storage, before)
        if monkeypatch is not None:
            monkeypatch.setattr(commit_module, "swap_directory", swap_in_steps(deadly))
        lived = False
        with contextlib.suppress(Killed):
            compact(deadly, NAME, 1_000_000)
            lived = True
        deadly.before = None
        recover(deadly)
        assert seen(store) == expected, before
        spec = make_spec(store.uri, "20260301T000000Z-000009", storage=storage)
        names = ["a0", "a1", "a2", "a3", "f1", "f2", "b0", "new"]
        assert left(spec, names) == ["a3", "new"], before
        if lived:
            return before
        compact(Store(store.uri, storage), NAME.replace("c0ffee", "c0ffe1"), 1_000_000)
        assert seen(store) == expected, before
        assert left(spec, names) == ["a3", "new"], before
    raise AssertionError


def test_killed_anywhere_on_a_disk_it_is_repaired_by_the_next_start(tmp_path, monkeypatch):
    three_nights(str(tmp_path / "first"))

    def again(number):
        shutil.copytree(tmp_path / "first", tmp_path / f"out{number}")
        return Store(str(tmp_path / f"out{number}"))

    assert killed_everywhere({}, again, monkeypatch) > 15


def test_killed_anywhere_on_an_object_store_it_is_repaired_by_the_next_start():
    with s3_server("lake") as server:

        def again(number):
            return three_nights(f"s3://lake/out{number}", storage=server.storage).store()

        assert killed_everywhere(server.storage, again, step=9) > 15


def test_what_is_not_whole_is_left_alone(tmp_path):
    uri = str(tmp_path / "out")
    store = three_nights(uri).store()
    unfinished = make_spec(uri, "20260131T130000Z-000001")
    stage(unfinished, [[prediction("x")]])
    with pytest.raises(StoreError, match=r"the run is not committed; start its job again, then compact"):
        compact(store, NAME, 1_000_000)
    commit_run(store, unfinished.run_id)
    next(Path(uri, "predictions").glob("part-20260131T120001Z-*.parquet")).unlink()
    with pytest.raises(StoreError, match=r"is gone, and with it the rows of its inputs; start the job again"):
        compact(store, NAME, 1_000_000)


def test_an_output_asks_for_it_when_it_has_many_runs_or_small_files(tmp_path, monkeypatch):
    uri = str(tmp_path / "out")
    store = three_nights(uri).store()
    assert not needs_compacting(store, 1_000_000)
    monkeypatch.setattr(compact_module, "_MOST_RUNS", 2)
    assert needs_compacting(store, 1_000_000)
    compact(store, NAME, 1_000_000)
    assert not needs_compacting(store, 1_000_000)
