"""On a Spark cluster of two hosts: tables equal those of direct, workers are limited, and a host may be lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.bad_days import until
from support.cluster_downloads import CACHE
from support.fault_server import FaultServer
from support.field import MODEL, PATIENCE, Field
from support.jobs import COMMAND
from support.services import dying_with_us
from support.spark_cluster import SparkCluster, spark_cluster

from .test_matrix import VOLATILE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]


@pytest.fixture(scope="module")
def spark(field: Field) -> Iterator[SparkCluster]:
    """Two hosts of four cores, which could run eight tasks at once."""
    cluster = field.cluster
    with spark_cluster(CACHE / "logs", cluster.here, cluster.spare, pool_env=cluster.pool_env) as running:
        yield running


def _job(
    field: Field, faults: FaultServer, inputs: int, runner: dict[str, Any], **calls: Any
) -> dict[str, Any]:
    return {
        "source": field.texts(inputs),
        "model": {"url": MODEL, "endpoint": faults.endpoint, "allow_plaintext": True},
        "calls": {"batch_size": 2, "in_flight": 4, **calls},
        "output": {"part_seconds": 2},
        "runner": runner,
    }


def _on(spark: SparkCluster, workers: int = 4) -> dict[str, Any]:
    return {"name": "spark", "workers": workers, "options": spark.options()}


def test_tables_are_those_of_direct_and_a_limit_is_divided_among_as_many_as_the_job_says(
    field: Field, faults: FaultServer, spark: SparkCluster, record_property: Callable[[str, Any], None]
) -> None:
    """More workers than that would together exceed the limit."""
    faults.set(base_ms=50, places=256)
    ran = field.run("spark-hosts", _job(field, faults, 600, _on(spark), calls_per_second=15))
    assert ran.code == 0, ran.err[-3000:]
    stats = faults.stats()
    record_property("peers", stats["peers"])
    record_property("fullest_second", stats["fullest_second"])
    assert len(stats["peers"]) <= 4
    assert len({peer.split(":")[1] for peer in stats["peers"]}) == 2  # ipv4:HOST:PORT
    assert stats["fullest_second"] <= 15
    assert set(stats["answered"].values()) == {1}
    ran = field.run("spark-hosts-direct", _job(field, faults, 600, {"name": "direct"}))
    assert ran.code == 0, ran.err[-3000:]
    tables = [
        field.rows(name, "predictions", without=VOLATILE) for name in ("spark-hosts", "spark-hosts-direct")
    ]
    assert len(tables[0]) == 600
    assert tables[0] == tables[1]


def test_tables_are_exact_when_a_host_is_lost(
    field: Field, faults: FaultServer, spark: SparkCluster, record_property: Callable[[str, Any], None]
) -> None:
    """Spark reruns its tasks on the other host, and sends their inputs again, or the same command finishes the job."""
    inputs = 1200
    faults.set(base_ms=500, places=256)
    command = [
        *COMMAND,
        "run",
        str(field.write("spark-lost", _job(field, faults, inputs, _on(spark)))),
        "--json",
    ]
    with subprocess.Popen(
        dying_with_us(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launcher:
        until(
            lambda: len(faults.stats()["answered"]) >= inputs / 3,
            timeout=PATIENCE,
            what="a third of the answers",
        )
        for service in spark.workers[-1]:
            service.kill()
        out, err = launcher.communicate(timeout=PATIENCE)
    record_property("code", launcher.returncode)
    record_property("said", err.splitlines()[-1:])
    assert launcher.returncode in (0, 1), err
    if launcher.returncode:
        ran = subprocess.run(
            dying_with_us(command), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        assert ran.returncode == 0, ran.stderr
        out = ran.stdout
    answered = faults.stats()["answered"]
    record_property("answered_again", sum(answered.values()) - inputs)
    record_property("summary", json.loads(out))
    assert [row["input_id"] for row in field.rows("spark-lost", "predictions")] == [
        f"i{n:06d}" for n in range(inputs)
    ]
    assert field.rows("spark-lost", "errors") == []
