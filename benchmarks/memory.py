"""Compares a job's peak memory over 100,000 small inputs with that over 10,000: it must stay within 10 %.

A whole `bulkinfer run` of texts from a manifest, in one process, against the tests' endpoint. Parts close every second,
so that both jobs write several; a peak is the process's largest resident size. Each size runs several times; the
medians are compared. `--trace` adds a line with the resident size at each tenth of the inputs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.bad_days import Job  # noqa: E402  (the tests' job, found by the line above)
from support.fault_server import FaultServer, running  # noqa: E402


def main() -> None:
    """Print one line a run, and one that compares the sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--part-seconds", type=float, default=1.0)
    parser.add_argument("--trace", action="store_true", help="also the resident size over time")
    options = parser.parse_args()
    peaks: dict[int, list[float]] = {}
    with running() as server:
        for count in (options.small, options.large):
            for _ in range(options.runs):
                with tempfile.TemporaryDirectory() as folder:
                    figures = measure(server, Path(folder), count, options)
                peaks.setdefault(count, []).append(figures["peak_mb"])
                print(json.dumps(figures), flush=True)
    small, large = (statistics.median(peaks[count]) for count in (options.small, options.large))
    line = {"case": "memory_ratio", "small_mb": small, "large_mb": large, "ratio": round(large / small, 3)}
    print(json.dumps(line), flush=True)


def measure(server: FaultServer, folder: Path, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run a job of so many inputs; returns its figures, the peak among them."""
    job = Job(
        folder, server, count=count, batch=64, in_flight=8, part_seconds=options.part_seconds, base_ms=20
    )
    job.serve(inputs={})
    trace: list[float] = []
    with job.start() as started:
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(started.process.pid, peak, trace), daemon=True)
        watcher.start()
        ran = started.end(timeout=600)
        watcher.join()
    assert ran.code == 0, ran.err
    assert ran.json["predictions"] == count
    figures = {
        "case": "memory",
        "inputs": count,
        "peak_mb": round(peak[0], 1),
        "seconds": ran.json["seconds"],
    }
    if options.trace:
        figures["trace_mb"] = [round(mb) for mb in trace[:: max(1, len(trace) // 20)]]
    return figures


def watch(pid: int, peak: list[float], trace: list[float]) -> None:
    """Read a process's peak, and its size now, until it ends."""
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            sizes = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peak[0] = int(sizes["VmHWM"].split()[0]) / 1000
            trace.append(int(sizes["VmRSS"].split()[0]) / 1000)
        except (OSError, KeyError):
            return  # it ended
        time.sleep(0.05)


if __name__ == "__main__":
    main()
