"""One writer at an output: a claim file a run, kept fresh.

A run writes its claim, then lists all claims. One that sees a claim that is held gives way. Of several that
only just begin, the one with the smallest name goes on, after the others have withdrawn. Whether the process
of a claim of another machine lives cannot be looked up, so one waits until it renews the claim, or the claim expires.
"""

from __future__ import annotations

import logging
import time
from types import TracebackType

from ..errors import OutputInUseError
from ..storage.store import Store
from .claims import TTL_S, Claim, ClaimFile
from .parts import RUNS

__all__ = ["LOCKS", "RunLock", "has_claim"]

logger = logging.getLogger(__name__)

LOCKS = f"{RUNS}/locks"
_SETTLE_S = 0.25
_POLL_S = 1.0


class RunLock:
    """The right to write to an output, from entering the block to its end.

    Args:
        store: of the output.
        run_id: of the run that wants to write.
        ttl_s: seconds after which other machines take a silent run for dead.

    Raises:
        OutputInUseError: another run that is alive writes there.
        StoreError: the output cannot be written.
    """

    def __init__(self, store: Store, run_id: str, *, ttl_s: float = TTL_S) -> None:
        self._store = store
        self._claim = ClaimFile(store, LOCKS, run_id, run_id, ttl_s=ttl_s)

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, or say who has it; waits until another machine's claim is renewed or expires."""
        try:
            self._arbitrate()
        except BaseException:
            self._claim.withdraw()
            raise
        self._claim.keep()

    def release(self) -> None:
        """Give the lock back."""
        self._claim.withdraw()

    def _arbitrate(self) -> None:
        deadline = time.monotonic() + self._claim.ttl_s + 10
        first_seen: dict[str, float] = {}
        told = False
        while True:
            self._claim.write(held=False)
            others = [claim for claim in self._claim.rivals() if claim.alive]
            if not others:
                break
            ahead = [claim for claim in others if claim.held or claim.path < self._claim.path]
            for claim in ahead:
                if claim.here or first_seen.setdefault(claim.path, claim.written_at) != claim.written_at:
                    raise _in_use(self._store, claim)
            if time.monotonic() > deadline:
                raise _in_use(self._store, (ahead or others)[0])
            if ahead and not told:
                _tell(self._store, ahead[0])
                told = True
            # Later ones that only began withdraw, or turn out to hold it.
            time.sleep(_POLL_S if ahead else _SETTLE_S)
        self._claim.write()
        rivals = self._claim.rivals()
        for rival in rivals:
            if rival.alive and rival.held:
                raise _in_use(self._store, rival)
        self._claim.remove_dead([rival for rival in rivals if not rival.alive])


def has_claim(store: Store, run_id: str) -> bool:
    """Whether a run's claim is there: its launcher holds the lock for it, or died and nobody took it since."""
    return store.exists(f"{LOCKS}/{run_id}.json")


def _in_use(store: Store, claim: Claim) -> OutputInUseError:
    return OutputInUseError(
        f"run {claim.run_id} writes to {store.uri} since {claim.since} "
        f"(process {claim.pid} on {claim.host}); wait until it ends, stop it, or set another output.uri. "
        f"If it is dead, its claim expires by itself within {claim.ttl_s:.0f} s"
    )


def _tell(store: Store, claim: Claim) -> None:
    logger.warning(
        "run %s (process %d on %s) writes to %s, or is dead: waiting up to %.0f s for a sign of life",
        claim.run_id,
        claim.pid,
        claim.host,
        store.uri,
        claim.ttl_s - claim.age_s + _POLL_S,
    )
