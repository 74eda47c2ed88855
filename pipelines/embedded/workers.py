"""The embedded server's worker processes, for calls that keep a core busy: one a core, replaced when one dies."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from clarifai_grpc.grpc.api import resources_pb2

__all__ = ["Workers"]

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class Workers:
    """Runs unary calls in processes of their own, so that pictures are worked on by all cores at once.

    Args:
        processes: how many; 0 for one a core.
    """

    def __init__(self, processes: int = 0) -> None:
        self._processes = processes or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._pool = self._start()

    def submit(self, method: str, data: bytes) -> concurrent.futures.Future[bytes]:
        """Start one call: the method's name and the input's serialized `Data`; the result is the output's."""
        return self._submit(_call, method, data)

    def compute(self, method: str, arguments: dict[str, Any]) -> concurrent.futures.Future[Any]:
        """Start one call by Python values: the method's name and its arguments; the result is what it returns."""
        return self._submit(_compute, method, arguments)

    def _submit(self, function: Callable[..., _T], *arguments: Any) -> concurrent.futures.Future[_T]:
        pool = self._pool
        try:
            return pool.submit(function, *arguments)
        except BrokenProcessPool:
            logger.warning("a worker process died; starting new ones: processes=%d", self._processes)
            with self._lock:
                if self._pool is pool:
                    self._pool = self._start()
            return self._pool.submit(function, *arguments)

    def warm_up(self) -> None:
        """Have each process import what it needs, so that the first calls do not wait for it."""
        for _ in range(self._processes):
            self._pool.submit(_nothing)

    def close(self) -> None:
        """Finish what is under way, drop what has not begun and end the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> concurrent.futures.ProcessPoolExecutor:
        # Not forked: a fork of a process that serves gRPC inherits locks that its threads hold.
        context = multiprocessing.get_context("spawn")
        return concurrent.futures.ProcessPoolExecutor(self._processes, context, _enter)


def _enter() -> None:
    """Set a new worker process up."""
    # An interrupt reaches the whole process group; the server decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import cv2  # noqa: PLC0415 (an optional extra)

    cv2.setNumThreads(1)  # one process a core leaves nothing to gain from threads


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(method: str, data: bytes) -> bytes:
    from .models.demo import METHODS  # noqa: PLC0415 (in the worker only)

    answer = METHODS[method].call(resources_pb2.Data.FromString(data))
    return bytes(answer.SerializeToString())


def _compute(method: str, arguments: dict[str, Any]) -> Any:
    from .models.demo import METHODS  # noqa: PLC0415

    return METHODS[method].function(**arguments)


def _nothing() -> None:
    from .models import demo  # noqa: F401, PLC0415 (imported for its effect)
