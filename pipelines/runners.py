"""From `runner` in a job file to Beam pipeline options, in one place.

Nothing here imports Beam before `pipeline_options` is called: `plan` and faulty job files answer at once.
The figures behind the defaults are in docs/design.md.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bulkinfer.transforms.config import RunnerConfig
from bulkinfer.transforms.errors import RunnerError
from bulkinfer.transforms.rounds import ROUNDS

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

__all__ = ["Workers", "describe", "merged_options", "pipeline_options", "rounds_of", "workers_of"]

#: `direct` is the in-process engine; Beam's own DirectRunner first downloads another one, without a timeout.
_BEAM_RUNNERS = {
    "direct": "bulkinfer.pipelines.local_runner.LocalRunner",
    "prism": "bulkinfer.pipelines.job_servers.PrismRunner",
    "flink": "bulkinfer.pipelines.job_servers.FlinkRunner",
    "spark": "bulkinfer.pipelines.job_servers.SparkRunner",
    "dataflow": "DataflowRunner",
}
_OWNED = {
    "runner": "runner.name",
    "streaming": "nothing: a bulk job is a batch",
    # Most runners do not know it and would send everything.
    "dry_run": "the command: `bulkinfer plan` checks a job and sends nothing",
}
#: Beam takes false for these as "not told", and true for its own default of some runners; false is another flag.
_SAID_BY_NO = ("save_main_session", "use_public_ips")
_SECRETS = ("CLARIFAI_PAT", "CLARIFAI_SESSION_TOKEN", "CLARIFAI_KEY")
_FLINK_EMBEDDED = ("[local]", "[auto]", "[collection]")


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who runs the job.

    Attributes:
        processes: worker processes that send calls at the same time; a fixed rate limit is divided by it.
        remote: they run on other hosts, which see neither our disk nor our loopback.
        shared_memory: they all live in this very process.
    """

    processes: int
    remote: bool
    shared_memory: bool = False


def workers_of(runner: RunnerConfig, extra: Sequence[str] = ()) -> Workers:
    """How many processes a job runs in, and whether they are elsewhere."""
    options = merged_options(runner, extra)
    if runner.name == "direct":
        return Workers(runner.workers, remote=False, shared_memory=runner.workers == 1)
    if runner.name == "dataflow":
        return Workers(_machines(options) * _cores(str(options["machine_type"])), remote=True)
    if runner.name == "flink":
        master = str(options.get("flink_master", "[auto]"))
        return Workers(runner.workers, remote="job_endpoint" in options or master not in _FLINK_EMBEDDED)
    if runner.name == "spark":
        master = str(options.get("spark_master_url", "local[4]"))
        return Workers(runner.workers, remote="job_endpoint" in options or not master.startswith("local"))
    # Prism starts one worker whatever it is told; by default as threads of this process.
    here = options.get("environment_type", "LOOPBACK") == "LOOPBACK"
    return Workers(1, remote="job_endpoint" in options and not here, shared_memory=here)


def rounds_of(runner: RunnerConfig, extra: Sequence[str] = ()) -> int:
    """How often a job's work is dealt out, see `rounds`.

    Once where nobody could take work over; on Dataflow, which moves work by itself; and on a Spark cluster, which
    computes a lost part of a shuffle again, while what a worker hands back differs each time.
    """
    workers = workers_of(runner, extra)
    moves_or_recomputes = runner.name == "dataflow" or (runner.name == "spark" and workers.remote)
    return 1 if workers.processes == 1 or moves_or_recomputes else ROUNDS


def pipeline_options(runner: RunnerConfig, extra: Sequence[str] = ()) -> PipelineOptions:
    """Beam's options for a job: our defaults, then `runner.options`, then `extra`; the later one wins.

    Args:
        runner: the job file's section.
        extra: flags in Beam's own notation, as they follow `--` on the command line.

    Raises:
        RunnerError: an option belongs elsewhere, is unknown to the local runner, or holds a key.
    """
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415  (1.8 s)

    merged = merged_options(runner, extra)
    if runner.name == "flink" and "sdk_worker_parallelism" not in {**runner.options, **parse_flags(extra)}:
        merged["sdk_worker_parallelism"] = _processes_per_host(runner, merged)
    flags = [flag for name, value in merged.items() for flag in _flags(name, value)]
    if runner.name == "direct":
        _refuse_unknown(flags, merged)
    return PipelineOptions([f"--runner={_BEAM_RUNNERS[runner.name]}", *flags])


def merged_options(runner: RunnerConfig, extra: Sequence[str] = ()) -> dict[str, Any]:
    """The options by name, before Beam sees them.

    Raises:
        RunnerError: an option belongs elsewhere in the job file, or holds a key.
    """
    given = {**runner.options, **parse_flags(extra)}
    if runner.name == "dataflow" and "worker_machine_type" in given:  # Beam's other name for it
        given["machine_type"] = given.pop("worker_machine_type")
    for name in given:
        if name in _OWNED:
            raise RunnerError(f"the Beam option {name} is decided by {_OWNED[name]}; remove it here")
    _refuse_secrets(given)
    return {**_defaults(runner, given), **given}


def describe(runner: RunnerConfig, extra: Sequence[str] = ()) -> str:
    """One line for `plan`: what will run where."""
    options, workers = merged_options(runner, extra), runner.workers
    processes = f"{workers} worker process{'es' if workers > 1 else ''}"
    if runner.name == "direct":
        return f"direct: {'in this process' if workers == 1 else processes + ' on this machine'}"
    if runner.name == "dataflow":
        place = f"project {options.get('project')}, region {options.get('region')}"
        machines = f"{_machines(options)} {options['machine_type']} machines"
        return f"dataflow: {machines} in {place}, image {options.get('sdk_container_image')}"
    if runner.name == "prism":
        place = "in this process" if workers_of(runner, extra).shared_memory else "1 worker process"
        return f"prism: {place}, dealt out by {options.get('job_endpoint') or options.get('prism_location')}"
    master_option = "flink_master" if runner.name == "flink" else "spark_master_url"
    master = options.get("job_endpoint") or options.get(master_option)
    environment = options.get("environment_type") or "the runner's default environment"
    where = f"{environment} {options.get('environment_config', '')}".strip()
    return f"{runner.name}: {processes} in {where}, master {master}"


def parse_flags(extra: Sequence[str]) -> dict[str, Any]:
    """Flags in Beam's notation, by name: `--a=1`, `--a 1`, `--a` (true); a repeated flag becomes a list.

    >>> parse_flags(["--parallelism=4", "--experiments", "x", "--experiments=y", "--verbose"])
    {'parallelism': '4', 'experiments': ['x', 'y'], 'verbose': True}
    """
    parsed: dict[str, Any] = {}
    words = list(extra)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise RunnerError(f"{word!r} after -- is no Beam option; write --NAME=VALUE")
        name, sep, value = word[2:].partition("=")
        if not sep and words and not words[0].startswith("--"):
            sep, value = "=", words.pop(0)
        new: Any = value if sep else True
        if name in parsed:
            old = parsed[name]
            new = [*(old if isinstance(old, list) else [old]), new]
        parsed[name] = new
    return parsed


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
        machines = given.get("num_workers", workers)
        fixed = {"num_workers": machines, "max_num_workers": machines, "autoscaling_algorithm": "NONE"}
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
    elif "spark_master_url" not in given and "job_endpoint" not in given:
        defaults["spark_master_url"] = f"local[{workers}]"
    return defaults


def _processes_per_host(runner: RunnerConfig, options: Mapping[str, Any]) -> int:
    """One for each slot of a task manager: more would start for nothing, fewer would share an interpreter."""
    from .runner_checks import flink_overview  # noqa: PLC0415  (it needs this module)

    master = str(options.get("flink_master", "[auto]"))
    if "job_endpoint" in options or master in _FLINK_EMBEDDED:
        return runner.workers
    overview = flink_overview(master)
    hosts = max(1, int(overview.get("taskmanagers", 1)))
    return max(1, min(runner.workers, -(-int(overview.get("slots-total", 0)) // hosts)))


def _flags(name: str, value: Any) -> list[str]:
    if value is False and name in _SAID_BY_NO:
        return [f"--no_{name}"]
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    if isinstance(value, (list, tuple)):
        return [flag for one in value for flag in _flags(name, one)]
    if isinstance(value, Mapping):
        import json  # noqa: PLC0415

        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}={value}"]


def _refuse_unknown(flags: Sequence[str], merged: Mapping[str, Any]) -> None:
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415

    known = PipelineOptions(list(flags)).get_all_options(retain_unknown_options=False)
    for name in merged:
        if name not in known and name.replace("-", "_") not in known:
            raise RunnerError(
                f"runner.options.{name} is no option of Beam's local runner; remove it, or look its name up "
                "in Beam's list of pipeline options"
            )


def _refuse_secrets(given: Mapping[str, Any]) -> None:
    keys = [value for value in map(os.environ.get, _SECRETS) if value]
    for name, value in given.items():
        if any(key in str(value) for key in keys) or re.search(r"(?i)clarifai_(pat|key|session_token)", name):
            raise RunnerError(
                f"the Beam option {name} holds your key, and Beam shows its options in logs and consoles; "
                "give the key to the workers in their own environment, as CLARIFAI_PAT or CLARIFAI_PAT_FILE"
            )


def _machines(options: Mapping[str, Any]) -> int:
    """How many machines Dataflow may have at a time."""
    names = ("num_workers", "max_num_workers")
    for name in names:
        if not re.fullmatch(r"[1-9]\d*", str(options[name])):
            raise RunnerError(
                f"runner.options.{name} is {options[name]}; write how many machines, or remove it"
            )
    return max(int(options[name]) for name in names)


def _cores(machine_type: str) -> int:
    """vCPUs in the name of a machine type: Dataflow runs one Python process on each."""
    found = re.search(r"-(\d+)(?:-\w+)*$", machine_type)
    return int(found.group(1)) if found else 1
