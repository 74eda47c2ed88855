"""Ids of labels begin at 1, never change, and are those of a person's own list where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from bulkinfer.transforms.errors import ConfigError, StoreError
from bulkinfer.transforms.exports.categories import UNNAMED, Categories
from bulkinfer.transforms.exports.splits import parse_splits
from bulkinfer.transforms.storage.store import Store
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=2)), max_size=5), max_size=4))
def test_ids_only_grow(nights: list[list[str | None]]) -> None:
    categories, before = Categories({}), {}
    for labels in nights:
        grew = categories.learn(labels)
        assert grew == (len(categories.ids) > len(before))
        assert {label: categories.ids[label] for label in before} == before
        before = dict(categories.ids)
    assert sorted(before.values()) == list(range(1, len(before) + 1))
    assert set(before) == {label or UNNAMED for labels in nights for label in labels}


def test_they_are_kept_beside_the_tables(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = Categories.of_output(store)
    first.learn(["dog", "cat", None])
    first.keep(store)
    again = Categories.of_output(store)
    assert again.listed == [
        {"id": 1, "name": "cat", "supercategory": ""},
        {"id": 2, "name": "dog", "supercategory": ""},
        {"id": 3, "name": UNNAMED, "supercategory": ""},
    ]
    assert again.id_of(None) == 3
    (tmp_path / "_categories.json").write_text("[]")
    with pytest.raises(StoreError, match="is no list of categories"):
        Categories.of_output(store)


@pytest.mark.parametrize(
    "text",
    [
        "cat\n\ndog\n",
        '["cat", "dog"]',
        '{"cat": 1, "dog": 2}',
        '[{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]',
    ],
)
def test_a_persons_own_list_fixes_names_and_ids(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names"
    path.write_text(text)
    categories = Categories.of_file(path)
    assert categories.ids == {"cat": 1, "dog": 2}
    assert not categories.learn(["dog"])
    with pytest.raises(ConfigError, match="the list lacks 'bird', 'object'; add what it lacks"):
        categories.learn(["bird", None])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ncat\n", "'cat' or its id 2 comes twice"),
        ('{"cat": 0}', "entry 1 is no name, or its id is no number from 1"),
        ('{"cat": 1, "dog": 1}', "'dog' or its id 1 comes twice"),
        ("[1]", "entry 1 is no name"),
        ('{"cat":', "no JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "names"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Categories.of_file(path)


def test_an_input_stays_in_its_split_and_shares_are_kept() -> None:
    splits = parse_splits("0.8/0.1/0.1")
    found = [splits.of(f"s3://b/{number}.jpg") for number in range(4000)]
    assert [found.count(name) / 4000 for name in ("train", "val", "test")] == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.02
    )
    assert found == [parse_splits("8/1/1").of(f"s3://b/{number}.jpg") for number in range(4000)]
    assert parse_splits("1/1").names == ("train", "val")
    assert parse_splits(None).of("a") == ""
    assert {parse_splits("0/1").of(f"{number}") for number in range(50)} == {"val"}


@pytest.mark.parametrize("text", ["", "1", "0/0", "a/b", "1/1/1/1", "-1/2", "nan/1", "inf/1"])
def test_what_are_no_shares_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write the shares of train, val and test"):
        parse_splits(text)
