"""Runs a real Flink cluster on one machine: JobManager and TaskManagers on hosts of their own, and worker pools.

    with cluster(Path(".cluster/logs")) as running:
        options = running.flink_options() | {...}

The JobManager and every TaskManager live in network namespaces, a TaskManager with a pool of Beam worker
processes beside it, as a pod with a sidecar does; the S3 server and the test stay on this machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .cluster_downloads import CACHE, flink_classpath, job_server_jar, our_wheel_site
from .services import Host, Service, hosts, orderly_end, start

__all__ = [
    "JAVA",
    "POOL_PORT",
    "Cluster",
    "Worker",
    "aws_environment",
    "cluster",
    "s3_service",
    "start_pool",
    "workers_site",
]

POOL_PORT = 50000
S3_PORT = 9000
_REST_PORT = 8081
# Flink 1.19 on Java 17 reads fields of the JDK; the same list stands in its own config.yaml.
JAVA = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
_OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *(
            "java.lang",
            "java.net",
            "java.io",
            "java.nio",
            "java.text",
            "java.time",
            "java.util",
            "sun.net.util",
        ),
        *("java.lang.reflect", "java.lang.invoke", "java.util.concurrent", "java.util.concurrent.atomic"),
        *(
            "java.util.concurrent.locks",
            "sun.nio.ch",
            "sun.nio.cs",
            "sun.security.action",
            "sun.util.calendar",
        ),
    )
]
_TASK_MANAGER = {
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": "128mb",
    "taskmanager.memory.task.heap.size": "384mb",
    "taskmanager.memory.framework.off-heap.size": "128mb",
    "taskmanager.memory.task.off-heap.size": "64mb",
    "taskmanager.memory.network.min": "256mb",
    "taskmanager.memory.network.max": "256mb",
    "taskmanager.memory.managed.size": "64mb",
    "taskmanager.memory.jvm-metaspace.size": "384mb",
    "taskmanager.memory.jvm-overhead.min": "128mb",
    "taskmanager.memory.jvm-overhead.max": "128mb",
}


#: The folder that pools import bulkinfer from; built once, because running pools go on importing from it.
workers_site = functools.cache(our_wheel_site)


@dataclasses.dataclass
class Worker:
    """A host with a TaskManager and its pool of worker processes."""

    host: Host
    task_manager: Service
    pool: Service
    resource_id: str

    def kill(self) -> None:
        """Kill the TaskManager and the pool with their children, as if the host were lost."""
        self.task_manager.kill()
        self.pool.kill()


@dataclasses.dataclass
class Cluster:
    """A running Flink cluster.

    Attributes:
        here: this machine as the hosts see it; bind what they must reach to `here.ip`.
        head: the JobManager's host.
        workers: the TaskManagers with their pools.
        s3: endpoint URL of the shared store.
        spare: further hosts on the same network, where nothing runs.
    """

    here: Host
    head: Host
    logs: Path
    slots: int
    restarts: int
    pool_env: Mapping[str, str]
    s3: str = ""
    spare: list[Host] = dataclasses.field(default_factory=list)
    job_manager: Service | None = None
    workers: list[Worker] = dataclasses.field(default_factory=list)
    services: list[Service] = dataclasses.field(default_factory=list)
    started: int = 0

    @property
    def master(self) -> str:
        """Address of the JobManager's REST API."""
        return f"{self.head.ip}:{_REST_PORT}"

    def flink_options(self) -> dict[str, Any]:
        """What `runner.options` needs to reach this cluster."""
        return {
            "flink_master": self.master,
            "flink_version": "1.19",
            "flink_job_server_jar": str(job_server_jar("flink")),
            "job_server_jvm_properties": JAVA[
                1:
            ],  # it lives for a minute, too short for the second compiler to pay
            "environment_type": "EXTERNAL",
            "environment_config": f"localhost:{POOL_PORT}",
        }

    def rest(self, path: str) -> Any:
        """Get JSON from the JobManager's REST API."""
        with urllib.request.urlopen(f"http://{self.master}{path}", timeout=10) as answer:
            return json.load(answer)

    def start_job_manager(self) -> None:
        """Start a JobManager, the first one or a new one after a loss."""
        config = self.logs / "conf"
        config.mkdir(parents=True, exist_ok=True)
        (config / "flink-conf.yaml").write_text(_flink_config(self.head.ip, self.logs / "tmp", self.restarts))
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self.job_manager = self._java("jobmanager", self.head, 512, main, ["--configDir", str(config)])
        self.job_manager.wait_for((self.head.ip, _REST_PORT))

    def start_worker(self, host: Host) -> Worker:
        """Start a TaskManager and its pool on a host."""
        pool = start_pool(host, self.logs, self.pool_env)
        self.services.append(pool)
        values = {
            **_TASK_MANAGER,
            "taskmanager.host": host.ip,
            "taskmanager.bind-host": host.ip,
            "taskmanager.numberOfTaskSlots": str(self.slots),
            "taskmanager.resource-id": f"{host.name}-{self.started}",
        }
        resource_id = values["taskmanager.resource-id"]
        self.started += 1
        arguments = ["--configDir", str(self.logs / "conf")]
        for key, value in values.items():
            arguments += ["-D", f"{key}={value}"]
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        task_manager = self._java(f"taskmanager-{host.name}", host, 512, main, arguments)
        worker = Worker(host, task_manager, pool, resource_id)
        self.workers = [*(other for other in self.workers if other.host != host), worker]
        return worker

    def wait_for_workers(self, timeout: float = 180) -> None:
        """Wait until exactly the living TaskManagers are registered.

        Raises:
            RuntimeError: they are not in time.
        """
        expected = {worker.resource_id for worker in self.workers if worker.task_manager.alive}
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # the JobManager listens before it serves
                known = {worker["id"] for worker in self.rest("/taskmanagers")["taskmanagers"]}
                # A TaskManager is listed before its slots are.
                if known == expected and self.rest("/overview")["slots-total"] == len(known) * self.slots:
                    return
            time.sleep(0.2)
        tails = "\n".join(worker.task_manager.tail() for worker in self.workers)
        raise RuntimeError(f"{sorted(expected)} did not register:\n{tails}")

    def replace(self, worker: Worker) -> Worker:
        """Start a new TaskManager and pool on the host of one that was killed."""
        return self.start_worker(worker.host)

    def _java(self, name: str, host: Host, heap: int, main: str, arguments: list[str]) -> Service:
        command = [*JAVA, *_OPENS, f"-Xmx{heap}m", "-XX:MaxMetaspaceSize=384m", "-cp"]
        log = self.logs / f"{name}.log"
        log4j = {"JAVA_TOOL_OPTIONS": f"-Dlog4j.configurationFile={self.logs / 'conf' / 'log4j.properties'}"}
        _log4j_config(self.logs / "conf" / "log4j.properties")
        service = host.start(name, [*command, flink_classpath(), main, *arguments], log, log4j)
        self.services.append(service)
        return service


@contextlib.contextmanager
def cluster(
    logs: Path,
    *,
    workers: int = 2,
    slots: int = 2,
    restarts: int = 0,
    spare: int = 0,
    pool_env: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Start a Flink cluster with its S3 server, and stop all of it at the end; the logs stay.

    Args:
        logs: folder for logs and temporary files.
        workers: TaskManagers, each on a host of its own with a pool.
        slots: of each TaskManager.
        restarts: how often Flink itself restarts a failed job; by default never, as an unconfigured Flink.
        spare: hosts on the same network for others.
        pool_env: environment of the pools, such as the workers' keys.
    """
    job_server_jar("flink")
    with hosts(1 + workers + spare) as (here, (head, *machines)):
        environment = {**(pool_env or {}), **aws_environment(f"http://{here.ip}:{S3_PORT}")}
        running = Cluster(here, head, logs.absolute(), slots, restarts, environment)
        try:
            store = s3_service(here.ip, running.logs)
            running.services.append(store)
            running.start_job_manager()
            running.spare = machines[workers:]
            for machine in machines[:workers]:
                running.start_worker(machine)
            running.wait_for_workers()
            store.wait_for((here.ip, S3_PORT))
            running.s3 = f"http://{here.ip}:{S3_PORT}"
            yield running
        finally:
            for service in reversed(running.services):
                service.stop(timeout=3)
            shutil.rmtree(running.logs / "tmp", ignore_errors=True)  # killed hosts leave the jobs' jars


def aws_environment(url: str) -> dict[str, str]:
    """Make environment variables for the S3 server's clients, so that job files need no storage options."""
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    return {**keys, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}


def s3_service(ip: str, logs: Path, port: int = S3_PORT) -> Service:
    """Start an S3 API server as a process of its own."""
    command = [sys.executable, "-m", "moto.server", "--host", ip, "--port", str(port)]
    return start("s3", command, logs / "s3.log", {"MOTO_ALLOW_NONEXISTENT_REGION": "true"})


def start_pool(host: Host, logs: Path, env: Mapping[str, str]) -> Service:
    """Start a pool of Beam worker processes: on a separate host at `POOL_PORT`, on this machine at a free port."""
    # An empty working directory, so that workers do not import from ours.
    cwd = logs.absolute() / "empty"
    cwd.mkdir(parents=True, exist_ok=True)
    port = POOL_PORT if host.namespace else 0
    pool = host.start(
        f"pool-{host.name}",
        [
            *(sys.executable, "-m", "bulkinfer.pipelines.worker_pool", "--port", str(port)),
            *("--spares", os.environ.get("BULKINFER_POOL_SPARES", "2")),  # they halve the time of a short job
        ],
        logs.absolute() / f"pool-{host.name}-{time.monotonic_ns()}.log",
        {"PYTHONPATH": str(workers_site()), **env},
        cwd,
    )
    pool.wait_for_log("listens on")
    return pool


def _flink_config(address: str, temporary: Path, restarts: int) -> str:
    values = {
        "jobmanager.rpc.address": address,
        # The JobManager connects to itself over localhost; its namespace has no other reachable interfaces.
        "jobmanager.bind-host": "0.0.0.0",
        "rest.address": address,
        "rest.bind-address": address,
        "io.tmp.dirs": temporary,
        # A lost host is noticed within seconds, not the default 50.
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 6000,
        "restart-strategy.type": "fixed-delay" if restarts else "none",
        "restart-strategy.fixed-delay.attempts": restarts,
        "restart-strategy.fixed-delay.delay": "1 s",
        "cluster.evenly-spread-out-slots": "true",
    }
    temporary.mkdir(parents=True, exist_ok=True)
    return "".join(f"{key}: {value}\n" for key, value in values.items())


def _log4j_config(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "rootLogger.level = INFO\nrootLogger.appenderRef.out.ref = Out\n"
        "appender.out.name = Out\nappender.out.type = CONSOLE\nappender.out.layout.type = PatternLayout\n"
        "appender.out.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %x - %m%n\n"
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), orderly_end(), cluster(CACHE / "logs") as up:
        sys.stderr.write(f"{up.flink_options()}\n{up.s3}\nCtrl-C stops it\n")
        time.sleep(1e9)
