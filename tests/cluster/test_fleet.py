"""Several workers together keep a rate limit, and work is spread evenly; `benchmarks/fleet.py` measures speed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.fault_server import FaultServer
from support.field import MODEL, PATIENCE, Field
from support.redis_server import redis_server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]


def _job(field: Field, server: FaultServer, inputs: int, **calls: Any) -> dict[str, Any]:
    return {
        "source": field.texts(inputs),
        "model": {"url": MODEL, "endpoint": server.endpoint, "allow_plaintext": True},
        "calls": calls,
        "runner": field.runner("flink", 4),
    }


@pytest.mark.parametrize("how", ["parts", pytest.param("redis", marks=pytest.mark.cluster_all)])
def test_a_fleet_keeps_15_calls_a_second(
    field: Field, faults: FaultServer, record_property: Callable[[str, Any], None], how: str
) -> None:
    """The limit is divided in whole parts by rank, or kept by a limiter on Redis; every worker sends calls."""
    faults.set(base_ms=50, places=256)
    with contextlib.ExitStack() as stack:
        calls: dict[str, Any] = {"batch_size": 2, "in_flight": 8, "calls_per_second": 15}
        if how == "redis":
            calls["limiter"] = stack.enter_context(redis_server(field.cluster.here.ip))
        ran = field.run(f"limit-{how}", _job(field, faults, 1200, **calls))
    assert ran.code == 0, ran.err[-3000:]
    stats = faults.stats()
    record_property("fullest_second", stats["fullest_second"])
    record_property("used", round(stats["calls"] / stats["seconds"] / 15, 3))
    assert stats["fullest_second"] <= 15
    assert len(stats["peers"]) >= 4


@pytest.mark.cluster_all
def test_a_slow_worker_does_not_hold_the_rest_back(
    field: Field, faults: FaultServer, record_property: Callable[[str, Any], None]
) -> None:
    """One of four gets its answers six times later; without rebalancing it would do a quarter of all inputs."""
    faults.set(base_ms=500, places=256, first_peer_times=6)
    ran = field.run("slow", _job(field, faults, 1920, batch_size=2, in_flight=8))
    assert ran.code == 0, ran.err[-3000:]
    stats = faults.stats()
    slow, *others = stats["peers"].values()
    record_property("slow", slow)
    record_property("others", others)
    assert slow + sum(others) == 1920
    assert max(stats["answered"].values()) == 1
    assert slow < 0.75 * 1920 / 4


@pytest.mark.cluster_all
def test_200_000_references_in_one_manifest_are_spread_evenly(
    field: Field, faults: FaultServer, record_property: Callable[[str, Any], None]
) -> None:
    """No worker gets more than 1.3 times the mean."""
    faults.set(places=256)
    ran = field.run("spread", _job(field, faults, 200_000, batch_size=128, in_flight=4))
    assert ran.code == 0, ran.err[-3000:]
    assert ran.json["predictions"] == 200_000
    parts = list(faults.stats()["peers"].values())
    record_property("parts", parts)
    assert len(parts) == 4
    assert max(parts) <= 1.3 * 200_000 / 4


@pytest.mark.cluster_all
@pytest.mark.parametrize("name", ["flink", "spark"])
def test_files_of_one_folder_are_spread_evenly(
    field: Field, faults: FaultServer, record_property: Callable[[str, Any], None], name: str
) -> None:
    """One worker lists them and all send them: no worker gets more than 1.3 times the mean."""
    files, filesystem = 1600, field.filesystem()
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda n: filesystem.pipe(f"inputs/folder/{n:05d}.txt", f"text {n:05d}".encode()),
                range(files),
            )
        )
    faults.set(base_ms=200, places=256)
    sections = {
        **_job(field, faults, 600, batch_size=4, in_flight=4),
        "source": {"files": "s3://inputs/folder/*.txt", "storage": field.storage},
        "runner": field.runner(name, 4),
    }
    ran = field.run(f"folder-{name}", sections)
    assert ran.code == 0, ran.err[-3000:]
    parts = list(faults.stats()["peers"].values())
    record_property("parts", parts)
    assert sum(parts) == files
    assert len(parts) >= 4
    assert max(parts) <= 1.3 * files / 4
