"""Contents are loaded by lists: at once where that is quick, ahead where a store takes its time, until a pass ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
from bulkinfer.transforms.content.loader import Loader, LoadOptions
from bulkinfer.transforms.content.versions import hashed_version
from bulkinfer.transforms.records import Content, Failure, Reference


@pytest.fixture
def remote() -> list[Reference]:
    """Files of a store that is no local disk, which is read ahead."""
    store = fsspec.filesystem("memory")
    for number in range(200):
        store.pipe(f"/ahead/{number}.txt", b"x")
    return [Reference(str(number), f"memory://ahead/{number}.txt", "text") for number in range(200)]


def load(loader: Loader, references: list[Reference]) -> list[list[tuple[Any, Any]]]:
    tokens = [one.input_id for one in references]
    return [*loader.load(references, tokens), *loader.finish()]


def held(name: str, text: str) -> Reference:
    return Reference(name, None, "text", version=hashed_version(text), inline=text)


def test_each_reference_comes_back_with_its_token(remote: list[Reference], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    local = Reference("local", str(tmp_path / "a.txt"), "text")
    gone = Reference("gone", str(tmp_path / "gone.txt"), "text")
    loader = Loader(LoadOptions())
    loader.begin()

    found = [one for some in load(loader, [local, *remote, held("held", "h"), gone]) for one in some]

    assert all(token == value.reference.input_id for token, value in found)
    assert len(found) == 203
    assert [token for token, value in found if isinstance(value, Failure)] == ["gone"]
    assert {value.data for _, value in found if isinstance(value, Content)} == {b"a", b"x", b"h"}


def test_texts_that_come_with_their_references_are_one_list() -> None:
    loader = Loader(LoadOptions())
    loader.begin()
    (some,) = load(loader, [held("a", "1"), held("b", ""), held("c", "3")])
    assert [type(value) for _, value in some] == [Content, Failure, Content]


def test_local_files_are_handed_on_some_at_a_time(tmp_path: Path) -> None:
    references = []
    for number in range(100):
        (tmp_path / f"{number}.txt").write_text("x")
        references.append(Reference(str(number), str(tmp_path / f"{number}.txt"), "text"))
    loader = Loader(LoadOptions())
    loader.begin()
    lists = load(loader, references)
    assert sum(map(len, lists)) == 100
    assert max(map(len, lists)) <= 32


def test_content_that_was_fetched_ahead_is_handed_back(remote: list[Reference]) -> None:
    """The pass ends while the first is on its way further."""
    loader, over = Loader(LoadOptions()), False
    loader.begin(lambda: over)
    begun, left = [], []

    for references in (remote[:50], remote[50:]):
        for some in loader.load(references, references):
            begun += [value for _, value in some if isinstance(value, Content)]
            left += [value for _, value in some if isinstance(value, Reference)]
            over = True
    for some in loader.finish():
        left += [value for _, value in some]

    assert 0 < len(begun) < 20
    assert sorted([*(one.reference.input_id for one in begun), *(one.input_id for one in left)]) == sorted(
        one.input_id for one in remote
    )


def test_content_that_comes_with_its_reference_is_never_handed_back() -> None:
    loader = Loader(LoadOptions())
    loader.begin(lambda: True)
    (some,) = load(loader, [held("a", "1")])
    assert isinstance(some[0][1], Content)
