"""Files are whole or not there, on every kind of store, and faults that pass are waited for."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys

import pytest
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.storage import faults as store_faults
from bulkinfer.transforms.storage.faults import is_transient, redact, store_error
from bulkinfer.transforms.storage.store import Store
from support.s3_server import s3_server
from support.tables import temporary_output


@pytest.fixture(scope="module")
def s3():
    with s3_server("tables") as server:
        yield server


@pytest.fixture(params=["local", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(str(tmp_path / "out"))
    if request.param == "memory":
        return Store(temporary_output())
    server = request.getfixturevalue("s3")
    return Store(f"s3://tables/{tmp_path.name}", server.storage)


def test_what_is_written_is_read_listed_and_found(store):
    store.write("a/b.txt", b"hi")
    store.create("a/c/d.bin", lambda file: file.write(b"x" * 100))

    assert store.read("a/b.txt") == b"hi"
    assert [(entry.path, entry.size) for entry in store.files("a")] == [("a/b.txt", 2)]
    assert store.directories("a") == ["a/c"]
    assert [entry.path for entry in store.find()] == ["a/b.txt", "a/c/d.bin"]
    assert store.info("a/c/d.bin").size == 100
    assert store.read_range("a/b.txt", 1, 2) == b"i"


def test_a_file_can_be_replaced_moved_copied_and_removed(store):
    store.write("a", b"one")
    store.write("a", b"two")
    store.write("taken", b"old")
    store.move("a", "taken")
    store.copy("taken", "b/copy")

    assert store.read("taken") == store.read("b/copy") == b"two"
    assert not store.exists("a")
    store.remove("taken")
    store.remove("taken")
    store.remove_tree("b")
    store.remove_tree("b")
    assert store.find() == []


def test_what_is_missing_is_missing(store):
    assert store.info("nothing") is None
    assert store.files("nothing") == store.find("nothing") == store.directories("nothing") == []
    for read in (store.read, store.open):
        with pytest.raises(FileNotFoundError):
            read("nothing")


def test_a_writer_that_fails_leaves_nothing(store):
    def half(file):
        file.write(b"half of it")
        raise StoreError("the writer gave up")

    with pytest.raises(StoreError, match="the writer gave up"):
        store.create("a", half)
    assert store.find() == []


def test_a_reader_seeks(store):
    store.write("a", b"0123456789")
    with store.open("a") as file:
        file.seek(-3, os.SEEK_END)
        assert file.read(2) == b"78"
        file.seek(1)
        assert file.read() == b"123456789"


def test_listings_are_never_stale(s3):
    mine = Store("s3://tables/stale", s3.storage)
    theirs = Store("s3://tables/stale", {**s3.storage, "use_listings_cache": True})
    assert theirs.files("a") == mine.files("a") == []
    mine.write("a/1", b"")
    assert [entry.path for entry in theirs.files("a")] == ["a/1"]


def test_a_directory_marker_is_no_file(s3):
    store = Store("s3://tables/marked", s3.storage)
    s3.filesystem().call_s3("put_object", Bucket="tables", Key="marked/a/", Body=b"")
    store.write("a/1", b"x")

    assert [entry.path for entry in store.files("a")] == ["a/1"]
    assert [entry.path for entry in store.find()] == ["a/1"]
    assert store.directories() == ["a"]


def test_requests_that_fail_now_and_then_are_tried_again():
    with s3_server("shaky", failing=0.1, seed=7) as server:
        store = Store("s3://shaky/out", server.storage)
        for number in range(15):
            store.write(f"{number}", b"x" * number)
        assert [len(store.read(f"{number}")) for number in range(15)] == list(range(15))
        assert server.failed > 1


def test_a_store_survives_pickling_and_a_fork(tmp_path):
    store = pickle.loads(pickle.dumps(Store(str(tmp_path), {"auto_mkdir": True})))
    store.write("a", b"parent")
    child = os.fork()
    if not child:
        store.write("b", b"child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read("b") == b"child"


def test_a_relative_path_means_the_directory_in_which_it_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("out")
    monkeypatch.chdir("/")
    store.write("a", b"")
    assert (tmp_path / "out" / "a").exists()


def test_a_full_disk_is_told_with_its_fix(tmp_path):
    code = f"""
import resource
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    Store({str(tmp_path)!r}).write("a", b"x" * 5000)
except StoreError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cannot write" in said
    assert "the disk is full, or over its quota: free some space or set another place" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nosuch://x", "cannot open nosuch://x: Protocol not known: nosuch; check the address"),
        ("/proc/nothing", r"cannot write /proc/nothing/a: .*; check that the place, and the bucket, exist"),
        ("s3://tables-that-nobody-made/x", "cannot write s3://tables-that-nobody-made/x/a: "),
    ],
)
def test_faults_that_last_are_told_at_once(uri, message, s3):
    storage = s3.storage if uri.startswith("s3") else {}
    with pytest.raises(StoreError, match=message):
        Store(uri, storage).write("a", b"")


def test_a_store_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(store_faults, "ATTEMPTS", 2)
    storage = {
        "key": "a-secret-key",
        "secret": "b-secret",
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"},
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    with pytest.raises(StoreError, match="the store gave no good answer in 2 attempts") as told:
        Store("s3://bucket/x", storage).write("a", b"")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("error", "local", "passes"),
    [
        (TimeoutError(), False, True),
        (ConnectionResetError(), False, True),
        (OSError(errno.EBUSY, "slow down"), False, True),
        (RuntimeError("a driver's own"), False, True),
        (PermissionError(), False, False),
        (OSError(errno.ENOSPC, "full"), False, False),
        (ValueError(), False, False),
        (OSError(errno.EIO, "broken disk"), True, False),
        (OSError(errno.ESTALE, "network mount"), True, True),
    ],
)
def test_only_faults_that_pass_are_tried_again(error, local, passes):
    assert is_transient(error, local=local) == passes


def test_secrets_are_hidden():
    text = redact("PUT https://me:hunter2@host/x?X-Sig=abc failed for KEY123", {"key": "KEY123"})
    assert text == "PUT https://***@host/x?*** failed for ***"
    assert "abc" not in str(store_error("read", "https://h/x?sig=abc", OSError("x")))


def test_options_that_do_not_fit_are_told(s3):
    with pytest.raises(
        StoreError, match=r"cannot list s3://b/x/.*; check the address and the storage options"
    ):
        Store("s3://b/x", {**s3.storage, "no_such_option": 1}).files("a")
