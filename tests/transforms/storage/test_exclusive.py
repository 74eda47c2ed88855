"""A file is created only where there is none, by whoever comes first; and a probe tells where a store cannot."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.runs.record import begin_run, read_run
from bulkinfer.transforms.storage.exclusive import _is_taken
from bulkinfer.transforms.storage.store import Store
from support.s3_server import s3_server, s3_storage
from support.tables import make_spec


@pytest.fixture(scope="module")
def s3():
    with s3_server("exclusive") as server:
        yield s3_storage(server.url)


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(str(tmp_path))
    storage = request.getfixturevalue("s3")
    place = f"s3://exclusive/{os.urandom(4).hex()}"
    return Store(place, storage)


def test_the_first_content_stays(store):
    assert store.create_new("a/file", b"first")
    assert not store.create_new("a/file", b"second")
    assert store.read("a/file") == b"first"
    assert [entry.path for entry in store.find()] == ["a/file"]


def test_one_whose_answer_was_lost_has_won(store):
    store.create_new("file", b"mine")
    assert store.create_new("file", b"mine")


def test_of_many_at_once_one_wins(store):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.create_new("file", f"{n}".encode()), range(16)))
    assert won.count(True) == 1
    assert store.read("file") == f"{won.index(True)}".encode()


def test_a_run_records_that_its_store_decides(store):
    spec = make_spec(store.uri)
    assert begin_run(store, spec).creates_new
    record = read_run(store, spec.run_id)
    assert record is not None
    assert record.creates_new
    assert [entry.name for entry in store.find()] == ["run.json"]


def test_of_many_workers_that_begin_a_run_all_have_the_same_record(store):
    spec = make_spec(store.uri)
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda n: begin_run(store, spec, {"number": n}), range(8)))
    assert {str(record.job) for record in records} == {str(read_run(store, spec.run_id).job)}


def test_a_disk_without_hard_links_keeps_to_claims(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(str(tmp_path))
    record = begin_run(store, make_spec(store.uri))
    assert not record.creates_new
    assert [entry.name for entry in store.find()] == ["run.json"]
    with pytest.raises(StoreError, match="Operation not permitted"):
        store.create_new("file", b"x")


def test_a_store_that_ignores_the_condition_keeps_to_claims(s3):
    class Old(Store):
        def create_new(self, path, data):
            self.write(path, data)
            return True

    store = Old("s3://exclusive/old", s3)
    assert not begin_run(store, make_spec(store.uri)).creates_new


def test_a_store_of_another_kind_keeps_to_claims():
    store = Store("memory://exclusive")
    assert not begin_run(store, make_spec(store.uri)).creates_new


class _HttpError(Exception):
    code = 412


@pytest.mark.parametrize(
    ("error", "taken"),
    [(_HttpError("Precondition"), True), (FileExistsError("there"), True), (OSError(22, "Invalid"), False)],
    ids=["gcs", "s3", "other"],
)
def test_what_drivers_say_of_a_name_that_is_taken(error, taken):
    assert _is_taken(error) is taken
