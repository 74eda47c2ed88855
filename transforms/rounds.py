"""Work in rounds: what a slow worker has not begun when another one runs dry is dealt out again.

Flink, Spark and the local runner deal all work out before the first call, evenly, and never take any back: one slow
worker then holds the whole job for as long as its share takes. So a job of several workers goes in rounds. A worker
that has run dry says so with a marker beside the run's record; the others, who look for it, hand back what they have
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
#: A worker that had nothing to do for so long has run dry: between two bundles it has nothing for a moment.
DRY_S = 1.0
POLL_S = 1.0


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
        dry_s: seconds without work after which the process ends the round for all.
        poll_s: seconds between two looks at the store.
    """

    _shared: dict[tuple[str, str, int], Round] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(self, spec: RoundSpec, *, dry_s: float = DRY_S, poll_s: float = POLL_S) -> None:
        self._spec, self._dry_s, self._poll_s = spec, dry_s, poll_s
        self._store = Store(spec.run.output_uri, spec.run.storage)
        self._lock = threading.Lock()
        self._bundles = 0
        self._dry_since = 0.0
        self._watched = False
        #: Somebody has run dry: hand back what is not begun. Cheap enough to ask for every input.
        self.over = False

    @classmethod
    def shared(cls, spec: RoundSpec) -> Round:
        """The process's view of this round."""
        key = (spec.run.output_uri, spec.run.run_id, spec.number)
        with cls._shared_lock:
            return cls._shared.setdefault(key, cls(spec))

    def begin(self) -> None:
        """A bundle begins."""
        with self._lock:
            self._bundles += 1
            if self._watched or self.over:
                return
            self._watched = True
        threading.Thread(target=self._watch, name=f"bulkinfer-round-{self._spec.number}", daemon=True).start()

    def end(self) -> None:
        """A bundle is done, its last call included."""
        with self._lock:
            self._bundles -= 1
            self._dry_since = time.monotonic()

    def _watch(self) -> None:
        while not self.over:
            with self._lock:
                working, dry = self._bundles > 0, time.monotonic() - self._dry_since
                if not working and dry >= self._dry_s:
                    self._watched = False  # a further bundle watches again
                    break
            if working:
                self._look()
            time.sleep(self._poll_s if working else self._dry_s - dry)
        else:
            return
        self._run_dry()

    def _look(self) -> None:
        try:
            self.over = self._store.exists(self._spec.marker)
        except StoreError as error:
            logger.warning("a round's marker cannot be read: %s", error)
        if self.over:
            logger.info("what is not begun is dealt out again: round=%d", self._spec.number)

    def _run_dry(self) -> None:
        try:
            if not self._store.exists(f"{run_directory(self._spec.run.run_id)}/commit.json"):
                self._store.write(self._spec.marker, b"{}")
        except StoreError as error:
            # The others then finish what they have, as they would without rounds.
            logger.warning("a round's marker cannot be written: %s", error)
