"""Measures several workers on a real Flink cluster: scaling, use of a rate limit, and spread of the work.

- against an endpoint of 500 ms a call and many slots: the throughput of 4 workers over that of 1, at least 3.6; and
  over what the calls in flight allow.
- 15 calls a second for 4 workers, divided in parts and by a Redis: no one-second window above it, at least 90 % used.
- one of 4 workers that is six times as slow: the whole job over one without.
- 200,000 references of one manifest: the fullest worker over the mean, at most 1.3.

Starts the cluster of `make cluster-test` and needs what that needs: root and iproute2, Java, Maven.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from endpoint import MODEL_URL, arguments, report, running
from support.cluster_downloads import CACHE
from support.fault_server import FaultServer
from support.field import Field, playing_field
from support.redis_server import redis_server
from support.services import orderly_end

LATENCY_S, IN_FLIGHT, BATCH = 0.5, 8, 8


class Fleet:
    """Runs jobs of short texts on Flink and checks their tables.

    Args:
        field: the cluster.
        server: the endpoint, where all of its hosts reach it.
    """

    def __init__(self, field: Field, server: FaultServer) -> None:
        self.field, self.server = field, server

    def run(self, name: str, inputs: int, *, workers: int = 4, **calls: Any) -> Mapping[str, Any]:
        """Run one job; returns the endpoint's figures of it."""
        sections = {
            "source": self.field.texts(inputs),
            "model": {"url": MODEL_URL, "endpoint": self.server.endpoint, "allow_plaintext": True},
            "calls": calls,
            "runner": self.field.runner("flink", workers),
        }
        ran = self.field.run(name, sections, timeout=900)
        if ran.code:
            raise RuntimeError(f"{name}: exit code {ran.code}: {ran.err[-3000:]}")
        stats = self.server.stats()
        assert ran.json["predictions"] == inputs, ran.json
        assert len(stats["answered"]) == inputs
        assert set(stats["answered"].values()) == {1}, "an input was paid for twice"
        return stats


def scale(fleet: Fleet, fraction: float) -> None:
    """4 workers against 1, the same number of inputs for each worker."""
    each = int(40 * fraction) * IN_FLIGHT * BATCH
    rates = {}
    for workers in (1, 4):
        fleet.server.set(base_ms=LATENCY_S * 1000, places=1024)
        inputs = each * workers
        name = f"scale-{workers}"
        stats = fleet.run(name, inputs, workers=workers, batch_size=BATCH, in_flight=IN_FLIGHT)
        rates[workers] = inputs / stats["seconds"]
        of_ideal = rates[workers] / (workers * IN_FLIGHT * BATCH / LATENCY_S)
        report(f"{workers} workers, 500 ms a call", inputs=inputs, inputs_s=rates[workers], of_ideal=of_ideal)
    report("4 workers over 1", times=rates[4] / rates[1])


def limits(fleet: Fleet, fraction: float) -> None:
    """15 calls a second, from the first call to the last."""
    inputs = int(900 * fraction) * 2
    for how in ("parts", "redis"):
        fleet.server.set(base_ms=50, places=1024)
        with contextlib.ExitStack() as stack:
            calls = {"batch_size": 2, "in_flight": 8, "calls_per_second": 15}
            if how == "redis":
                calls["limiter"] = stack.enter_context(redis_server(fleet.field.cluster.here.ip))
            stats = fleet.run(f"limit-{how}", inputs, **calls)
        used = stats["calls"] / stats["seconds"] / 15
        report(f"15 calls a second by {how}", fullest_second=stats["fullest_second"], used=used)


def slow_worker(fleet: Fleet, fraction: float) -> None:
    """Without rebalancing it would make the job six times as long."""
    inputs = int(960 * fraction) * 4
    seconds = {}
    for times in (1, 6):
        fleet.server.set(base_ms=LATENCY_S * 1000, places=1024, first_peer_times=times)
        stats = fleet.run(f"slow-{times}", inputs, batch_size=2, in_flight=IN_FLIGHT)
        seconds[times] = stats["seconds"]
    report("one of 4 workers six times as slow", seconds=seconds[6], times=seconds[6] / seconds[1])


def spread(fleet: Fleet, fraction: float) -> None:
    """So many references that listing, chunking and shuffling matter."""
    inputs = int(200_000 * fraction)
    fleet.server.set(places=1024)
    stats = fleet.run("spread", inputs, batch_size=128, in_flight=4)
    parts = sorted(stats["peers"].values())
    report("200,000 references over 4 workers", parts=parts, fullest=parts[-1] / (inputs / 4))


def main() -> None:
    """Print one line a case."""
    options = arguments(__doc__)
    os.environ["BULKINFER_POOL_SPARES"] = "0"  # spare workers would import Beam while calls are timed
    with orderly_end(), tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        with playing_field(CACHE / "logs", folder) as field, running(host=field.cluster.here.ip) as server:
            fleet = Fleet(field, server)
            for case in (scale, limits, slow_worker, spread):
                case(fleet, options.scale)


if __name__ == "__main__":
    main()
