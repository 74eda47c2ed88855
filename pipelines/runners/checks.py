"""Checks that a job's runner can run it, before it starts; and explains a runner's failure messages.

Nothing here imports Beam: a missing job server must be reported in well under a second.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

from bulkinfer.transforms.calls.limits.redis_limiter import check_limiter
from bulkinfer.transforms.errors import RunnerError
from bulkinfer.transforms.job.config import JobConfig, RunnerConfig
from bulkinfer.transforms.storage.references import is_data

from .flink import flink_overview
from .options import Workers, master_of, merged_options, workers_of

__all__ = ["check_runner", "explained"]

logger = logging.getLogger(__name__)

_FLINK_ARTIFACT = "beam-runners-flink-{}-job-server"
_SPARK_ARTIFACT = "beam-runners-spark-3-job-server"
_PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_FLINK_VERSION = "2.2"  # Beam's own default
_ADDRESS = re.compile(r"[^\s:/]+:\d+|\[[0-9a-fA-F:]+\]:\d+")
_LOOPBACK = re.compile(r"^([a-z+]+://)?(localhost|127\.|\[::1\])", re.IGNORECASE)
_AGAIN = "run the same command again, it goes on where this run ended"
#: Patterns of runners' failure messages, and what each means for a job.
_FAILURES = (
    (
        r"No module named '?(bulkinfer[\w.]*)",
        "the workers cannot import {0}; install the same bulkinfer in their environment, or use its worker "
        "image",
    ),
    (
        r"finishConnect\(\.\.\) failed: Connection refused|StatusRuntimeException: UNAVAILABLE",
        "a task cannot reach its worker pool; start one beside every task manager or executor, with "
        "`python -m bulkinfer.pipelines.worker_pool`, and name its address in "
        "runner.options.environment_config",
    ),
    (
        r"TaskManager with id (\S+) (?:is no longer reachable|timed out)",
        f"the cluster lost the task manager {{0}}; {_AGAIN}",
    ),
    (
        r"Dataflow pipeline failed\. State: (\w+), Error:\s+None",
        "Dataflow ended the job as {0}; its page in the Cloud console tells why",
    ),
    (
        r"NoResourceAvailableException|Could not acquire the minimum required resources",
        "the cluster has too few free slots; lower runner.workers, or add task managers",
    ),
    (
        r"StatusRuntimeException: CANCELLED|SDK [Hh]arness .*(?:disconnected|closed)",
        f"a worker process ended; {_AGAIN}",
    ),
    (
        r"ConnectException: Connection refused|Channel became inactive|Stream removed|Socket closed",
        f"the cluster's master does not answer any more; {_AGAIN}",
    ),
)


def check_runner(config: JobConfig) -> None:
    """Check that a job's runner can run it.

    Raises:
        RunnerError: no job server, master, worker environment or java; or a store, a source or an endpoint
            that the workers cannot see.
    """
    runner = config.runner
    options = merged_options(runner)
    workers = workers_of(runner)
    if runner.name == "dataflow":
        _check_dataflow(options)
    elif runner.name == "prism":
        _check_prism(runner, options)
    elif runner.name in ("flink", "spark"):
        _check_portable(runner, options, workers)
    _check_locations(config, workers)
    if workers.remote:
        _check_storage(config)
    limiter = config.calls.limiter
    if limiter and (doubt := check_limiter(limiter, remote=workers.remote)):
        _warn(doubt)


def explained(text: str) -> RunnerError | None:
    """Explain a runner's failure message; None when it is unknown."""
    for pattern, message in _FAILURES:
        found = re.search(pattern, text)
        if found:
            named = [group for group in found.groups() if group]
            return RunnerError(message.format(*named) if named else message)
    return None


def _check_portable(runner: RunnerConfig, options: Mapping[str, Any], workers: Workers) -> None:
    if "job_endpoint" not in options and not options.get(f"{runner.name}_submit_uber_jar"):
        _check_job_server(runner.name, options)
    _check_environment(runner, options, workers)
    if runner.name == "flink" and "job_endpoint" not in options and workers.remote:
        _check_slots(runner, str(options["flink_master"]))


def _check_slots(runner: RunnerConfig, master: str) -> None:
    overview = flink_overview(master)
    slots = int(overview.get("slots-total", 0))
    free = int(overview.get("slots-available", slots))
    if not int(overview.get("taskmanagers", slots)):
        _warn(
            f"the Flink cluster at {master} has no task manager yet; one that starts them for a job, on Kubernetes or "
            "YARN, does so now, any other one lets the job wait"
        )
    elif slots < runner.workers:
        raise RunnerError(
            f"runner.workers is {runner.workers}, but the Flink cluster at {master} has {slots} slots; lower "
            "runner.workers, or add task managers"
        )
    elif free < runner.workers:
        _warn(
            f"runner.workers is {runner.workers}, and {free} of the Flink cluster's {slots} slots are free; the "
            "job waits for the others until the jobs that hold them end, or fails after Flink's "
            "slot.request.timeout"
        )


def _check_environment(runner: RunnerConfig, options: Mapping[str, Any], workers: Workers) -> None:
    kind = options.get("environment_type")
    config = str(options.get("environment_config") or options.get("sdk_container_image") or "")
    if workers.remote and (not kind or (kind == "DOCKER" and not config)):
        raise RunnerError(
            f"runner {runner.name}: the workers' environment is missing, and Beam's default image has no bulkinfer; "
            "add runner.options.environment_config: HOST:PORT of the worker pools, or environment_type: DOCKER with "
            "environment_config: IMAGE, built from configs/docker/Dockerfile"
        )
    if kind == "EXTERNAL" and not (config.startswith("{") or _ADDRESS.fullmatch(config)):
        raise RunnerError(
            f"runner.options.environment_config: {config!r} is no address of a worker pool; write HOST:PORT as a task "
            "sees it, localhost:50000 for a pool beside each"
        )
    master = master_of(runner.name, options)
    if kind == "LOOPBACK" and master and not _LOOPBACK.search(master):
        raise RunnerError(
            f"runner.options.environment_type: LOOPBACK makes workers of this process, which {master} does not reach; "
            "write EXTERNAL with environment_config: HOST:PORT of the worker pools"
        )


@functools.cache
def _warn(message: str) -> None:
    """Log a warning once, although the checks run twice: before Beam is imported, and before the job starts."""
    logger.warning(message)


def _check_job_server(name: str, options: Mapping[str, Any]) -> None:
    jar = options.get(f"{name}_job_server_jar")
    version = metadata.version("apache-beam")
    artifact = _SPARK_ARTIFACT
    if name == "flink":
        artifact = _FLINK_ARTIFACT.format(options.get("flink_version", _FLINK_VERSION))
    cached = Path.home() / ".apache_beam" / "cache" / "jars" / f"{artifact}-{version}.jar"
    if jar is None and not cached.exists():
        raise RunnerError(
            f"runner {name}: no job server; get it with `mvn dependency:copy "
            f"-Dartifact=org.apache.beam:{artifact}:"
            f"{version} -DoutputDirectory={cached.parent}`, or name one in "
            f"runner.options.{name}_job_server_jar, or a "
            "running one in runner.options.job_endpoint"
        )
    if jar is not None and "://" not in str(jar) and not Path(str(jar)).is_file():
        raise RunnerError(f"runner.options.{name}_job_server_jar: there is no file {jar}; correct the path")
    java = str(options.get("job_server_java_launcher", "java"))
    if shutil.which(java) is None:
        raise RunnerError(
            f"runner {name}: its job server needs Java and there is no `{java}` on the PATH; install a Java "
            "runtime 11 "
            "or 17, or name a running job server in runner.options.job_endpoint"
        )


def _check_dataflow(options: Mapping[str, Any]) -> None:
    for name, fix in (
        ("project", "the Google Cloud project"),
        ("region", "the region to run in"),
        ("temp_location", "a gs:// folder for temporary files"),
        ("sdk_container_image", "the worker image, built from configs/docker/Dockerfile"),
    ):
        if not options.get(name):
            raise RunnerError(f"runner dataflow: runner.options.{name} is missing; add {fix}")
    if not re.match(r"gs://[^/]+/", str(options["temp_location"])):
        raise RunnerError(
            f"runner dataflow: runner.options.temp_location is {options['temp_location']}, for which Beam would make "
            "a bucket of its own; write gs://BUCKET/FOLDER"
        )
    if util.find_spec("google.cloud") is None or util.find_spec("google.cloud.dataflow") is None:
        raise RunnerError(
            "runner dataflow: Beam's Google Cloud parts are missing; pip install 'apache-beam[gcp]'"
        )


def _check_prism(runner: RunnerConfig, options: Mapping[str, Any]) -> None:
    location = options.get("prism_location")
    if location is None and "job_endpoint" not in options:
        raise RunnerError(
            "runner prism: Beam would download Prism now and wait for it without end; build it with "
            f"`go install {_PRISM}@v{metadata.version('apache-beam')}` and give its binary in "
            "runner.options.prism_location, or a running one in runner.options.job_endpoint"
        )
    if location is not None and "://" not in str(location) and not Path(str(location)).exists():
        raise RunnerError(f"runner.options.prism_location: there is no file {location}; correct the path")
    if runner.workers > 1:
        raise RunnerError(
            f"runner.workers is {runner.workers}, but Prism gives all of a job to one worker; set runner.workers "
            "to 1 and calls.in_flight to what the model takes, or runner.name to direct for more processes"
        )


def _check_storage(config: JobConfig) -> None:
    from bulkinfer.transforms.runs.job_text import without_secrets  # noqa: PLC0415  (only here)

    for key, storage in (
        ("source.storage", config.source.storage),
        ("output.storage", config.output.storage),
    ):
        if without_secrets(storage) != storage:
            _warn(
                f"{key} holds secrets, and they travel with the job to the cluster; write {{env: NAME}} or "
                "{file: PATH} in place of each, which every worker reads for itself, or leave them out where the "
                "store's driver finds them in the workers' environment"
            )


def _check_locations(config: JobConfig, workers: Workers) -> None:
    source = config.source
    locations = [("output.uri", config.output.uri)]
    locations += [("source.files", pattern) for pattern in source.files or ()]
    locations += [("source.manifest", source.manifest or ""), ("source.table", source.table or "")]
    for key, text in locations:
        uri = (
            text if is_data(text) else text.rpartition("::")[2]
        )  # of a member of an archive: where that lies
        if uri.startswith("memory://") and not workers.shared_memory:
            raise RunnerError(
                f"{key}: {uri} is the memory of one process, but the job runs in several; use a directory or an object "
                "store"
            )
        if workers.remote and uri and "://" not in uri and not is_data(uri):
            raise RunnerError(
                f"{key}: {uri} is a path on this machine, which the workers of runner {config.runner.name} do not see; "
                f"use an object store, or file://{Path(uri).absolute()} when that folder is mounted on every worker"
            )
    endpoint = config.model.endpoint or os.environ.get("CLARIFAI_API_BASE") or ""
    if workers.remote and (endpoint == "embedded" or _LOOPBACK.search(endpoint)):
        raise RunnerError(
            f"model.endpoint: {endpoint} is on this machine's loopback, which the workers of runner "
            f"{config.runner.name} "
            "do not see; give an address that they reach, e.g. of `bulkinfer serve --host ADDRESS`"
        )
