"""Each worker's share of a rate limit, in a fleet of a fixed size that only a store connects.

Whole units: fractions would add up to one call too many in some windows. Four workers of 15 a second so take three
each, and three of them one more, once it is known which. Every worker process lays a claim beside the run's record.
Claims are never taken back, so whoever lists exactly as many claims as there are workers sees the same ones as
everybody else who does, and their order gives each a rank. Who lists more has come later, for a worker that died, and
keeps to the least share: together they stay within the limit, whoever dies and comes.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

from .config import CallsConfig, StopConfig
from .control import ControlSpec
from .errors import ConfigError, StoreError
from .parts import run_directory
from .store import Store

__all__ = ["Rank", "check_shares", "share_of"]

logger = logging.getLogger(__name__)

POLL_S = 1.0
#: A fleet that is not complete by then has workers without any work, or fewer than it should have.
GIVE_UP_S = 600.0


def share_of(limit: float | None, workers: int, rank: int | None = None) -> float | None:
    """One worker's part of a limit.

    Args:
        limit: of all workers together; None for no limit.
        workers: how many there are.
        rank: of this worker, from 0; None while it is not known, when the part is the least of all.

    Raises:
        ConfigError: there is less than one for each.
    """
    if limit is None or workers <= 1:
        return limit
    least, rest = divmod(int(limit), workers)
    if not least:
        raise ConfigError(
            f"{limit:g} a second cannot be divided among {workers} workers, which take whole shares"
        )
    return float(least + (rank is not None and rank < rest))


def check_shares(calls: CallsConfig, stop: StopConfig, workers: int, *, fixed: bool = True) -> None:
    """Check that every worker gets a share of each limit and of the budget.

    Args:
        fixed: there are never more workers.

    Raises:
        ConfigError: a limit or the budget is smaller than the fleet, or a limit is to be divided in one that grows.
    """
    if stop.inputs is not None and stop.inputs < workers:
        raise ConfigError(
            f"stop.inputs: {stop.inputs} inputs cannot be divided among {workers} worker processes; lower "
            "runner.workers, or raise stop.inputs"
        )
    for name in ("calls_per_second", "inputs_per_second"):
        limit = getattr(calls, name)
        if limit is None or calls.limiter:
            continue
        if not fixed:
            raise ConfigError(
                f"calls.{name}: {limit:g} a second cannot be divided among workers whose number the runner decides; "
                "name a Redis in calls.limiter, or leave the number to runner.workers"
            )
        if workers > 1 and limit < workers:
            raise ConfigError(
                f"calls.{name}: {limit:g} a second cannot be divided among {workers} worker processes, which "
                "take whole shares; lower runner.workers, or let them share one limit through a Redis in "
                "calls.limiter"
            )


class Rank:
    """This process's place among a run's worker processes; thread-safe.

    Args:
        run: whose output holds the claims.
        workers: how many processes there are.
        poll_s: seconds between two looks at the claims.
    """

    _shared: dict[tuple[str, str], Rank] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(self, run: ControlSpec, workers: int, *, poll_s: float = POLL_S) -> None:
        self._store = Store(run.output_uri, run.storage)
        self._folder = f"{run_directory(run.run_id)}/workers"
        self._name = f"{secrets.token_hex(8)}.json"
        self._workers, self._poll_s = workers, poll_s
        self._lock = threading.Lock()
        self._waiting: list[Callable[[int], None]] = []
        self._rank: int | None = None
        threading.Thread(target=self._find, name="bulkinfer-rank", daemon=True).start()

    @classmethod
    def shared(cls, run: ControlSpec, workers: int) -> Rank:
        """The process's rank in this run."""
        key = (run.output_uri, run.run_id)
        with cls._shared_lock:
            if key not in cls._shared:
                cls._shared[key] = cls(run, workers)
            return cls._shared[key]

    def tell(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the rank: now, or as soon as it is known, or never."""
        with self._lock:
            if self._rank is None:
                self._waiting.append(listener)
                return
        listener(self._rank)

    def _find(self) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        try:
            self._store.write(f"{self._folder}/{self._name}", b"{}")
            while time.monotonic() < deadline:
                claims = [entry.name for entry in self._store.files(self._folder)]
                if self._name not in claims:
                    break  # the run is committed and cleaned
                if len(claims) == self._workers:
                    self._found(sorted(claims).index(self._name))
                if len(claims) >= self._workers:
                    break
                time.sleep(self._poll_s)
        except StoreError as error:
            logger.warning("this worker keeps to the least share of the rate limit: %s", error)
        if self._rank is None:
            logger.info("this worker keeps to the least share of the rate limit: folder=%s", self._folder)
            self._waiting = []

    def _found(self, rank: int) -> None:
        with self._lock:
            self._rank, waiting = rank, self._waiting
        for listener in waiting:
            listener(rank)
