"""Measures how much of a rate limit a whole job uses, and how many of its calls are refused.

- 15 calls a second configured and enforced: at least 97 % used, no one-second window above it, under 1 % throttled.
- the same, divided among four worker processes of this machine: at least 90 % used, no window above it.
- 15 enforced and not configured: after ten seconds at least 90 % used with under 5 % throttled.
- a limit that halves in the middle: the job has adapted within ten seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from endpoint import JobRun, arguments, report, run_job, running, text_manifest, text_source


def used(job: JobRun, limit: float, start: float, end: float) -> dict[str, float]:
    """Fractions of the limit used and of calls refused, between two times in seconds from the first call."""
    first = job.stats["arrivals"][0]
    calls = [at - first for at in job.stats["arrivals"] if start <= at - first < end]
    refused = [at - first for at in job.stats["refused"] if start <= at - first < end]
    return {
        "used": (len(calls) - len(refused)) / (limit * (end - start)),
        "throttled": len(refused) / max(1, len(calls)),
    }


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    seconds = max(25, int(60 * options.scale))
    with tempfile.TemporaryDirectory(dir=options.folder) as name, running() as server:
        folder = Path(name)

        def run(limited: float, workers: int = 1, **calls: Any) -> JobRun:
            count = int(limited * seconds) * 8
            job = {
                "source": text_source(text_manifest(folder, count)),
                "calls": {"batch_size": 8, **calls},
                "runner": {"workers": workers},
            }
            done = run_job(server, job, folder)
            assert done.summary["predictions"] == count, done.summary
            return done

        server.set(places=16, base_ms=50, calls_per_second=15)
        job = run(15, calls_per_second=15)
        last = job.stats["arrivals"][-1] - job.stats["arrivals"][0]
        report("limit configured", fullest_second=job.stats["fullest_second"], **used(job, 15, 0, last))

        server.set(places=16, base_ms=50, calls_per_second=15)
        job = run(15, workers=4, calls_per_second=15)
        last = job.stats["arrivals"][-1] - job.stats["arrivals"][0]
        report("limit of 4 workers", fullest_second=job.stats["fullest_second"], **used(job, 15, 0, last))

        server.set(places=16, base_ms=50, calls_per_second=15)
        job = run(15)
        last = job.stats["arrivals"][-1] - job.stats["arrivals"][0]
        report("limit found, first 10 s", **used(job, 15, 0, 10))
        report("limit found, after 10 s", **used(job, 15, 10, last))

        half = seconds / 2
        server.set(places=16, base_ms=50, calls_per_second=15, limit_changes=[[half, 7]])
        job = run(11)
        last = job.stats["arrivals"][-1] - job.stats["arrivals"][0]
        report("limit halves, 5 s before", **used(job, 15, half - 5, half))
        report("limit halves, 10 s after", **used(job, 7, half, half + 10))
        report("limit halves, then", **used(job, 7, half + 10, last))


if __name__ == "__main__":
    main()
