"""Calls the callable for one batch at a time in each of its places, within the deadline of a call."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import pickle
import time
from collections.abc import Sequence
from typing import Any

from ...calls.endpoint import Fault, Reply, Verdict
from ...errors import EndpointError
from ...metrics import process_metrics
from .arguments import EncodedInput
from .model import Done, ModelSpec
from .places import ChildModel, Runner, SharedModel, Thread

__all__ = ["PythonSession"]

logger = logging.getLogger(__name__)

#: Threads that hang in a call, which nothing can end, may be so many before the job stops.
MOST_HANGING = 8


@dataclasses.dataclass(eq=False)
class _Place:
    """A thread with what it calls."""

    thread: Thread
    runner: Runner

    def drop(self) -> None:
        """End it, when it does nothing."""
        self.runner.kill()
        self.thread.end(self.runner.wait)


class _Pool:
    """The places of a model in this process; made once, whatever number of sessions come and go.

    Args:
        spec: what is called.
        processes: places that are processes of their own; None for threads, as many as calls ask for.
    """

    _pools: dict[object, _Pool] = {}  # noqa: RUF012  (used on the engine's loop alone)

    def __init__(self, spec: ModelSpec, processes: int | None) -> None:
        self._spec, self._processes = spec, processes
        self._shared = SharedModel(spec)
        self._idle: list[_Place] = []
        self._making: asyncio.Task[None] | None = None
        self._hanging = 0
        self.users = 0

    @classmethod
    def shared(cls, spec: ModelSpec, processes: int | None) -> _Pool:
        """The process's pool for this model; those of other models that nobody uses any more are freed."""
        key = (os.getpid(), processes, pickle.dumps(spec))
        for other, pool in list(cls._pools.items()):
            if other != key and not pool.users:
                cls._pools.pop(other)._free()
        return cls._pools.setdefault(key, cls(spec, processes))

    async def ready(self) -> None:
        """Wait until the model is made, in all places.

        Raises:
            JobError: it cannot be made.
        """
        if self._making is None or (self._making.done() and self._making.exception() is not None):
            self._making = asyncio.get_running_loop().create_task(self._make_all())
        if not self._making.done():
            await asyncio.shield(self._making)
        self._making.result()

    async def call(self, batch: Sequence[Any], timeout: float) -> Done:
        """Call the model in an idle place.

        Raises:
            JobError: a process had to be started anew, and its model cannot be made; or too many threads hang.
        """
        place = self._idle.pop() if self._idle else self._new()
        if not place.runner.ready:
            await self._make(place)
        call = place.thread.do(lambda: place.runner.call(batch))
        try:
            done = await asyncio.wait_for(asyncio.shield(call), timeout)
        except asyncio.TimeoutError:
            self._lose(place, call)
            self._check_hanging(timeout)
            message = f"the callable did not return within {timeout:g} s"
            return Done(Fault(Verdict.TRANSPORT, "deadline", message))
        except BaseException:
            self._lose(place, call)
            raise
        self._idle.append(place)
        return done

    async def _make_all(self) -> None:
        places = [self._new() for _ in range(self._processes or 1)]
        started = time.monotonic()
        made = await asyncio.gather(*map(self._make, places), return_exceptions=True)
        self._idle += places
        for error in made:
            if error is not None:
                self._free()
                raise error
        logger.info("made %s in %.1f s", self._spec.callee.name, time.monotonic() - started)

    async def _make(self, place: _Place) -> None:
        process_metrics().add(waiting_for_model=1)
        try:
            await place.thread.do(place.runner.make)
        except BaseException:
            place.drop()
            raise
        finally:
            process_metrics().add(waiting_for_model=-1)

    def _new(self) -> _Place:
        return _Place(Thread(), ChildModel(self._spec) if self._processes else self._shared)

    def _lose(self, place: _Place, call: asyncio.Future[Done]) -> None:
        """Give up a call under way: end its process, or leave its thread to itself until it returns."""
        if place.runner.kill():
            place.thread.end()
            return
        self._hanging += 1

        def returned(call: asyncio.Future[Done]) -> None:
            self._hanging -= 1
            place.thread.end()

        call.add_done_callback(returned)

    def _check_hanging(self, timeout: float) -> None:
        if self._hanging >= MOST_HANGING:
            raise EndpointError(
                f"model.callable: {self._hanging} calls of {self._spec.callee.name} did not return within "
                f"calls.timeout ({timeout:g} s) and still run, as nothing can end a thread; write model.executor: "
                "process, whose processes are ended, or raise calls.timeout"
            )

    def _free(self) -> None:
        """End the processes and threads, which do nothing by now."""
        while self._idle:
            self._idle.pop().drop()


class PythonSession:
    """Sends inputs to a callable of this machine; lives on the engine's loop.

    Args:
        spec: what is called.
        processes: places that are processes of their own; None for threads.
        timeout: seconds, the deadline of one call.
    """

    def __init__(self, spec: ModelSpec, processes: int | None, timeout: float) -> None:
        self._pool = _Pool.shared(spec, processes)
        self._pool.users += 1
        self._timeout = timeout

    async def connect(self) -> Fault | None:
        """Wait until the model is made, which may take minutes.

        Raises:
            JobError: it cannot be made.
        """
        await self._pool.ready()
        return None

    async def send(self, batch: Sequence[EncodedInput]) -> Reply:
        """Call it for the inputs of a batch."""
        done = await self._pool.call([one.values for one in batch], self._timeout)
        return Reply(
            done.fault, done.answers, partial=done.partial, bytes_sent=sum(one.nbytes for one in batch)
        )

    async def close(self) -> None:
        """Leave the model to the next session, because making it is what costs."""
        self._pool.users -= 1
