"""Work in rounds: what a slow worker has not begun when another one is done is dealt out again.

Flink, Spark and the local runner deal all work out before the first call, evenly, and never take any back: one slow
worker then holds the whole job for as long as its share takes. So a job of several workers goes in rounds. Each worker
lays a claim beside the run's record when it begins and marks it when it is done. The others look for it: they hand back
what they have not begun, and the next round deals that out to all of them. The last round is played to its end.

The same claims tell each worker its place among those at work, by which a rate limit is divided (see `shares`).
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

__all__ = ["ROUNDS", "Divided", "Place", "Round", "RoundSpec", "place_in"]

logger = logging.getLogger(__name__)

#: Rounds of a job with several workers. With one of four workers a quarter as fast as the others, all is done after
#: 4.0 times what one of the others needs for its share in one round, 1.75 in two, 1.33 in three; 1.23 is the least.
ROUNDS = 3
POLL_S = 1.0
#: How long the others go on after the first is done: what is done by then is not worth a round, which costs a cluster
#: some seconds for new worker processes.
GRACE_S = 4.0
#: Whoever takes what another one leaves waits until no second holds calls of both.
SETTLE_S = 1.1
#: A place that was not seen again for so long is one no more.
LEASE_S = 3.0
#: Whoever comes when others may have taken its place waits until they have heard of it.
COMEBACK_S = LEASE_S + 2 * SETTLE_S
#: A store that takes no claim for so long takes no predictions either.
LOST_S = 60.0
#: Where nobody is ever done there is little to see: the looks grow rarer up to this.
RARELY_S = 30.0
_DONE = ".done"


@dataclasses.dataclass(frozen=True)
class RoundSpec:
    """One round of a run; plain data that pickles.

    Attributes:
        run: where the run keeps its markers.
        number: of the round, from 1.
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
        """The path, inside the output, of what all rounds' workers say."""
        return f"{run_directory(self.run.run_id)}/rounds"


@dataclasses.dataclass(frozen=True)
class Place:
    """A worker's place among those at work: its rank, from 0, and their number."""

    rank: int
    at_work: int


class Divided(Protocol):
    """What is divided among the workers."""

    def hold(self, seconds: float) -> None:
        """Use nothing for so long, from now; 0 ends an earlier wait."""

    def divide(self, place: Place | None, until: float = 0.0) -> None:
        """Take a place's part until then, in monotonic seconds; without one, and afterwards, the least part of all."""


def place_in(names: Collection[str], own: str, workers: int) -> Place | None:
    """A worker's place, as far as the claims tell; None while somebody is missing, or when somebody came again.

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
    return Place(at_work.index(own), len(at_work)) if len(claims) == workers and own in at_work else None


class Round:
    """One round as this process sees it; thread-safe.

    Args:
        spec: of the round.
        poll_s: seconds between two looks at the store.
        grace_s: seconds from the first worker's end to the round's.
        settle_s: seconds before a larger part is used.
        lost_s: seconds after which a worker that cannot lay its claim gives up.
    """

    _shared: dict[tuple[str, str, int], Round] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(
        self,
        spec: RoundSpec,
        *,
        poll_s: float = POLL_S,
        grace_s: float = GRACE_S,
        settle_s: float = SETTLE_S,
        lost_s: float = LOST_S,
    ) -> None:
        self.spec, self.poll_s, self.grace_s = spec, poll_s, grace_s
        self.settle_s, self.lost_s = settle_s, lost_s
        self.store = Store(spec.run.output_uri, spec.run.storage)
        self._lock = threading.Lock()
        self._bundles = 0
        self._turn: _Turn | None = None
        #: Hand back what is not begun; cheap enough to ask for every input.
        self.over = False
        #: Why this worker cannot take part.
        self.lost: StoreError | None = None

    @classmethod
    def shared(cls, spec: RoundSpec) -> Round:
        """The process's view of this round."""
        key = (spec.run.output_uri, spec.run.run_id, spec.number)
        with cls._shared_lock:
            if key not in cls._shared:
                cls._shared[key] = cls(spec)
            return cls._shared[key]

    def begin(self, limits: Divided | None = None) -> None:
        """A bundle begins.

        Args:
            limits: what this worker's place is a part of.
        """
        with self._lock:
            self._bundles += 1
            # The last round ends by itself, so without limits there is nothing to tell or to see.
            if self._turn is None and not (limits is None and self.spec.last):
                self._turn = _Turn(self, limits)
                self._turn.start()

    def end(self, *, done: bool = True) -> None:
        """A bundle ends; all others are told at once when it is done, as a runner may end this process now.

        A bundle is a worker's whole share: so it is on all runners whose jobs go in rounds (see docs/design.md).

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
    """A worker's part in a round, from its first bundle to the end of its last: a claim, and a thread that looks."""

    def __init__(self, round_: Round, limits: Divided | None) -> None:
        self._round, self._limits = round_, limits
        self._prefix = f"{round_.spec.number}-"
        self._claim = f"{self._prefix}{secrets.token_hex(8)}"
        self._ended = threading.Event()
        self._telling = threading.Lock()  # the limits are the next turn's when this one has ended
        self._claimed = False
        self._over_at: float | None = None
        self._place: Place | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"bulkinfer-round-{round_.spec.number}", daemon=True
        )

    def start(self) -> None:
        if self._limits is not None:
            self._limits.hold(math.inf)  # until it is known whether anybody has taken the place
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
                logger.warning("the end of a worker's part in a round cannot be told: %s", error)

    def _say(self, name: str) -> None:
        self._round.store.write(f"{self._round.spec.folder}/{name}", b"{}")

    def _run(self) -> None:
        if not self._begin():
            return
        spec, poll_s = self._round.spec, self._round.poll_s
        while not self._ended.wait(poll_s):
            looked = time.monotonic()
            try:
                names = self._look()
            except StoreError as error:
                logger.warning("the other workers of a round cannot be seen: %s", error)
                self._divide(None, looked)
                continue
            if self._settle(names, looked) and spec.open_ended:
                return  # nobody is ever done, so the place stays
            if spec.open_ended:
                if self._claim not in names:
                    return  # the run is committed and cleaned
                poll_s = min(1.2 * poll_s, RARELY_S)

    def _begin(self) -> bool:
        """Lay the claim, look who is there, and let calls begin; False when the turn ended before.

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
                logger.warning("a worker's part in a round cannot be told: %s", error)
                if self._limits is not None and time.monotonic() - failing_since > self._round.lost_s:
                    self._round.lost = error
                self._ended.wait(self._round.poll_s)
                continue
            self._come(names)
            self._settle(names, looked)
            return True
        return False

    def _look(self) -> set[str]:
        found = self._round.store.files(self._round.spec.folder)
        return {entry.name for entry in found if entry.name.startswith(self._prefix)}

    def _come(self, names: Collection[str]) -> None:
        """Begin, unless others may use what is this worker's part: it then waits until they have seen its claim.

        They may where there are as many claims as workers without its own.
        """
        if self._limits is None:
            return
        if sum(not name.endswith(_DONE) for name in names) > self._round.spec.workers:
            seconds = COMEBACK_S
        else:
            # The calls that ended the round before are not a second old.
            seconds = self._round.settle_s if self._round.spec.number > 1 else 0.0
        with self._telling:
            if not self._ended.is_set():
                self._limits.hold(seconds)

    def _settle(self, names: Collection[str], looked: float) -> bool:
        """Take what a look tells; whether it gives a place."""
        self._end_round(names)
        place = place_in(names, self._claim, self._round.spec.workers)
        self._divide(place, looked)
        return place is not None

    def _end_round(self, names: Collection[str]) -> None:
        if self._over_at is None and any(name.endswith(_DONE) for name in names):
            self._over_at = time.monotonic() + self._round.grace_s
        over = self._over_at is not None and time.monotonic() >= self._over_at
        if over and not (self._round.spec.last or self._round.over):
            self._round.over = True
            logger.info("what is not begun is dealt out again: round=%d", self._round.spec.number)

    def _divide(self, place: Place | None, looked: float) -> None:
        if self._limits is None:
            return
        if place is not None and place != self._place:
            self._ended.wait(self._round.settle_s)
        self._place = place
        with self._telling:
            if not self._ended.is_set():
                self._limits.divide(place, math.inf if self._round.spec.open_ended else looked + LEASE_S)
