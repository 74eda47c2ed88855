"""Fetching ahead: threads that read while the calls are under way, bounded by count and bytes.

Who fetches ahead holds what it fetched. Each `Prefetcher` bounds its own inputs under way; the bytes are
bounded for the whole process, whatever the number of its bundles. A Prefetcher that has nothing under way is
always let through, so that no two can wait for each other.

A fetch that takes long gives its place to another, so that files that come slowly never keep all others waiting.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from ..errors import ReadError
from ..records import Content, Reference
from ..storage.filesystems import local_path

__all__ = ["Budget", "Prefetcher", "process_budget"]

T = TypeVar("T")

#: Fetches at once, those aside that take long.
PLACES = 32
#: A fetch that takes longer than so many seconds counts as one that takes long.
SLOW_S = 2.0
#: So many of one bundle may go on beside the others.
ASIDE = 512
_THREADS = 2 * ASIDE
#: What an input counts before its size is known.
_UNKNOWN_BYTES = 1 << 20
#: A local read takes less time than handing it to a thread, so several go together.
_LOCAL_GROUP = 8


class Budget:
    """Bytes that may be held at once, for all threads of a process."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._lock = threading.Lock()

    def take(self, nbytes: int, *, force: bool = False) -> bool:
        """Count bytes as held, if the budget allows it or it must be."""
        with self._lock:
            if not force and self.held + nbytes > self.limit:
                return False
            self.held += nbytes
            return True

    def give(self, nbytes: int) -> None:
        """Count bytes as held no longer; a negative number takes more."""
        with self._lock:
            self.held -= nbytes


class Places:
    """So many fetches at once, for all threads of a process; one that takes long gives its place to another."""

    def __init__(self, count: int, slow_s: float) -> None:
        self._count, self._slow_s = count, slow_s
        self._since: dict[int, float] = {}  # the first one is the oldest
        self._changed = threading.Condition()

    def enter(self, fetch: int) -> None:
        """Wait for a place."""
        with self._changed:
            while True:
                now = time.monotonic()
                while self._since and next(iter(self._since.values())) <= now - self._slow_s:
                    del self._since[next(iter(self._since))]
                if len(self._since) < self._count:
                    self._since[fetch] = now
                    return
                self._changed.wait(next(iter(self._since.values())) + self._slow_s - now)

    def leave(self, fetch: int) -> None:
        """Give the place back, if it was not given away."""
        with self._changed:
            self._since.pop(fetch, None)
            self._changed.notify()


class Prefetcher(Generic[T]):
    """Runs fetches in threads and gives their results in the order in which they finish.

    Not thread-safe itself: one bundle has one.

    Args:
        fetch: called in a thread; a ReadError is a result, anything else is raised by `finished`.
        count: most inputs under way, those aside that take long.
        budget: bytes, shared.
    """

    def __init__(self, fetch: Callable[[Reference], Content], *, count: int, budget: Budget) -> None:
        self._fetch, self._count, self._budget = fetch, count, budget
        self._done: queue.SimpleQueue[tuple[T, Reference, Any, int]] = queue.SimpleQueue()
        self._group: list[tuple[T, Reference, int]] = []
        self._pending = 0
        self._began: dict[int, float] = {}  # remote fetches under way
        self._cancelled = threading.Event()

    @property
    def pending(self) -> int:
        """Inputs under way, finished ones that were not taken included."""
        return self._pending

    def submit(self, token: T, reference: Reference) -> Iterator[tuple[T, Reference, Content | ReadError]]:
        """Fetch one input; first give what is finished, and as much more as the budget needs for it."""
        charge = _UNKNOWN_BYTES if reference.size is None else reference.size
        yield from self.finished()
        while (others := self._others) >= self._count or not self._budget.take(charge, force=others <= 0):
            self._send()
            with contextlib.suppress(queue.Empty):
                yield self._take(self._done.get(timeout=SLOW_S / 4))
        self._pending += 1
        self._group.append((token, reference, charge))
        if len(self._group) >= _LOCAL_GROUP or local_path(reference.uri or "") is None:
            self._send()

    @property
    def _others(self) -> int:
        """Inputs under way, those aside that take long."""
        late = time.monotonic() - SLOW_S
        slow = sum(began < late for began in list(self._began.values()))
        return self._pending - min(slow, ASIDE)

    def finished(self) -> Iterator[tuple[T, Reference, Content | ReadError]]:
        """What is finished by now."""
        while True:
            try:
                item = self._done.get_nowait()
            except queue.Empty:
                return
            yield self._take(item)

    def drain(self) -> Iterator[tuple[T, Reference, Content | ReadError]]:
        """Everything that is under way, as it finishes."""
        self._send()
        while self._pending:
            yield self._take(self._done.get())

    def cancel(self) -> None:
        """Give up what is under way; results that still come are thrown away."""
        self._cancelled.set()
        for _, _, charge in self._group:
            self._budget.give(charge)
        self._group = []
        self._pending = 0
        self._discard()

    def _discard(self) -> None:
        while True:
            try:
                self._budget.give(self._done.get_nowait()[3])
            except queue.Empty:
                return

    def _send(self) -> None:
        if self._group:
            group, self._group = self._group, []
            _pool().submit(self._run, group)

    def _run(self, group: list[tuple[T, Reference, int]]) -> None:
        _places().enter(id(group))
        self._began[id(group)] = time.monotonic()
        try:
            self._fetch_all(group)
        finally:
            del self._began[id(group)]
            _places().leave(id(group))

    def _fetch_all(self, group: list[tuple[T, Reference, int]]) -> None:
        for token, reference, charge in group:
            result: Any
            held = charge
            if self._cancelled.is_set():
                self._budget.give(held)
                continue
            try:
                result = self._fetch(reference)
                self._budget.give(charge - result.nbytes)
                held = result.nbytes
            except BaseException as error:  # noqa: BLE001  (raised in the thread that asked)
                result = error
            self._done.put((token, reference, result, held))
            if self._cancelled.is_set():
                self._discard()

    def _take(self, item: tuple[T, Reference, Any, int]) -> tuple[T, Reference, Content | ReadError]:
        token, reference, result, held = item
        self._pending -= 1
        self._budget.give(held)
        if isinstance(result, BaseException) and not isinstance(result, ReadError):
            raise result
        return token, reference, result


@functools.lru_cache(1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="bulkinfer-load")


@functools.lru_cache(1)
def _places() -> Places:
    return Places(PLACES, SLOW_S)


@functools.lru_cache(8)
def process_budget(limit: int) -> Budget:
    """The bytes that one process may fetch ahead."""
    return Budget(limit)
