"""Packs give back the references they were made from, and fit the source."""

from __future__ import annotations

import datetime

from bulkinfer.transforms.records import MEDIA_TYPES, Reference
from bulkinfer.transforms.runs.chunks import MAX_CHUNK, Chunker, from_chunk, to_chunk
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.one_of(
    st.none(), st.text(max_size=5), st.integers(), st.just(datetime.datetime(2026, 1, 1)), st.just([1.5])
)
REFERENCES = st.builds(
    Reference,
    input_id=st.text(max_size=8),
    uri=st.none() | st.text(max_size=8),
    media_type=st.sampled_from(MEDIA_TYPES),
    version=st.sampled_from(["", "etag:1"]),
    size=st.none() | st.integers(0, 5),
    inline=st.none() | st.binary(max_size=4) | st.text(max_size=4),
    columns=st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3),
    place=st.sampled_from(["", "refs.csv:1"]),
)


@given(st.lists(REFERENCES, min_size=1, max_size=12))
def test_a_pack_gives_back_its_references(references: list[Reference]) -> None:
    assert list(from_chunk(to_chunk(references))) == references


@given(st.integers(0, 3000), st.booleans())
def test_chunks_hold_every_reference_once_in_order(count: int, known: bool) -> None:
    references = [Reference(str(index), str(index), "text") for index in range(count)]
    chunker = Chunker(count if known else 0)
    chunks = [full for reference in references if (full := chunker.add(reference))]
    chunks.append(chunker.flush())
    assert [reference for full in chunks for reference in full] == references
    assert max(map(len, chunks)) <= max(1, min(MAX_CHUNK, 1 + count // 16))


def test_few_references_travel_alone() -> None:
    for expected in (0, 20):
        chunker = Chunker(expected)
        assert [len(chunker.add(Reference(str(i), None, "text")) or []) for i in range(20)] == [1] * 20


def test_a_reference_costs_few_bytes() -> None:
    references = [
        Reference(
            f"s3://bucket/photos/2024/{i:08d}.jpg",
            f"s3://bucket/photos/2024/{i:08d}.jpg",
            "image",
            f"size:{i}",
        )
        for i in range(MAX_CHUNK)
    ]
    assert len(to_chunk(references)) / MAX_CHUNK < 20
