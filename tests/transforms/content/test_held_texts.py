"""Texts that come with their references: many at once as one by one."""

from __future__ import annotations

from typing import Any

import pytest
from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.content.held_texts import held_texts
from bulkinfer.transforms.content.versions import hashed_version
from bulkinfer.transforms.records import Reference
from hypothesis import given
from hypothesis import strategies as st

MOST = 40


def reference(number: int, text: str, version: str | None = None, **other: Any) -> Reference:
    return Reference(
        f"i{number}",
        None,
        "text",
        version=hashed_version(text) if version is None else version,
        inline=text,
        columns={"n": number},
        place=f"texts.csv:{number}",
        **other,
    )


def one_by_one(references: list[Reference]) -> list[Any]:
    fetcher = Fetcher(max_bytes=MOST, storage={})
    return [fetcher.content(one) for one in references]


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5), st.booleans())
def test_many_are_as_one_by_one(texts: list[str], given_version: bool) -> None:
    references = [
        reference(number, text, "given:7" if given_version else None) for number, text in enumerate(texts)
    ]
    found = held_texts(references, MOST)
    if found is None:  # a byte order mark, which is no part of a text
        assert any(text.startswith("\ufeff") for text in texts)
    else:
        assert found == one_by_one(references)


def test_aliases_stay() -> None:
    alias = reference(1, "a")
    (found,) = held_texts([reference(0, "a", aliases=(alias,))], MOST) or []
    assert found.reference.aliases == (alias,)


@pytest.mark.parametrize(
    "odd",
    [
        reference(1, ""),
        reference(1, "x" * (MOST + 1)),
        reference(1, "\ufeffa"),
        reference(1, "half \ud800"),
        reference(1, "a", version=""),
        reference(1, "a", version="etag:1"),
        Reference("i1", None, "image", hashed_version(b"a"), inline="a"),
        Reference("i1", None, "text", hashed_version(b"a"), inline=b"a"),
        Reference("i1", "a.txt", "text", hashed_version(b"a")),
    ],
    ids=["empty", "long", "byte order mark", "surrogate", "no version", "etag", "image", "bytes", "file"],
)
def test_one_that_is_odd_is_looked_at_alone(odd: Reference) -> None:
    assert held_texts([reference(0, "a"), odd], MOST) is None


def test_the_longest_that_is_allowed_is_no_odd_one() -> None:
    assert held_texts([reference(0, "x" * MOST)], MOST) is not None
