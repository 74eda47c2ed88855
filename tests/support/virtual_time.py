"""An event loop whose clock jumps to the next thing that happens, so that minutes of waiting take milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from unittest import mock

__all__ = ["simulate"]

T = TypeVar("T")


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            if timeout is None:
                raise RuntimeError("every task waits for another one")
            self._now += max(0.0, timeout)
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now


def simulate(main: Callable[[], Coroutine[Any, Any, T]], *, limit_s: float = 36_000.0) -> T:
    """Run a coroutine to its end; `time.monotonic` and `asyncio.sleep` follow the simulated clock.

    Args:
        limit_s: simulated seconds after which the coroutine is taken for one that never ends.
    """
    loop = _VirtualLoop()
    try:
        with mock.patch.object(time, "monotonic", loop.time):
            return loop.run_until_complete(asyncio.wait_for(main(), limit_s))
    finally:
        loop.close()
