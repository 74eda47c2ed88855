"""Hands batches to an engine and takes its results: submitters, submissions, and the capacity for all of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from ..records import Failure, Prediction
from .batch_sender import BatchSender
from .batching import Item

__all__ = ["Capacity", "Result", "Submission", "Submitter"]

#: A result with the token that its input was handed in with.
Result = tuple[Any, Prediction | Failure]

#: Small batches may wait in larger numbers, because the bundle's thread may be away for a while, writing a part; but no
#: more than this worker sends in some seconds, because no other worker can take over what waits here.
WAITING_BYTES = 8 * 1024 * 1024
WAITING_FACTOR = 8
WAITING_S = 2.0


class Capacity:
    """Limits the batches and bytes inside the engine, over all submitters; the caller holds the lock."""

    def __init__(self, calls: int, nbytes: int) -> None:
        self._calls = calls
        self._nbytes = nbytes
        self._left: deque[float] = deque(maxlen=4 * calls + 1)  # when work began, then when batches left
        self.batches = 0
        self.held = 0

    def enter(self, nbytes: int) -> bool:
        """Take a batch in; False when there is no capacity for it now."""
        waiting = self.batches - self._calls
        factor = WAITING_FACTOR if self.held + nbytes <= WAITING_BYTES else 1
        # A batch that is larger than all capacity is taken in when nothing else is inside.
        if self.batches and (self.held + nbytes > self._nbytes or waiting >= factor * self._calls):
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
        """Note that a batch has left."""
        self.batches -= 1
        self.held -= nbytes
        self._left.append(time.monotonic())

    def _sent_soon(self) -> float:
        """Batches that will leave within `WAITING_S`, estimated from the last ones."""
        if len(self._left) < 2:
            return self._calls
        return WAITING_S * (len(self._left) - 1) / max(time.monotonic() - self._left[0], 1e-3)


class _Engine(Protocol):
    """What a submitter asks of its engine."""

    changed: threading.Condition

    def admit(self, submitter: Submitter, items: Sequence[Item]) -> bool:
        """Take a batch in, if there is capacity."""

    def cancel(self, submitter: Submitter) -> None:
        """Cancel a submitter's batches."""


class Submitter:
    """One DoFn instance's access to an engine; all methods are for its own thread."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._results: deque[Result] = deque()
        self._submissions: set[Submission] = set()
        self._pending = 0
        self.generation = 0

    @property
    def pending(self) -> int:
        """How many inputs were handed in whose results were not taken yet."""
        with self._engine.changed:
            return self._pending + len(self._results)

    def submit(self, items: Sequence[Item]) -> bool:
        """Hand a batch in; False when there is no capacity for it now."""
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
        """Wait until there are results, or capacity, or the time is over."""
        with self._engine.changed:
            if not self._results:
                self._engine.changed.wait(timeout)

    def cancel(self) -> None:
        """Cancel what is under way and forget what is finished: the bundle it belongs to is gone."""
        self._engine.cancel(self)

    # The following are called by the engine, which holds the lock.

    def entered(self, submission: Submission) -> None:
        """The engine took a batch in."""
        self._submissions.add(submission)
        self._pending += len(submission.items)

    def left(self, submission: Submission, without_result: int) -> None:
        """A batch ended, with so many inputs that have no result."""
        self._submissions.discard(submission)
        if submission.generation == self.generation:
            self._pending -= without_result

    def finished(self, submission: Submission, results: Sequence[Result]) -> None:
        """Inputs of a batch have their results."""
        if submission.generation == self.generation:
            self._pending -= len(results)
            self._results.extend(results)

    def forget(self) -> list[Submission]:
        """Drop the results of all that was handed in so far; return the submissions still under way."""
        self.generation += 1
        self._results.clear()
        self._pending = 0
        return list(self._submissions)


class Submission:
    """A batch inside the engine."""

    __slots__ = ("generation", "items", "nbytes", "sender", "submitter", "task")

    def __init__(self, submitter: Submitter, items: Sequence[Item], nbytes: int) -> None:
        self.submitter = submitter
        self.items = items
        self.nbytes = nbytes
        self.generation = submitter.generation
        self.sender: BatchSender | None = None
        self.task: asyncio.Task[None] | None = None
