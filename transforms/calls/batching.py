"""Cuts inputs into batches by count and by bytes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ..records import Reference
from .endpoint import Encoded

__all__ = ["Batcher", "Item", "cut", "even_batch_size"]

T = TypeVar("T")


@dataclasses.dataclass(slots=True, eq=False)
class Item:
    """One encoded input of a batch, with what the engine notes about it.

    Attributes:
        reference: the input.
        encoded: what the endpoint's session sends of it.
        token: the caller's own value; returned with the result.
        width: pixels, of an image; None when unknown.
        height: pixels, of an image; None when unknown.
        orientation: EXIF's number of an image; None when it says none.
        attempts: calls in which it was sent.
        deadlines: calls among these that had no answer within their deadline.
        late_since: calls of all batches that had succeeded when the first of these began.
        has_result: True once its prediction or failure was emitted.
    """

    reference: Reference
    encoded: Encoded
    token: Any = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    attempts: int = 0
    deadlines: int = 0
    late_since: int = 0
    has_result: bool = False


class Batcher(Generic[T]):
    """Collects inputs until a batch is full.

    No batch holds more than `max_count` inputs, and none more than `max_bytes` unless a single input is
    larger by itself: that one goes alone.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._items: list[T] = []
        self._nbytes = 0
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def since(self) -> float:
        """When the first input of the open batch was added, in monotonic seconds; infinite when it is empty."""
        return self._since if self._items else math.inf

    def add(self, item: T, nbytes: int) -> list[list[T]]:
        """Add one input; return the batches that it completes: none, one or two."""
        return self.extend([item], [nbytes])

    def extend(self, items: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
        """Add inputs of so many bytes each; return the batches that they complete."""
        complete = []
        for item, nbytes in zip(items, sizes, strict=True):
            if self._items and self._nbytes + nbytes > self._max_bytes:
                complete.append(self.flush())
            if not self._items:
                self._since = time.monotonic()
            self._items.append(item)
            self._nbytes += nbytes
            if len(self._items) >= self._max_count or self._nbytes >= self._max_bytes:
                complete.append(self.flush())
        return complete

    def flush(self) -> list[T]:
        """Return the open batch, which may be empty, and begin a new one."""
        items, self._items, self._nbytes = self._items, [], 0
        return items


def cut(
    items: Iterable[T], max_count: int, max_bytes: int, size: Callable[[T], int]
) -> Iterator[Sequence[T]]:
    """Cut `items` into batches, in order; every item is in exactly one of them."""
    batcher: Batcher[T] = Batcher(max_count, max_bytes)
    for item in items:
        yield from batcher.add(item, size(item))
    if batch := batcher.flush():
        yield batch


def even_batch_size(batch_size: int, inputs_per_second: float | None) -> int:
    """The largest batch size that uses up an allowance of inputs a second.

    With 100 inputs a second, batches of 32 leave 4 of them unused in every window, batches of 25 none.
    """
    if inputs_per_second is None:
        return batch_size
    allowed = max(1, int(inputs_per_second))
    batches = -(-allowed // batch_size)
    return max(1, min(batch_size, allowed // batches))
