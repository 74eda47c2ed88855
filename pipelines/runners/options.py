"""Turns the `runner` section of a job file into Beam pipeline options, and counts the job's workers.

Nothing here imports Beam before `pipeline_options` is called, so that faulty job files are reported at once.
The figures behind the defaults are in docs/design/clusters.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bulkinfer.transforms.errors import RunnerError
from bulkinfer.transforms.job.config import RunnerConfig
from bulkinfer.transforms.job.job_file import JobFile

from .flags import parse_flags, refuse_misspelt, refuse_secrets, to_flags
from .flink import flink_overview

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

__all__ = [
    "Workers",
    "describe",
    "master_of",
    "merged_options",
    "moves_work",
    "pipeline_options",
    "with_flags",
    "workers_of",
]

#: `direct` is Beam's local runner; its DirectRunner would first download another one, without a timeout.
_BEAM_RUNNERS = {
    "direct": "bulkinfer.pipelines.runners.local_runner.LocalRunner",
    "prism": "bulkinfer.pipelines.runners.job_servers.PrismRunner",
    "flink": "bulkinfer.pipelines.runners.job_servers.FlinkRunner",
    "spark": "bulkinfer.pipelines.runners.job_servers.SparkRunner",
    "dataflow": "DataflowRunner",
}
#: Options that other keys of the job file set, such as the number of workers, by which a rate limit is divided.
_OWNED = {
    "runner": "runner.name",
    "streaming": "nothing: a bulk job is a batch",
    "parallelism": "runner.workers",
    "direct_num_workers": "runner.workers",
    "direct_running_mode": "runner.workers",
    "num_workers": "runner.workers",
    # Most runners do not know it and would run the job.
    "dry_run": "the command: `bulkinfer plan` checks a job and sends nothing",
}
_ALIASES = {"worker_machine_type": "machine_type"}
_SPARK_OWNED = ("spark.cores.max", "spark.default.parallelism")
_FLINK_EMBEDDED = ("[local]", "[auto]", "[collection]")


@dataclasses.dataclass(frozen=True)
class Workers:
    """The workers of a job.

    Attributes:
        processes: worker processes that send calls at the same time; a rate limit is divided by it.
        remote: they run on other hosts, which see neither this machine's disk nor its loopback.
        shared_memory: they are threads of this process.
        fixed: the number of processes never grows.
    """

    processes: int
    remote: bool
    shared_memory: bool = False
    fixed: bool = True


def with_flags(file: JobFile, flags: Sequence[str]) -> JobFile:
    """Merge Beam flags of the command line into the job's runner options; they win.

    Args:
        flags: in Beam's own notation, as they follow `--`.

    Raises:
        RunnerError: a word is no flag.
    """
    if not flags:
        return file
    runner = file.config.runner
    runner = runner.model_copy(update={"options": {**runner.options, **parse_flags(flags)}})
    return dataclasses.replace(file, config=file.config.model_copy(update={"runner": runner}))


def workers_of(runner: RunnerConfig) -> Workers:
    """Count the worker processes of a job, and find where they run."""
    options = merged_options(runner)
    if runner.name == "direct":
        return Workers(runner.workers, remote=False, shared_memory=runner.workers == 1)
    if runner.name == "dataflow":
        cores = _cores(str(options["machine_type"]))
        fixed = cores is not None and _machines(options) <= runner.workers
        return Workers(runner.workers * (cores or 1), remote=True, fixed=fixed)
    if runner.name == "prism":
        # Prism starts one worker, whatever the options say.
        here = _is_loopback(options)
        return Workers(1, remote="job_endpoint" in options and not here, shared_memory=here)
    local = master_of(runner.name, options) is None
    if _is_loopback(options, default=local):
        return Workers(1, remote=False, shared_memory=True)
    # A Spark job server that others started has its own number of tasks, and each may get a process of its own.
    return Workers(
        runner.workers, remote=not local, fixed=not (runner.name == "spark" and _is_foreign(options))
    )


def moves_work(runner: RunnerConfig) -> bool:
    """Whether a job must leave rebalancing to its runner, and distribute its work once; see `runs.rebalance`.

    Dataflow rebalances work itself. A Spark cluster recomputes lost parts of a shuffle, but what a worker hands back
    differs each time.
    """
    return runner.name == "dataflow" or (runner.name == "spark" and workers_of(runner).remote)


def pipeline_options(runner: RunnerConfig) -> PipelineOptions:
    """Make Beam's options for a job: our defaults, overridden by `runner.options`.

    Raises:
        RunnerError: an option belongs elsewhere, is unknown, or holds a secret.
    """
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415  (1.8 s)

    merged = merged_options(runner)
    if runner.name == "flink" and "sdk_worker_parallelism" not in runner.options:
        merged["sdk_worker_parallelism"] = _processes_per_host(runner, merged)
    refuse_misspelt(merged, all_known=runner.name == "direct")
    return PipelineOptions([f"--runner={_BEAM_RUNNERS[runner.name]}", *to_flags(merged)])


def master_of(name: str, options: Mapping[str, Any]) -> str | None:
    """Get the address of a cluster's master, or of a running job server; None where our job server is the master.

    Args:
        name: flink or spark.
        options: from `merged_options`.
    """
    if options.get("job_endpoint"):
        return str(options["job_endpoint"])
    if name == "flink":
        master = str(options.get("flink_master", "[auto]"))
        return None if master in _FLINK_EMBEDDED else master
    if options.get("spark_submit_uber_jar"):
        return str(options.get("spark_rest_url"))
    master = str(options["spark_master_url"])
    return None if re.fullmatch(r"local(\[.+\])?", master) else master


def merged_options(runner: RunnerConfig) -> dict[str, Any]:
    """Merge our defaults with `runner.options`, by name.

    Raises:
        RunnerError: an option belongs elsewhere in the job file, or holds a secret.
    """
    given = {_ALIASES.get(name, name): value for name, value in runner.options.items()}
    for name in given:
        if name in _OWNED:
            raise RunnerError(f"the Beam option {name} is decided by {_OWNED[name]}; remove it here")
    refuse_secrets(given)
    merged = {**_defaults(runner, given), **given}
    if runner.name == "spark" and not _is_foreign(merged) and master_of("spark", merged):
        merged["job_server_jvm_properties"] = _spark_properties(runner, given)
    return merged


def describe(runner: RunnerConfig) -> str:
    """Describe in one line, for `plan`, which workers run where."""
    options, workers = merged_options(runner), runner.workers
    processes = f"{workers} worker process{'es' if workers > 1 else ''}"
    if runner.name == "direct":
        return f"direct: {'in this process' if workers == 1 else processes + ' on this machine'}"
    if runner.name == "dataflow":
        where = f"project {options.get('project')}, region {options.get('region')}"
        machines = f"{workers} {options['machine_type']} machines"
        return f"dataflow: {machines} in {where}, image {options.get('sdk_container_image')}"
    if runner.name == "prism":
        where = "in this process" if workers_of(runner).shared_memory else "1 worker process"
        return (
            f"prism: {where}, distributed by {options.get('job_endpoint') or options.get('prism_location')}"
        )
    master = master_of(runner.name, options) or options.get("spark_master_url", "[auto]")
    if workers_of(runner).shared_memory:
        return f"{runner.name}: in this process, master {master}"
    environment = options.get("environment_type") or "the runner's default environment"
    # A PROCESS environment is a command with variables, which may hold secrets.
    config = "" if environment == "PROCESS" else options.get("environment_config", "")
    return f"{runner.name}: {processes} in {f'{environment} {config}'.strip()}, master {master}"


def _defaults(runner: RunnerConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    workers = runner.workers
    if runner.name == "direct":
        if workers == 1:
            return {}
        return {"direct_num_workers": workers, "direct_running_mode": "multi_processing"}
    if runner.name == "prism":
        return {"job_name": "bulkinfer", "prism_log_kind": "text"}
    if runner.name == "dataflow":
        # With autoscaling the workers' fixed parts of a rate limit would add up to more than the limit.
        fixed = {"num_workers": workers, "max_num_workers": workers, "autoscaling_algorithm": "NONE"}
        return {**fixed, "machine_type": "n1-standard-2", "save_main_session": False}
    # One process a slot uses all cores; it is kept for the next stage, because a start takes seconds.
    defaults: dict[str, Any] = {"sdk_worker_parallelism": workers, "environment_cache_millis": 60_000}
    # By default tasks take the processes in turn, so that two long tasks may end up in one process.
    defaults["load_balance_bundles"] = True
    if given.get("environment_config") and "environment_type" not in given:
        defaults["environment_type"] = "EXTERNAL"
    if runner.name == "flink":
        defaults["parallelism"] = workers
        # In the default, pipelined mode one lost worker fails the tasks of all others.
        defaults["execution_mode_for_batch"] = "BATCH_FORCED"
    elif "spark_master_url" not in given and not _is_foreign(given):
        defaults["spark_master_url"] = f"local[{workers}]"
    return defaults


def _is_foreign(options: Mapping[str, Any]) -> bool:
    """Whether others started Spark's job server."""
    return bool(options.get("job_endpoint") or options.get("spark_submit_uber_jar"))


def _is_loopback(options: Mapping[str, Any], *, default: bool = True) -> bool:
    """Whether workers are threads of this process, Beam's default for a local master."""
    kind = options.get("environment_type", "LOOPBACK" if default else None)
    return kind == "LOOPBACK" and not options.get("use_loopback_process_worker")


def _spark_properties(runner: RunnerConfig, given: Mapping[str, Any]) -> list[str]:
    """Limit a Spark cluster's tasks by JVM properties; by itself it runs a task on each of its cores."""
    own = given.get("job_server_jvm_properties", [])
    own = list(own) if isinstance(own, (list, tuple)) else [own]
    for name in _SPARK_OWNED:
        if any(f"-D{name}=" in str(each) for each in own):
            raise RunnerError(
                f"the property {name} in runner.options.job_server_jvm_properties is decided by runner.workers; "
                "remove it here"
            )
    return [*(f"-D{name}={runner.workers}" for name in _SPARK_OWNED), *own]


def _processes_per_host(runner: RunnerConfig, options: Mapping[str, Any]) -> int:
    """Count a task manager's slots: more processes would idle, with fewer, tasks would share an interpreter."""
    master = master_of("flink", options)
    if master is None or options.get("job_endpoint"):
        return runner.workers
    overview = flink_overview(master)
    hosts, slots = int(overview.get("taskmanagers", 0)), int(overview.get("slots-total", 0))
    return min(runner.workers, -(-slots // hosts)) if hosts and slots else runner.workers


def _machines(options: Mapping[str, Any]) -> int:
    """Get the most machines that Dataflow may use at a time."""
    most = str(options["max_num_workers"])
    if not re.fullmatch(r"[1-9]\d*", most):
        raise RunnerError(f"runner.options.max_num_workers is {most}; write how many machines, or remove it")
    return int(most)


def _cores(machine_type: str) -> int | None:
    """Parse the vCPUs from a Google machine type, one Python process each; None where the name does not tell."""
    found = re.fullmatch(
        r"[a-z]+\d\w*-(?:standard|highmem|highcpu|megamem|ultramem)-(\d+)(?:-lssd|-metal)?", machine_type
    )
    found = found or re.fullmatch(r"(?:\w+-)?custom-(\d+)-\d+(?:-ext)?", machine_type)
    return int(found.group(1)) if found else None
