"""The ways of batches into an engine and out of it: lanes, what runs in them, and the room for all of it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..endpoints.clarifai.session import Item
from ..records import Failure, Prediction
from .batch_sender import Settling

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Lane", "Result", "Room", "Run"]

#: A result with the token that its input was handed in with.
Result = tuple[Any, Prediction | Failure]

#: Small batches may wait in larger numbers, because the bundle's thread may be away for a while, writing a part; but no
#: more than this worker sends in some seconds, because what waits here nobody else can take over.
WAITING_BYTES = 8 * 1024 * 1024
WAITING_ROUNDS = 8
WAITING_S = 2.0


class Room:
    """How much may be inside the engine, over all lanes; the caller holds the lock."""

    def __init__(self, calls: int, nbytes: int) -> None:
        self._calls = calls
        self._nbytes = nbytes
        self._left: deque[float] = deque(maxlen=4 * calls + 1)  # when work began, then when batches left
        self.batches = 0
        self.held = 0

    def enter(self, nbytes: int) -> bool:
        waiting = self.batches - self._calls
        rounds = WAITING_ROUNDS if self.held + nbytes <= WAITING_BYTES else 1
        # A batch that is larger than all room goes when nothing else is inside.
        if self.batches and (self.held + nbytes > self._nbytes or waiting >= rounds * self._calls):
            return False
        if waiting > 0 and waiting >= self._sent_soon():
            return False
        if not self.batches:
            self._left.clear()
            self._left.append(time.monotonic())
        self.batches += 1
        self.held += nbytes
        return True

    def leave(self, nbytes: int) -> None:
        self.batches -= 1
        self.held -= nbytes
        self._left.append(time.monotonic())

    def _sent_soon(self) -> float:
        """Batches that leave in `WAITING_S`, as far as the last ones tell."""
        if len(self._left) < 2:
            return self._calls
        return WAITING_S * (len(self._left) - 1) / max(time.monotonic() - self._left[0], 1e-3)


class Lane:
    """One DoFn instance's way in and out of an engine; all methods are for its own thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._results: deque[Result] = deque()
        self._runs: set[Run] = set()
        self._pending = 0
        self.generation = 0

    @property
    def pending(self) -> int:
        """Inputs handed in whose results were not taken yet."""
        with self._engine.changed:
            return self._pending + len(self._results)

    def submit(self, items: Sequence[Item]) -> bool:
        """Hand a batch in; False when there is no room for it now."""
        return self._engine.admit(self, items)

    def take(self) -> list[Result]:
        """The results that are finished, perhaps none; does not wait."""
        if not self._results:
            return []
        with self._engine.changed:
            results = list(self._results)
            self._results.clear()
            return results

    def wait(self, timeout: float) -> None:
        """Wait until there are results, or room, or the time is over."""
        with self._engine.changed:
            if not self._results:
                self._engine.changed.wait(timeout)

    def cancel(self) -> None:
        """Give up what is under way and forget what is finished: the bundle it belongs to is gone."""
        self._engine.cancel(self)

    # The following are called by the engine, which holds the lock.

    def entered(self, run: Run) -> None:
        self._runs.add(run)
        self._pending += len(run.items)

    def left(self, run: Run, unsettled: int) -> None:
        self._runs.discard(run)
        if run.generation == self.generation:
            self._pending -= unsettled

    def finished(self, run: Run, results: Sequence[Result]) -> None:
        if run.generation == self.generation:
            self._pending -= len(results)
            self._results.extend(results)

    def forget(self) -> list[Run]:
        self.generation += 1
        self._results.clear()
        self._pending = 0
        return list(self._runs)


class Run:
    """A batch inside the engine."""

    __slots__ = ("generation", "items", "lane", "nbytes", "settling", "task")

    def __init__(self, lane: Lane, items: Sequence[Item], nbytes: int, generation: int) -> None:
        self.lane = lane
        self.items = items
        self.nbytes = nbytes
        self.generation = generation
        self.settling: Settling | None = None
        self.task: asyncio.Task[None] | None = None
