"""The one event loop of a process, in a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

__all__ = ["engine_loop"]


def _spare_the_collector() -> None:
    """Exclude what is loaded by now from garbage collection.

    Beam, Arrow and their modules are half a million objects that live as long as the process; looking at them
    again and again took a sixth of a worker's CPU. What is left to look at, some thousand objects in flight,
    need not be looked at for every 700 new ones.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class _LoopThread:
    """The one event loop of the process: grpc.aio logs spurious errors when several loops use it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="bulkinfer-engine", daemon=True)
        self._thread.start()


_loop_lock = threading.Lock()
_loop_thread: _LoopThread | None = None


def engine_loop() -> asyncio.AbstractEventLoop:
    """The running loop, started when first needed and again after a fork."""
    global _loop_thread  # noqa: PLW0603  (one for each process, made when first needed)
    thread = _loop_thread
    if thread is None or thread.pid != os.getpid():
        with _loop_lock:
            if _loop_thread is None or _loop_thread.pid != os.getpid():
                _spare_the_collector()
                _loop_thread = _LoopThread()
            thread = _loop_thread
    return thread.loop
