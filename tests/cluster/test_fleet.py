"""A fleet scales with its workers, shares its limits, and spreads its work.

The figures are printed; the bounds only tell a feature that works from one that does not, because the speed of a busy
machine is no property of the code.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.fault_server import FaultServer
from support.redis_server import redis_server

from .conftest import MODEL, Field

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def _job(field: Field, server: FaultServer, inputs: int, **calls: Any) -> dict[str, Any]:
    path = f"inputs/numbers-{inputs}.jsonl"
    filesystem = field.filesystem()
    if not filesystem.exists(path):
        lines = (json.dumps({"id": f"i{n:06d}", "body": f"text {n:06d}"}) + "\n" for n in range(inputs))
        filesystem.pipe(path, "".join(lines).encode())
    columns = {"content": "body", "id": "id"}
    return {
        "source": {
            "manifest": f"s3://{path}",
            "media": "text",
            "columns": columns,
            "storage": field.storage,
        },
        "model": {"url": MODEL, "endpoint": server.endpoint, "allow_plaintext": True},
        "calls": calls,
    }


def test_four_workers_are_several_times_as_fast_as_one(field: Field, faults: FaultServer) -> None:
    """Against a server that takes 500 ms for a call and has many places; from the first call to the last answer."""
    rate = {}
    for workers in (1, 4):
        inputs = 240 * 8 * workers
        faults.set(base_ms=500, places=256)
        sections = _job(field, faults, inputs, batch_size=8, in_flight=8)
        ran = field.run(f"scale-{workers}", {**sections, "runner": field.runner("flink", workers)})
        assert ran.code == 0, ran.err[-3000:]
        rate[workers] = inputs / faults.stats()["seconds"]
    print(f"inputs a second: {rate[1]:.1f} with 1 worker, {rate[4]:.1f} with 4")  # noqa: T201
    assert rate[4] >= 2 * rate[1]


def test_the_fleet_keeps_15_calls_a_second_and_uses_them(field: Field, faults: FaultServer) -> None:
    """By a limiter on Redis; a call that is held up on its way may arrive in the next one's window."""
    faults.set(base_ms=50, places=256)
    with redis_server(field.cluster.here.ip) as limiter:
        sections = _job(field, faults, 1200, batch_size=2, in_flight=8, calls_per_second=15, limiter=limiter)
        ran = field.run("limited", {**sections, "runner": field.runner("flink", 4)})
    assert ran.code == 0, ran.err[-3000:]
    stats = faults.stats()
    used = stats["calls"] / stats["seconds"] / 15
    print(f"limit of 15: fullest second {stats['fullest_second']}, {used:.0%} used")  # noqa: T201
    assert stats["fullest_second"] <= 16
    assert used >= 0.5


def test_fixed_shares_keep_the_limit_and_use_all_of_it(field: Field, faults: FaultServer) -> None:
    """Without a limiter: 15 among four workers are three each, and one more for the first three of them.

    Who has more is done sooner; what is left to the others is dealt out again, so the middle of the job tells.
    """
    faults.set(base_ms=50, places=256)
    sections = _job(field, faults, 1200, batch_size=2, in_flight=8, calls_per_second=15)
    ran = field.run("shares", {**sections, "runner": field.runner("flink", 4)})
    assert ran.code == 0, ran.err[-3000:]
    stats = faults.stats()
    begun = stats["arrivals"][0]
    used = sum(8 <= at - begun < 28 for at in stats["arrivals"]) / 20 / 15
    print(  # noqa: T201
        f"shares of 15: fullest second {stats['fullest_second']}, {used:.0%} used in the middle, "
        f"{stats['calls'] / stats['seconds'] / 15:.0%} from the first call to the last"
    )
    assert stats["fullest_second"] <= 16
    assert used >= 0.85  # three each, and nobody with more, would be 0.8


def test_a_slow_worker_does_not_hold_the_rest_back(field: Field, faults: FaultServer) -> None:
    """One of four gets its answers six times later; dealt out once, it would do a quarter of all inputs."""
    seconds, shares = {}, {}
    for times in (1, 6):
        faults.set(base_ms=500, places=256, first_peer_times=times)
        sections = _job(field, faults, 1920, batch_size=2, in_flight=8)
        ran = field.run(f"slow-{times}", {**sections, "runner": field.runner("flink", 4)})
        assert ran.code == 0, ran.err[-3000:]
        stats = faults.stats()
        seconds[times], shares[times] = stats["seconds"], list(stats["peers"].values())
        assert sum(shares[times]) == 1920
        assert max(stats["answered"].values()) == 1
    print(f"a worker six times as slow: {seconds[6]:.1f} s for {seconds[1]:.1f} s, {shares[6]} inputs")  # noqa: T201
    assert shares[6][0] < 0.75 * 1920 / 4


def test_200_000_references_in_one_manifest_are_spread_evenly(field: Field, faults: FaultServer) -> None:
    """No worker gets more than 1.3 times the mean."""
    faults.set(places=256)
    sections = _job(field, faults, 200_000, batch_size=128, in_flight=4)
    ran = field.run("spread", {**sections, "runner": field.runner("flink", 4)}, timeout=500)
    assert ran.code == 0, ran.err[-3000:]
    assert ran.json["predictions"] == 200_000
    shares = list(faults.stats()["peers"].values())
    print(f"inputs of each worker process: {shares}")  # noqa: T201
    assert len(shares) == 4
    assert max(shares) <= 1.3 * 200_000 / 4


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_files_of_one_folder_are_spread_evenly(field: Field, faults: FaultServer, name: str) -> None:
    """They are listed by one worker and sent by all: no worker gets more than 1.3 times the mean."""
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
    }
    ran = field.run(f"folder-{name}", {**sections, "runner": field.runner(name, 4)})
    assert ran.code == 0, ran.err[-3000:]
    shares = list(faults.stats()["peers"].values())
    print(f"files of each worker process on {name}: {shares}")  # noqa: T201
    assert sum(shares) == files
    assert len(shares) >= 4
    assert max(shares) <= 1.3 * files / 4
