"""Batches by count and by bytes."""

from __future__ import annotations

import math
import time

import pytest
from bulkinfer.transforms.calls.batching import Batcher, cut, even_batch_size
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 60)), st.integers(1, 8), st.integers(1, 100))
def test_cut_keeps_every_item_in_order_within_both_limits(
    sizes: list[int], max_count: int, max_bytes: int
) -> None:
    items = list(enumerate(sizes))

    batches = list(cut(items, max_count, max_bytes, lambda item: item[1]))

    assert [item for batch in batches for item in batch] == items
    for batch in batches:
        assert 1 <= len(batch) <= max_count
        assert len(batch) == 1 or sum(size for _, size in batch) <= max_bytes


def test_an_oversized_input_goes_alone_and_closes_the_batch_before_it() -> None:
    batcher: Batcher[str] = Batcher(10, 100)

    assert batcher.add("small", 10) == []
    assert batcher.add("huge", 500) == [["small"], ["huge"]]
    assert batcher.flush() == []


def test_the_open_batch_is_as_old_as_its_first_input() -> None:
    batcher: Batcher[int] = Batcher(10, 100)
    assert batcher.since == math.inf
    batcher.add(1, 1)
    time.sleep(0.05)
    batcher.add(2, 1)

    assert batcher.since <= time.monotonic() - 0.05
    assert batcher.flush() == [1, 2]
    assert batcher.since == math.inf


@pytest.mark.parametrize(
    ("batch_size", "per_second", "even"),
    [(32, None, 32), (32, 1000, 31), (32, 100, 25), (32, 40, 20), (8, 3, 3)],
)
def test_batches_that_use_up_an_allowance_of_inputs(
    batch_size: int, per_second: float | None, even: int
) -> None:
    assert even_batch_size(batch_size, per_second) == even
