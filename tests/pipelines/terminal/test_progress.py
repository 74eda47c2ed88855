"""The progress lines of a run."""

from __future__ import annotations

import io
import sys

from bulkinfer.pipelines.terminal import progress
from bulkinfer.pipelines.terminal.progress import ProgressSnapshot, describe, show_progress


class SteadyRate:
    def per_second(self, finished: int) -> float:
        return 10.0


def test_a_line_names_what_a_person_asks_for():
    counts = ProgressSnapshot(succeeded=90, failed=10, skipped=100, retries=3, in_flight=16)

    line = describe(counts, 1000, SteadyRate())

    assert line == "200/1000  10.0 inputs/s  16 in flight  10 errors  3 retries  100 skipped  ETA 0:01:20"


def test_an_unknown_total_gives_no_eta():
    assert (
        describe(ProgressSnapshot(succeeded=5), None, SteadyRate()) == "5  10.0 inputs/s  0 errors  0 retries"
    )


def test_a_log_gets_plain_lines(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.01)
    seen = []

    def snapshot() -> ProgressSnapshot:
        seen.append(1)
        return ProgressSnapshot(succeeded=len(seen))

    with show_progress(snapshot, lambda: 7, "what runs"):
        while len(seen) < 3:
            pass

    lines = log.getvalue().splitlines()
    assert lines[0] == "what runs"
    assert lines[1].startswith("1/7  ")
    assert "\x1b" not in log.getvalue()


def test_the_rate_follows_the_last_half_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    rate = progress._Rate()
    for _ in range(100):
        now[0] += 1
        rate.per_second(int(now[0]) * 5)
    for second in range(60):
        now[0] += 1
        latest = rate.per_second(500 + second * 20)

    assert 19 <= latest <= 21
