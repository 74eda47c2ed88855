"""Paths of partitions: as readers of Hive partitions expect them, and never longer than the store takes."""

from __future__ import annotations

import datetime
import urllib.parse
from typing import Any

import pytest
from bulkinfer.transforms.kept.folders import folder_of, hive_path
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "__HIVE_DEFAULT_PARTITION__"),
        ("", "__HIVE_DEFAULT_PARTITION__"),
        (True, "true"),
        (7, "7"),
        (b"a=b", "a%3Db"),
        (datetime.datetime(2026, 1, 31, 12), "2026-01-31%2012%3A00%3A00"),
        (datetime.date(2026, 1, 31), "2026-01-31"),
    ],
)
def test_values_are_written_as_hive_reads_them(value: Any, text: str) -> None:
    assert folder_of("k", value) == f"k={text}"


@given(st.lists(st.text(max_size=400), min_size=1, max_size=5), st.integers(150, 1000))
def test_a_path_is_never_longer_than_the_store_takes(values: list[str], most: int) -> None:
    names = [f"k{number}" for number in range(len(values))]
    path = hive_path(names, values, most)
    folders = path.split("/")
    assert len(path.encode()) <= most
    assert [folder.partition("=")[0] for folder in folders] == names
    assert all(len(folder.encode()) <= 255 for folder in folders)
    for folder, value in zip(folders, values, strict=True):
        urllib.parse.unquote(folder, errors="strict")  # no character is cut in two
        if "~" not in folder and value:
            assert urllib.parse.unquote(folder.partition("=")[2]) == value


def test_paths_that_are_cut_stay_different() -> None:
    long = ["a" * 300 + end for end in "xy"]
    assert hive_path(["k"], long[:1]) != hive_path(["k"], long[1:])
    assert hive_path(["k", "l"], [long[0], "b"], 100) != hive_path(["k", "l"], [long[1], "b"], 100)
