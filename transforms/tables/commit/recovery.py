"""Finishes what a killed run left behind: stops its workers, and commits what they staged.

The reasoning is in `docs/design/resume.md`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Sequence

from ...runs.control import POLL_S, ControlSpec, StopReason
from ...runs.parts import commit_path, run_directory
from ...runs.record import RunRecord, list_runs
from ...storage.store import Store
from .commit import CommitResult, commit_run

__all__ = ["recover", "stop_workers"]

logger = logging.getLogger(__name__)

#: Runners whose workers go on when their launcher is killed.
_CLUSTERS = ("dataflow", "flink", "spark")
#: After so many seconds without a new part such workers have ended, or have only long calls left.
_QUIET_S = POLL_S + 3.0
_PATIENCE_S = 120.0


def recover(store: Store) -> list[CommitResult]:
    """Commit the runs that died before their commit, and stop workers that are still at it.

    Only the holder of the output's lock may call it.

    Returns:
        One result for each such run, the oldest first.
    """
    left = [run for run in list_runs(store) if not run.committed]
    stop_workers(store, [run for run in left if not store.exists(commit_path(run.run_id))])
    return [commit_run(store, run.run_id) for run in left]


def stop_workers(store: Store, runs: Sequence[RunRecord]) -> None:
    """Stop workers whose launcher is gone, and wait until they have staged what they have in flight.

    Args:
        store: of the output.
        runs: runs whose commit is not planned yet.
    """
    why = StopReason("interrupt", "the launcher has lost its workers")
    for run in runs:
        marker = ControlSpec(store.uri, {}, run.run_id).marker
        if not store.exists(marker):
            store.write(marker, json.dumps(dataclasses.asdict(why)).encode())
    remote = [run.run_id for run in runs if run.job.get("runner", {}).get("name") in _CLUSTERS]
    if not remote:
        return
    logger.warning(
        "workers of an interrupted run may still be working: they are told to stop, and what they finished is kept; "
        "run=%s",
        ", ".join(remote),
    )
    parts, started = -1, time.monotonic()
    changed = started
    while (now := time.monotonic()) < min(changed + _QUIET_S, started + _PATIENCE_S):
        found = sum(len(store.files(f"{run_directory(run_id)}/parts")) for run_id in remote)
        if found != parts:
            parts, changed = found, now
        time.sleep(min(0.5, _QUIET_S))
