"""From `runner` in a job file to Beam pipeline options, in one place.

Nothing here imports Beam before `pipeline_options` is called: `plan` and faulty job files answer at once.
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

#: `direct` is the in-process engine; Beam's own DirectRunner first downloads another one, without a timeout.
_BEAM_RUNNERS = {
    "direct": "bulkinfer.pipelines.runners.local_runner.LocalRunner",
    "prism": "bulkinfer.pipelines.runners.job_servers.PrismRunner",
    "flink": "bulkinfer.pipelines.runners.job_servers.FlinkRunner",
    "spark": "bulkinfer.pipelines.runners.job_servers.SparkRunner",
    "dataflow": "DataflowRunner",
}
#: Shares of a rate limit rest on the number of workers, so it is named in one place.
_OWNED = {
    "runner": "runner.name",
    "streaming": "nothing: a bulk job is a batch",
    "parallelism": "runner.workers",
    "direct_num_workers": "runner.workers",
    "direct_running_mode": "runner.workers",
    "num_workers": "runner.workers",
    # Most runners do not know it and would send everything.
    "dry_run": "the command: `bulkinfer plan` checks a job and sends nothing",
}
_ALIASES = {"worker_machine_type": "machine_type"}
_SPARK_OWNED = ("spark.cores.max", "spark.default.parallelism")
_FLINK_EMBEDDED = ("[local]", "[auto]", "[collection]")


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who runs the job.

    Attributes:
        processes: worker processes that send calls at the same time; a fixed rate limit is divided by it.
        remote: they run on other hosts, which see neither our disk nor our loopback.
        shared_memory: they all live in this very process.
        fixed: there are never more of them.
    """

    processes: int
    remote: bool
    shared_memory: bool = False
    fixed: bool = True


def with_flags(file: JobFile, flags: Sequence[str]) -> JobFile:
    """The job with Beam's flags of the command line among its runner's options; they win.

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
    """How many processes a job runs in, and whether they are elsewhere."""
    options = merged_options(runner)
    if runner.name == "direct":
        return Workers(runner.workers, remote=False, shared_memory=runner.workers == 1)
    if runner.name == "dataflow":
        cores = _cores(str(options["machine_type"]))
        fixed = cores is not None and _machines(options) <= runner.workers
        return Workers(runner.workers * (cores or 1), remote=True, fixed=fixed)
    if runner.name == "prism":
        # Prism starts one worker whatever it is told.
        here = _is_loopback(options)
        return Workers(1, remote="job_endpoint" in options and not here, shared_memory=here)
    local = master_of(runner.name, options) is None
    if _is_loopback(options, default=local):
        return Workers(1, remote=False, shared_memory=True)
    # A Spark job server that is not ours has its own number of tasks, and each may get a process of its own.
    return Workers(
        runner.workers, remote=not local, fixed=not (runner.name == "spark" and _is_foreign(options))
    )


def moves_work(runner: RunnerConfig) -> bool:
    """Whether the runner itself gives work to other workers: work is then distributed once, see `runs.rebalance`.

    Dataflow does; and a Spark cluster computes a lost part of a shuffle again, while what a worker hands back differs
    each time.
    """
    return runner.name == "dataflow" or (runner.name == "spark" and workers_of(runner).remote)


def pipeline_options(runner: RunnerConfig) -> PipelineOptions:
    """Beam's options for a job: our defaults, then `runner.options`; the later one wins.

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
    """Address of a cluster's master, or of a job server that is not ours; None where our job server is the master.

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
    """The options by name, before Beam sees them.

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
    """One line for `plan`: what will run where."""
    options, workers = merged_options(runner), runner.workers
    processes = f"{workers} worker process{'es' if workers > 1 else ''}"
    if runner.name == "direct":
        return f"direct: {'in this process' if workers == 1 else processes + ' on this machine'}"
    if runner.name == "dataflow":
        place = f"project {options.get('project')}, region {options.get('region')}"
        machines = f"{workers} {options['machine_type']} machines"
        return f"dataflow: {machines} in {place}, image {options.get('sdk_container_image')}"
    if runner.name == "prism":
        place = "in this process" if workers_of(runner).shared_memory else "1 worker process"
        return f"prism: {place}, dealt out by {options.get('job_endpoint') or options.get('prism_location')}"
    master = master_of(runner.name, options) or options.get("spark_master_url", "[auto]")
    if workers_of(runner).shared_memory:
        return f"{runner.name}: in this process, master {master}"
    environment = options.get("environment_type") or "the runner's default environment"
    # What a process is started with may hold secrets of its own.
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
        # A fleet that grows by itself would outgrow its fixed shares of a rate limit.
        fixed = {"num_workers": workers, "max_num_workers": workers, "autoscaling_algorithm": "NONE"}
        return {**fixed, "machine_type": "n1-standard-2", "save_main_session": False}
    # One process a slot uses all cores; it is kept for the next stage, because starting one takes seconds.
    defaults: dict[str, Any] = {"sdk_worker_parallelism": workers, "environment_cache_millis": 60_000}
    # Tasks would take the processes in turn, whatever runs in them; so two long ones could share one.
    defaults["load_balance_bundles"] = True
    if given.get("environment_config") and "environment_type" not in given:
        defaults["environment_type"] = "EXTERNAL"
    if runner.name == "flink":
        defaults["parallelism"] = workers
        # Pipelined, the default, makes all tasks of a job one: a lost worker undoes those of all others.
        defaults["execution_mode_for_batch"] = "BATCH_FORCED"
    elif "spark_master_url" not in given and not _is_foreign(given):
        defaults["spark_master_url"] = f"local[{workers}]"
    return defaults


def _is_foreign(options: Mapping[str, Any]) -> bool:
    """Spark's job server is started by others."""
    return bool(options.get("job_endpoint") or options.get("spark_submit_uber_jar"))


def _is_loopback(options: Mapping[str, Any], *, default: bool = True) -> bool:
    """The workers are threads of this process, as Beam has it where a local master has no other environment."""
    kind = options.get("environment_type", "LOOPBACK" if default else None)
    return kind == "LOOPBACK" and not options.get("use_loopback_process_worker")


def _spark_properties(runner: RunnerConfig, given: Mapping[str, Any]) -> list[str]:
    """Properties of the job server's JVM: a Spark cluster otherwise runs a task on each of its cores."""
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
    """One for each slot of a task manager: more would start for nothing, fewer would share an interpreter."""
    master = master_of("flink", options)
    if master is None or options.get("job_endpoint"):
        return runner.workers
    overview = flink_overview(master)
    hosts, slots = int(overview.get("taskmanagers", 0)), int(overview.get("slots-total", 0))
    return min(runner.workers, -(-slots // hosts)) if hosts and slots else runner.workers


def _machines(options: Mapping[str, Any]) -> int:
    """How many machines Dataflow may have at a time."""
    most = str(options["max_num_workers"])
    if not re.fullmatch(r"[1-9]\d*", most):
        raise RunnerError(f"runner.options.max_num_workers is {most}; write how many machines, or remove it")
    return int(most)


def _cores(machine_type: str) -> int | None:
    """vCPUs in the name of a Google machine type, one Python process each; None where the name does not tell."""
    found = re.fullmatch(
        r"[a-z]+\d\w*-(?:standard|highmem|highcpu|megamem|ultramem)-(\d+)(?:-lssd|-metal)?", machine_type
    )
    found = found or re.fullmatch(r"(?:\w+-)?custom-(\d+)-\d+(?:-ext)?", machine_type)
    return int(found.group(1)) if found else None
