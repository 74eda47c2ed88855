"""Rebalancing between workers: what a slow one has not begun when another finishes is redistributed to all.

Flink, Spark and the local runner distribute all work evenly before the first call and never move any: one slow worker
then holds up the whole job. So a job of several workers goes in passes. Each worker writes a claim beside the run's
record when it begins, and marks it when it is done. The others see the mark, hand back what they have not begun, and
the next pass redistributes that. In the last pass nothing is handed back.

The same claims give each worker its rank among those at work, by which a rate limit is divided
(`calls.limits.divided`).
"""

from __future__ import annotations

import dataclasses
import logging
import math
import secrets
import threading
import time
from collections.abc import Collection
from typing import Protocol

from ..errors import StoreError
from ..storage.store import Store
from .control import ControlSpec
from .parts import run_directory

__all__ = ["PASSES", "Divided", "Rank", "WorkPass", "WorkPassSpec", "rank_in"]

logger = logging.getLogger(__name__)

#: Passes of a job with several workers. With one of four workers a quarter as fast as the others, all is done after
#: 4.0 times what one of the others needs for its quarter in one pass, 1.75 in two, 1.33 in three; 1.23 is the least.
PASSES = 3
POLL_S = 1.0
#: How long the others go on after the first is done: what is done by then is not worth a pass, which costs a cluster
#: some seconds for new worker processes.
GRACE_S = 4.0
#: Whoever takes what another one leaves waits until no second holds calls of both.
HANDOVER_S = 1.1
#: A rank that was not seen again for so long is lost.
LEASE_S = 3.0
#: A worker that joins when others may use its part waits until they have seen its claim.
COMEBACK_S = LEASE_S + 2 * HANDOVER_S
#: A store that takes no claim for so long takes no predictions either.
LOST_S = 60.0
#: Where nobody is ever done there is little to see: the looks grow rarer up to this.
RARELY_S = 30.0
_DONE = ".done"


@dataclasses.dataclass(frozen=True)
class WorkPassSpec:
    """One pass of a run; plain data that pickles.

    Attributes:
        run: where the run keeps its markers.
        number: of the pass, from 1.
        workers: how many processes take part.
        last: nothing is handed back.
        open_ended: the runner moves work by itself, so that no worker knows when it is done.
    """

    run: ControlSpec
    number: int
    workers: int = 2
    last: bool = False
    open_ended: bool = False

    @property
    def folder(self) -> str:
        """The path, inside the output, of the claims and marks of all passes."""
        return f"{run_directory(self.run.run_id)}/passes"


@dataclasses.dataclass(frozen=True)
class Rank:
    """A worker's number among those at work, from 0, and how many those are."""

    number: int
    at_work: int


class Divided(Protocol):
    """What is divided among the workers."""

    def hold(self, seconds: float) -> None:
        """Use nothing for so long, from now; 0 ends an earlier wait."""

    def divide(self, rank: Rank | None, until: float = 0.0) -> None:
        """Take a rank's part until then, in monotonic seconds; without one, and afterwards, the least part of all."""


def rank_in(names: Collection[str], own: str, workers: int) -> Rank | None:
    """A worker's rank, as far as the claims tell; None while somebody is missing, or when somebody came again.

    Claims are never taken back and only get marks. So of two workers who see as many claims as there are workers both
    see the same ones, and who looks later sees at least the same marks: parts by rank among those without a mark then
    never add up to more than the whole.

    Args:
        names: of claims and marks.
        own: claim of this worker.
        workers: how many there are.
    """
    claims = sorted(name for name in names if not name.endswith(_DONE))
    at_work = [name for name in claims if name + _DONE not in names]
    return Rank(at_work.index(own), len(at_work)) if len(claims) == workers and own in at_work else None


class WorkPass:
    """One pass as this process sees it; thread-safe.

    Args:
        spec: of the pass.
        poll_s: seconds between two looks at the store.
        grace_s: seconds from the first worker's end to the pass's.
        handover_s: seconds before a larger part is used.
        lost_s: seconds after which a worker that cannot write its claim gives up.
    """

    _shared: dict[tuple[str, str, int], WorkPass] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(
        self,
        spec: WorkPassSpec,
        *,
        poll_s: float = POLL_S,
        grace_s: float = GRACE_S,
        handover_s: float = HANDOVER_S,
        lost_s: float = LOST_S,
    ) -> None:
        self.spec, self.poll_s, self.grace_s = spec, poll_s, grace_s
        self.handover_s, self.lost_s = handover_s, lost_s
        self.store = Store(spec.run.output_uri, spec.run.storage)
        self._lock = threading.Lock()
        self._bundles = 0
        self._turn: _Turn | None = None
        #: Hand back what is not begun; cheap enough to ask for every input.
        self.over = False
        #: Why this worker cannot take part.
        self.lost: StoreError | None = None

    @classmethod
    def shared(cls, spec: WorkPassSpec) -> WorkPass:
        """The process's view of this pass."""
        key = (spec.run.output_uri, spec.run.run_id, spec.number)
        with cls._shared_lock:
            if key not in cls._shared:
                cls._shared[key] = cls(spec)
            return cls._shared[key]

    def begin(self, limits: Divided | None = None) -> None:
        """A bundle begins.

        Args:
            limits: what this worker takes a part of.
        """
        with self._lock:
            self._bundles += 1
            # The last pass ends by itself, so without limits there is nothing to tell or to see.
            if self._turn is None and not (limits is None and self.spec.last):
                self._turn = _Turn(self, limits)
                self._turn.start()

    def end(self, *, done: bool = True) -> None:
        """A bundle ends; all others are told at once when it is done, as a runner may end this process now.

        A bundle is all that a worker got: so it is on all runners whose jobs go in passes.

        Args:
            done: its last call is home; False for a bundle that failed.
        """
        with self._lock:
            self._bundles -= 1
            if self._bundles or self._turn is None or self.spec.open_ended:
                return
            turn, self._turn = self._turn, None
            turn.quit()
        if done:
            turn.mark()

    def raise_if_lost(self) -> None:
        """Raise where this worker waits in vain.

        Raises:
            StoreError: the store takes no claim, or cannot be listed, and has not for a minute.
        """
        if self.lost is not None:
            raise self.lost


class _Turn:
    """A worker's part in a pass, from its first bundle to the end of its last: a claim, and a thread that looks."""

    def __init__(self, work_pass: WorkPass, limits: Divided | None) -> None:
        self._pass, self._limits = work_pass, limits
        self._prefix = f"{work_pass.spec.number}-"
        self._claim = f"{self._prefix}{secrets.token_hex(8)}"
        self._ended = threading.Event()
        self._telling = threading.Lock()  # the limits are the next turn's when this one has ended
        self._claimed = False
        self._over_at: float | None = None
        self._rank: Rank | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"bulkinfer-pass-{work_pass.spec.number}", daemon=True
        )

    def start(self) -> None:
        if self._limits is not None:
            self._limits.hold(math.inf)  # until it is known whether others use this part
        self._thread.start()

    def quit(self) -> None:
        with self._telling:
            self._ended.set()
            if self._limits is not None:
                self._limits.divide(None)

    def mark(self) -> None:
        """Tell the others that this worker is done; a mark without its claim would tell them nothing."""
        self._thread.join()
        if self._claimed:
            try:
                self._say(self._claim + _DONE)
            except StoreError as error:
                # The others then finish what they have, by the parts that they have.
                logger.warning("the end of a worker's part in a pass cannot be told: %s", error)

    def _say(self, name: str) -> None:
        self._pass.store.write(f"{self._pass.spec.folder}/{name}", b"{}")

    def _run(self) -> None:
        if not self._begin():
            return
        spec, poll_s = self._pass.spec, self._pass.poll_s
        while not self._ended.wait(poll_s):
            looked = time.monotonic()
            try:
                names = self._look()
            except StoreError as error:
                logger.warning("the other workers of a pass cannot be seen: %s", error)
                self._divide(None, looked)
                continue
            if self._take(names, looked) and spec.open_ended:
                return  # nobody is ever done, so the rank stays
            if spec.open_ended:
                if self._claim not in names:
                    return  # the run is committed and cleaned
                poll_s = min(1.2 * poll_s, RARELY_S)

    def _begin(self) -> bool:
        """Write the claim, look who is there, and let calls begin; False when the turn ended before.

        Nothing is called before: without the claim the others may use its part, too.
        """
        failing_since = time.monotonic()
        while not self._ended.is_set():
            looked = time.monotonic()
            try:
                if not self._claimed:
                    self._say(self._claim)
                    self._claimed = True
                names = self._look()
            except StoreError as error:
                logger.warning("a worker's part in a pass cannot be told: %s", error)
                if self._limits is not None and time.monotonic() - failing_since > self._pass.lost_s:
                    self._pass.lost = error
                self._ended.wait(self._pass.poll_s)
                continue
            self._come(names)
            self._take(names, looked)
            return True
        return False

    def _look(self) -> set[str]:
        found = self._pass.store.files(self._pass.spec.folder)
        return {entry.name for entry in found if entry.name.startswith(self._prefix)}

    def _come(self, names: Collection[str]) -> None:
        """Begin, unless others may use what is this worker's part: it then waits until they have seen its claim.

        They may where there are as many claims as workers without its own.
        """
        if self._limits is None:
            return
        if sum(not name.endswith(_DONE) for name in names) > self._pass.spec.workers:
            seconds = COMEBACK_S
        else:
            # The calls that ended the pass before are not a second old.
            seconds = self._pass.handover_s if self._pass.spec.number > 1 else 0.0
        with self._telling:
            if not self._ended.is_set():
                self._limits.hold(seconds)

    def _take(self, names: Collection[str], looked: float) -> bool:
        """Take what a look tells; whether it gives a rank."""
        self._end_pass(names)
        rank = rank_in(names, self._claim, self._pass.spec.workers)
        self._divide(rank, looked)
        return rank is not None

    def _end_pass(self, names: Collection[str]) -> None:
        if self._over_at is None and any(name.endswith(_DONE) for name in names):
            self._over_at = time.monotonic() + self._pass.grace_s
        over = self._over_at is not None and time.monotonic() >= self._over_at
        if over and not (self._pass.spec.last or self._pass.over):
            self._pass.over = True
            logger.info("what is not begun is redistributed: pass=%d", self._pass.spec.number)

    def _divide(self, rank: Rank | None, looked: float) -> None:
        if self._limits is None:
            return
        if rank is not None and rank != self._rank:
            self._ended.wait(self._pass.handover_s)
        self._rank = rank
        with self._telling:
            if not self._ended.is_set():
                self._limits.divide(rank, math.inf if self._pass.spec.open_ended else looked + LEASE_S)
