"""One spelling for all references to a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from bulkinfer.transforms.storage.filesystems import canonical, is_relative


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("d/*.jpg", "{here}/d/*.jpg"),
        ("./d/./*.jpg", "{here}/d/*.jpg"),
        ("d//*.jpg", "{here}/d/*.jpg"),
        ("x/../d/**//*.jpg", "{here}/d/**/*.jpg"),
        ("{here}/d/*.jpg", "{here}/d/*.jpg"),
        ("/{here}//d/*.jpg", "{here}/d/*.jpg"),
        ("file://{here}/d/*.jpg", "{here}/d/*.jpg"),
        ("local://d/", "{here}/d"),
        ("~/d", "{here}/d"),
        ("*.jpg", "{here}/*.jpg"),
        ("", "{here}"),
        ("zip://./d//*.jpg::p.zip", "zip://d/*.jpg::{here}/p.zip"),
        ("tar://a.jpg::zip://./b.tar::file://{here}/c.zip", "tar://a.jpg::zip://b.tar::{here}/c.zip"),
        ("s3a://b//x/./a.jpg", "s3://b//x/./a.jpg"),  # a key of an object store is what it says
        ("https://h//a.jpg", "https://h//a.jpg"),
    ],
)
def test_all_spellings_of_a_place_become_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    there = expected.format(here=tmp_path)
    assert canonical(spelling.format(here=tmp_path), {}) == there
    assert canonical(there, {}) == there


def test_a_protocol_with_options_of_its_own_keeps_its_name() -> None:
    assert canonical("s3a://b/a.jpg", {"s3a": {"anon": True}}) == "s3a://b/a.jpg"


def test_links_keep_their_names_and_what_lies_above_them_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk/photos").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk/photos")
    assert canonical("link/*.jpg", {}) == f"{tmp_path}/link/*.jpg"
    assert canonical("link/../*.jpg", {}) == f"{tmp_path}/disk/*.jpg"


@pytest.mark.parametrize(
    ("uri", "relative"),
    [
        ("a.jpg", True),
        ("zip://a.jpg::p.zip", True),
        ("/a.jpg", False),
        ("s3://b/a.jpg", False),
        ("zip://a.jpg::/p.zip", False),
        ("data:text/plain,a", False),
    ],
)
def test_a_reference_says_whether_it_means_another_file_from_another_folder(uri: str, relative: bool) -> None:
    assert is_relative(uri) is relative
