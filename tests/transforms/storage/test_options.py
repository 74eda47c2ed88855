"""Options that each worker reads for itself: they open stores, and never travel with a job."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.errors import SourceError, StoreError
from bulkinfer.transforms.runs.job_text import without_secrets
from bulkinfer.transforms.storage.faults import redact
from bulkinfer.transforms.storage.filesystems import Filesystems
from bulkinfer.transforms.storage.options import filled_in
from bulkinfer.transforms.storage.store import Store
from support.s3_server import s3_server


def test_values_are_read_where_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    monkeypatch.setenv("W_KEY", "hunter3")
    options = {
        "s3": {"key": {"env": "W_KEY"}, "secret": {"file": str(tmp_path / "secret")}, "anon": False},
        "file": {"auto_mkdir": True},
    }

    assert filled_in(options) == {
        "s3": {"key": "hunter3", "secret": "hunter2", "anon": False},
        "file": {"auto_mkdir": True},
    }
    assert redact("hunter2 or hunter3 of W_KEY", options) == "*** or *** of W_KEY"
    assert without_secrets(options) == options  # nothing to warn of: no secret is in it


def test_a_store_is_opened_by_what_its_own_machine_holds_and_no_copy_of_it_carries_the_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with s3_server("lists") as s3:
        monkeypatch.setenv("W_SECRET", "hunter2")
        storage = {**s3.storage, "secret": {"env": "W_SECRET"}}
        store = Store("s3://lists/out", storage)
        store.write("a.txt", b"hi")
        filesystem, path = Filesystems(storage).open("s3://lists/out/a.txt")
        assert (store.read("a.txt"), filesystem.cat_file(path)) == (b"hi", b"hi")
        for travels in (store, LoadContent(storage=storage)):
            assert b"W_SECRET" in pickle.dumps(travels)
            assert b"hunter2" not in pickle.dumps(travels)


def test_what_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    fault = "the option 'key' is read from the environment variable W_NONE, which is not set here"
    with pytest.raises(SourceError, match=f"source.storage: {fault}"):
        Filesystems({"key": {"env": "W_NONE"}}).open("s3://b/a")
    with pytest.raises(StoreError, match=f"output.storage: {fault}"):
        Store("s3://b/out", {"key": {"env": "W_NONE"}}).exists("a")
    with pytest.raises(ValueError, match=r"the file .*none, which cannot be read here: No such file"):
        filled_in({"key": {"file": str(tmp_path / "none")}})
