"""Divides a rate limit among a fixed number of workers that only a store connects.

Each worker takes whole units, because fractions would add up to one call too many in some windows: of 15 a second, four
workers take three each, and three of them one more once their ranks are known (`runs.rebalance`). What a finished
worker leaves, the others take. A worker without a rank keeps to the smallest part, so that together they stay within
the limit, whichever of them ends, dies or joins.
"""

from __future__ import annotations

import asyncio
import math
import time

from ...errors import ConfigError
from ...job.config import CallsConfig, StopConfig
from ...runs.rebalance import Rank
from .local import LocalLimiter
from .tokens import TokenLimit

__all__ = ["DividedLimits", "check_divided", "part_of"]


def part_of(limit: float | None, workers: int, rank: int | None = None) -> float | None:
    """One worker's part of a rate limit.

    Args:
        limit: of all workers together; None for no limit.
        workers: how many there are.
        rank: of this worker, from 0; None while it is not known, when the part is the smallest of all.

    Raises:
        ConfigError: there is less than one unit for each worker.
    """
    if limit is None or workers <= 1:
        return limit
    least, rest = divmod(int(limit), workers)
    if not least:
        raise ConfigError(
            f"a limit of {limit:g} cannot be divided among {workers} workers, which take whole units"
        )
    return float(least + (rank is not None and rank < rest))


def check_divided(calls: CallsConfig, stop: StopConfig, workers: int, *, fixed: bool = True) -> None:
    """Check that every worker gets a part of each limit and of the budget.

    Args:
        fixed: there are never more workers.

    Raises:
        ConfigError: a limit or the budget is smaller than the fleet, or a limit is to be divided in one that grows.
    """
    names = ("calls.calls_per_second", "calls.inputs_per_second") if not calls.limiter else ()
    divided = {name: getattr(calls, name.partition(".")[2]) for name in (*names, "calls.tokens_per_minute")}
    for name, whole in {**divided, "stop.inputs": stop.inputs}.items():
        if whole is None:
            continue
        if not fixed:
            raise ConfigError(
                f"{name}: {whole:g} cannot be divided among workers whose number the runner decides; leave the number "
                "to runner.workers, or name a Redis in calls.limiter for limits of calls and inputs"
            )
        if workers > 1 and whole < workers:
            raise ConfigError(
                f"{name}: {whole:g} cannot be divided among {workers} worker processes, which take whole units; lower "
                "runner.workers, or name a Redis that keeps the limits of all workers in calls.limiter"
            )


class DividedLimits:
    """A worker process's part of the rate limits, by its rank in the fleet.

    Args:
        limiter: of this process.
        tokens: likewise.
        calls: the limits of all workers together.
        workers: how many there are.
        loop: the limiter's; this object may be used from any thread.
    """

    def __init__(
        self,
        limiter: LocalLimiter,
        tokens: TokenLimit,
        calls: CallsConfig,
        workers: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._limiter, self._tokens = limiter, tokens
        self._calls, self._workers, self._loop = calls, workers, loop
        self._lapse: asyncio.TimerHandle | None = None

    def hold(self, seconds: float) -> None:
        """Start no call for so long, from now; 0 ends an earlier wait."""
        self._loop.call_soon_threadsafe(self._limiter.hold, seconds)

    def divide(self, rank: Rank | None, until: float = 0.0) -> None:
        """Take a rank's part until that monotonic time; without a rank, and afterwards, the smallest part."""
        self._loop.call_soon_threadsafe(self._divide, rank, until)

    def _divide(self, rank: Rank | None, until: float) -> None:
        if self._lapse is not None:
            self._lapse.cancel()
            self._lapse = None
        if until <= time.monotonic():
            rank = None  # reading the ranks took too long
        elif rank is not None and until < math.inf:
            self._lapse = self._loop.call_later(until - time.monotonic(), self._divide, None, 0.0)
        at_work, number = (self._workers, None) if rank is None else (rank.at_work, rank.number)
        self._limiter.allow(
            part_of(self._calls.calls_per_second, at_work, number),
            part_of(self._calls.inputs_per_second, at_work, number),
        )
        self._tokens.allow(part_of(self._calls.tokens_per_minute, at_work, number))
