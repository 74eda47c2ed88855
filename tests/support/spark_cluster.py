"""Runs Spark: as a local master with a worker pool, or as a cluster of several hosts in network namespaces.

The cluster runs the Spark inside Beam's job server, so no other distribution is needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .cluster import JAVA, POOL_PORT, start_pool
from .cluster_downloads import CACHE, job_server_jar
from .services import Host, Service

__all__ = ["SparkCluster", "spark_cluster", "spark_pool"]

_MASTER_PORT = 7077
_WEB_PORT = 8080


@contextlib.contextmanager
def spark_pool(logs: Path, pool_env: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Start a worker pool for a local Spark master; yields what `runner.options` needs to use both."""
    pool = start_pool(Host("spark", "127.0.0.1"), logs, pool_env or {})
    try:
        port = pool.log.read_text().rpartition("listens on 127.0.0.1:")[2].split()[0]
        yield {
            "spark_job_server_jar": str(job_server_jar("spark")),
            "job_server_jvm_properties": JAVA[1:],
            "environment_type": "EXTERNAL",
            "environment_config": f"localhost:{port}",
        }
    finally:
        pool.stop()


@dataclasses.dataclass
class SparkCluster:
    """A running Spark cluster.

    Attributes:
        here: this machine as the hosts see it; bind what they must reach to `here.ip`.
        workers: of each host its Spark worker and its pool.
    """

    here: Host
    head: Host
    workers: list[tuple[Service, Service]] = dataclasses.field(default_factory=list)

    def options(self) -> dict[str, Any]:
        """What `runner.options` needs to reach this cluster."""
        # Executors connect to the driver, which is a part of the job server on this machine.
        driver = [*JAVA[1:], f"-Dspark.driver.host={self.here.ip}", "-Dspark.executor.memory=512m"]
        return {
            "spark_master_url": f"spark://{self.head.ip}:{_MASTER_PORT}",
            "spark_job_server_jar": str(job_server_jar("spark")),
            "environment_config": f"localhost:{POOL_PORT}",
            "job_server_jvm_properties": driver,
        }

    def wait_for_workers(self, timeout: float = 120) -> None:
        """Wait until all workers have registered.

        Raises:
            RuntimeError: one did not.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # The Spark in the job server writes no log, so ask the master's web page.
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{self.head.ip}:{_WEB_PORT}/json/", timeout=10) as answer,
            ):
                if json.load(answer)["aliveworkers"] == len(self.workers):
                    return
            time.sleep(0.2)
        raise RuntimeError("a Spark worker did not register")


@contextlib.contextmanager
def spark_cluster(
    logs: Path,
    here: Host,
    machines: Sequence[Host],
    *,
    cores: int = 4,
    pool_env: Mapping[str, str] | None = None,
) -> Iterator[SparkCluster]:
    """Start a Spark cluster, and stop all of it at the end; the logs stay.

    Args:
        logs: folder for logs and temporary files.
        here: this machine, as the hosts see it.
        machines: one for the master, and one for each Spark worker with its pool.
        cores: tasks at once that each host offers.
        pool_env: environment of the pools, such as the workers' keys.
    """
    head, *others = machines
    home = CACHE.absolute() / "spark"
    (home / "jars").mkdir(parents=True, exist_ok=True)
    jar = home / "jars" / "spark.jar"
    jar.unlink(missing_ok=True)
    jar.symlink_to(job_server_jar("spark").absolute())
    java = [*JAVA, "-Xmx256m", "-cp", str(jar)]
    env = {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.12"}
    with contextlib.ExitStack() as stack:
        running = SparkCluster(here, head)

        def launch(name: str, host: Host, main: str, *arguments: str) -> Service:
            command = [*java, f"org.apache.spark.deploy.{main}", "--host", host.ip, *arguments]
            log = logs.absolute() / f"spark-{name}.log"
            service = host.start(f"spark-{name}", command, log, {**env, "SPARK_LOCAL_IP": host.ip})
            stack.callback(service.stop, timeout=3)
            return service

        master = launch(
            "master", head, "master.Master", "--port", str(_MASTER_PORT), "--webui-port", str(_WEB_PORT)
        )
        master.wait_for((head.ip, _MASTER_PORT))
        for number, machine in enumerate(others):
            pool = start_pool(machine, logs, pool_env or {})
            stack.callback(pool.stop, timeout=3)
            folder = logs.absolute() / "tmp" / f"spark-{number}"
            size = ["--cores", str(cores), "--memory", "1g", "--work-dir", str(folder), "--webui-port", "0"]
            url = f"spark://{head.ip}:{_MASTER_PORT}"
            running.workers.append((launch(f"worker-{number}", machine, "worker.Worker", *size, url), pool))
        running.wait_for_workers()
        yield running
