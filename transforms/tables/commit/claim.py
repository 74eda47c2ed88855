"""Lets one process at a time commit a run; the commit step, the launcher and a later recovery may all try.

A committer writes its claim beside the run's record, then lists the claims of others. It proceeds when no other claim
is alive; else the claim with the smallest name stays and waits, and all others are withdrawn and tried again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import time
from collections.abc import Iterator

from ...errors import OutputInUseError
from ...runs.claims import TTL_S, Claim, ClaimFile
from ...runs.parts import run_directory
from ...storage.store import Store

__all__ = ["committing"]

logger = logging.getLogger(__name__)

_PREFIX = "committing-"
_POLL_S = 0.5
_TELL_S = 60.0
#: A living committer that takes longer is stuck, for example in a store call that never returns.
_PATIENCE_S = 1800.0


@contextlib.contextmanager
def committing(
    store: Store, run_id: str, *, ttl_s: float = TTL_S, patience_s: float = _PATIENCE_S
) -> Iterator[ClaimFile]:
    """Hold the exclusive right to commit a run inside the block; waits while another living process holds it.

    It costs one write, one listing and one deletion. A committer that does not renew its claim for `ttl_s` loses the
    right, and finds its claim `lapsed`.

    Args:
        store: of the output.
        run_id: of the run.
        ttl_s: seconds after which others take a silent committer for dead; one of this machine whose process has
            ended is known to be dead at once.
        patience_s: the most seconds to wait for a living committer.

    Raises:
        OutputInUseError: another living process holds the right for longer than that.
        StoreError: the output cannot be written.
    """
    name = f"{_PREFIX}{secrets.token_hex(4)}"
    claim = ClaimFile(store, run_directory(run_id), name, run_id, prefix=_PREFIX, ttl_s=ttl_s)
    try:
        _wait_for_turn(claim, patience_s)
        claim.keep()
        yield claim
    finally:
        claim.withdraw()


def _wait_for_turn(claim: ClaimFile, patience_s: float) -> None:
    began = time.monotonic()
    tell_at = began
    while True:
        claim.write()
        rivals = claim.rivals()
        # A living process whose claim is stale failed to withdraw it in a faulty store; it has no right any more.
        alive = [rival for rival in rivals if rival.alive and rival.fresh]
        if not alive:
            claim.remove_dead(rivals)
            return
        holder = min(alive, key=lambda rival: rival.since)  # the other waiting committers name the same one
        now = time.monotonic()
        if now - began > patience_s:
            raise _stuck(holder, now - began)
        if now >= tell_at:
            _tell(holder, now - began)
            tell_at = now + _TELL_S
        if min(rival.path for rival in alive) < claim.path:
            claim.withdraw()
        time.sleep(
            _POLL_S * random.uniform(0.5, 1.5)
        )  # random, or two committers would collide again and again


def _tell(other: Claim, waited_s: float) -> None:
    logger.warning(
        "waiting for another process that commits the run: run=%s pid=%d host=%s since=%s waited_s=%.0f; it goes on "
        "when that one ends, or is dead and its claim expires after %.0f s",
        other.run_id,
        other.pid,
        other.host,
        other.since,
        waited_s,
        other.ttl_s,
    )


def _stuck(other: Claim, waited_s: float) -> OutputInUseError:
    return OutputInUseError(
        f"process {other.pid} on {other.host} commits run {other.run_id} since {other.since}, and did not end in the "
        f"{waited_s / 60:.0f} minutes that it was waited for, though it is alive; when it is stuck stop it, and start "
        "the job again: nothing that is durable is lost, and the next start commits it"
    )
