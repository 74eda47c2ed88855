"""Work in rounds: what a slow worker has not begun when another one is done is dealt out again.

Flink, Spark and the local runner deal all work out before the first call, evenly, and never take any back: one slow
worker then holds the whole job for as long as its share takes. So a job of several workers goes in rounds. A worker
that is done says so with a marker beside the run's record; the others, who look for it, hand back what they have
not begun, and the next round deals that out to all of them. The last round is played to its end.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time

from .control import ControlSpec
from .errors import StoreError
from .parts import run_directory
from .store import Store

__all__ = ["ROUNDS", "Round", "RoundSpec"]

logger = logging.getLogger(__name__)

#: Rounds of a job with several workers. With one of four workers a quarter as fast as the others, all is done after
#: 4.0 times what one of the others needs for its share in one round, 1.75 in two, 1.33 in three; 1.23 is the least.
ROUNDS = 3
POLL_S = 1.0
#: How long the others go on after the first is done: what is done by then is not worth a round, which costs a cluster
#: some seconds for new worker processes.
GRACE_S = 4.0


@dataclasses.dataclass(frozen=True)
class RoundSpec:
    """One round of a run; plain data that pickles.

    Attributes:
        run: where the run keeps its markers.
        number: of the round, from 1.
    """

    run: ControlSpec
    number: int

    @property
    def marker(self) -> str:
        """The path, inside the output, of the marker that ends the round."""
        return f"{run_directory(self.run.run_id)}/rounds/{self.number}.json"


class Round:
    """One round as this process sees it; thread-safe.

    Args:
        spec: of the round.
        poll_s: seconds between two looks at the store.
        grace_s: seconds from the first worker's end to the round's.
    """

    _shared: dict[tuple[str, str, int], Round] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(self, spec: RoundSpec, *, poll_s: float = POLL_S, grace_s: float = GRACE_S) -> None:
        self._spec, self._poll_s, self._grace_s = spec, poll_s, grace_s
        self._store = Store(spec.run.output_uri, spec.run.storage)
        self._lock = threading.Lock()
        self._bundles = 0
        self._watched = False
        #: Hand back what is not begun; cheap enough to ask for every input.
        self.over = False

    @classmethod
    def shared(cls, spec: RoundSpec) -> Round:
        """The process's view of this round."""
        key = (spec.run.output_uri, spec.run.run_id, spec.number)
        with cls._shared_lock:
            if key not in cls._shared:
                cls._shared[key] = cls(spec)
            return cls._shared[key]

    def begin(self) -> None:
        """A bundle begins."""
        with self._lock:
            self._bundles += 1
            if self._watched or self.over:
                return
            self._watched = True
        threading.Thread(target=self._watch, name=f"bulkinfer-round-{self._spec.number}", daemon=True).start()

    def end(self, *, done: bool = True) -> None:
        """A bundle ends; all others are told at once when it is done, as a runner may end this process now.

        A bundle is a worker's whole share: so it is on all runners whose jobs go in rounds (see docs/design.md).

        Args:
            done: its last call is home; False for a bundle that failed.
        """
        with self._lock:
            self._bundles -= 1
            if not done or self._bundles or self.over:
                return
        try:
            self._store.write(self._spec.marker, b"{}")
        except StoreError as error:
            # The others then finish what they have, as they would without rounds.
            logger.warning("a round's marker cannot be written: %s", error)

    def _watch(self) -> None:
        try:
            while not self._is_marked():
                time.sleep(self._poll_s)
                if not self._bundles:
                    return
            time.sleep(self._grace_s)
            self.over = True
            logger.info("what is not begun is dealt out again: round=%d", self._spec.number)
        finally:
            self._watched = False  # a further bundle watches again

    def _is_marked(self) -> bool:
        try:
            return self._store.exists(self._spec.marker)
        except StoreError as error:
            logger.warning("a round's marker cannot be read: %s", error)
            return False
