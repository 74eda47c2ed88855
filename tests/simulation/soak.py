"""Plays one simulated history after another, and fuzz between them, until the time is over: `make soak`.

    PYTHONPATH=tests python tests/simulation/soak.py --seconds 3600 [--first 1000]

Every 25th seed is also one run of each fuzz in `tests/fuzz`. Prints each seed that fails with the last line of its
reason; such a seed goes into `FOUND` of its test.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).parents[1] / "fuzz")
)  # also in the pool's processes, which import this anew

import test_answers
import test_durability
import test_inputs
import test_jobs
import test_limits


def _limits(seed: int) -> None:
    fleet = test_limits.play(seed)
    assert fleet.fullest <= fleet.rate, f"{fleet.fullest} calls in a second of {fleet.rate}"
    assert not fleet.lost, "a worker gave up"


PLAYS: dict[str, Callable[[int], object]] = {
    "durability": test_durability.play,
    "limits": _limits,
    "answers": test_answers.play,
    "inputs": test_inputs.play,
    "jobs": test_jobs.play,
}
_FUZZ, _FUZZ_EVERY = ("answers", "inputs", "jobs"), 25  #: whole jobs take as long as a hundred histories


def _play(job: tuple[str, int]) -> tuple[str, int, str]:
    name, seed = job
    try:
        PLAYS[name](seed)
    except Exception as error:  # noqa: BLE001  (every fault is told with its seed)
        return name, seed, (str(error).strip() or type(error).__name__).splitlines()[-1]
    return name, seed, ""


def main() -> int:
    """Play until the time is over; 1 when a seed failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--first", type=int, default=1_000, help="the first seed")
    options = parser.parse_args()
    failed = played = 0
    end = time.monotonic() + options.seconds
    seeds = itertools.count(options.first)
    # A new process now and then: a simulated process that was killed leaves its greenlets behind.
    with multiprocessing.get_context("spawn").Pool(
        os.cpu_count(), logging.disable, (logging.CRITICAL,), maxtasksperchild=50
    ) as pool:
        while time.monotonic() < end:
            jobs = [
                (name, seed)
                for seed in itertools.islice(seeds, 100)
                for name in PLAYS
                if name not in _FUZZ or seed % _FUZZ_EVERY == 0
            ]
            for name, seed, reason in pool.imap_unordered(_play, jobs, chunksize=4):
                played += 1
                if reason:
                    failed += 1
                    sys.stdout.write(f"{name} seed {seed}: {reason}\n")
                    sys.stdout.flush()
    sys.stdout.write(f"{played} plays, {failed} failed\n")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
