"""The main job: reads references, calls the model, writes predictions and masks.

`run_job` does what a whole run needs around its inputs: the preflight, the lock, the recovery of interrupted runs,
signals, progress and the summary.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping

from bulkinfer.transforms.errors import BulkinferError, JobError
from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.kept.types import is_json
from bulkinfer.transforms.preparation import Preparation
from bulkinfer.transforms.runs.control import ControlSpec, JobControl, StopReason
from bulkinfer.transforms.runs.lock import RunLock
from bulkinfer.transforms.runs.record import begin_run, record_outcome
from bulkinfer.transforms.sources.pieces import count_source
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import CommitResult, commit_run
from bulkinfer.transforms.tables.commit.dropped import write_dropped
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.upkeep.compact import SMALL, compact, needs_compacting
from bulkinfer.transforms.tables.vanished import before_sending

from ..runners.checks import check_runner
from ..runners.options import pipeline_options
from ..terminal.follow import follow
from ..terminal.summary import Summary
from .execution import execute
from .in_process import run_in_process, runs_in_process
from .preflight import check_output_of, new_run_id, open_endpoint, prepare

__all__ = ["RunOptions", "run_job"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What the command line adds to a job file.

    Attributes:
        limit: run only the first so many inputs of the source.
        retry_failed: run only inputs that are in `errors`.
        error_types: with `retry_failed`, only errors of these types; empty for all.
        force: run everything, also finished inputs.
        allow_vanish: drop the rows of inputs that the source names no more, even if that is more than half of them.
        configure_logging: called once Beam is imported, because Beam installs a root logging handler.
    """

    limit: int | None = None
    retry_failed: bool = False
    error_types: tuple[str, ...] = ()
    force: bool = False
    allow_vanish: bool = False
    configure_logging: Callable[[], None] = lambda: None


def run_job(file: JobFile, options: RunOptions) -> Summary:
    """Run a job from its checks to its visible tables.

    Raises:
        JobError: a check failed before anything was sent; or, with `inputs_sent` set on the error, the job failed
            later. What was durable by then is visible, and the same command continues the job.
    """
    started = time.monotonic()
    config = file.config
    check_runner(config)
    with open_endpoint(config.model) as address:
        job = prepare(file, address, run_id=new_run_id(), limit=options.limit, partial=options.retry_failed)
        check_output_of(job, write=True)
        mixed = [field.name for field in job.source.keep_schema if is_json(field)]
        if mixed:
            logger.warning(
                "kept as JSON text, as their rows hold values of several types: %s", ", ".join(mixed)
            )
        run = _runner_of(job)
        options.configure_logging()
        store = job.output.store()
        with RunLock(store, job.output.run_id):
            for interrupted in recover(store):
                logger.warning(
                    "finished what an interrupted run left: run=%s inputs=%d",
                    interrupted.run_id,
                    interrupted.inputs,
                )
            completed = CompletedSpec.of(
                job.output,
                source_storage=config.source.storage,
                allowed=job.source.allowed,
                revalidate=config.source.revalidate,
                on_change=config.on_change,
                max_bytes=int(config.source.max_bytes),
                file_timeout=config.source.timeout.file,
                retry_failed=options.retry_failed,
                error_types=options.error_types,
                force=options.force,
            )
            completed.warn_of_lost()
            drop = config.source.vanished == "drop"
            dropped = before_sending(job.source, completed, job.output, drop=drop, allow=options.allow_vanish)
            begin_run(store, job.output, file.record, file.path, job.source.snapshot)
            if len(dropped):
                write_dropped(store, job.output.run_id, dropped)
            result, counters, stopped = _run(job, completed, run, store)
            summary = _summary(job, options, completed, result, counters, stopped)
            with contextlib.suppress(BulkinferError):  # the tables stand; a report lacks these figures
                record_outcome(store, summary.run_id, summary.difference)
            if counters:  # else another process does the job
                _compact(store, int(config.output.file_bytes))
    return dataclasses.replace(summary, seconds=time.monotonic() - started)


def _compact(store: Store, target: int) -> None:
    """Keep the files of an output few; what cannot be done now is done after another run."""
    try:
        if needs_compacting(store, target):
            compact(store, new_run_id(), target, all_below=SMALL)
    except (BulkinferError, OSError) as error:
        logger.warning("the output was not compacted: %s", error)


def _summary(
    job: Preparation,
    options: RunOptions,
    completed: CompletedSpec,
    result: CommitResult,
    counters: Mapping[str, int],
    stopped: StopReason | None,
) -> Summary:
    gone = None
    if stopped is None and options.limit is None and counters:
        gone = completed.load().predicted - counters.get("inputs_predicted", 0)
    prices = job.config.stop.prices
    skipped = counters.get("inputs_skipped", 0)
    remaining = counters.get("inputs_undone", 0)
    if stopped is not None or (options.limit is not None and not options.retry_failed):
        whole = count_source(dataclasses.replace(job.source, limit=None)).inputs
        remaining = max(0, whole - result.inputs - skipped)
    return Summary(
        run_id=job.output.run_id,
        inputs=result.inputs + skipped,
        predictions=result.predictions,
        errors=result.errors,
        skipped=skipped,
        masks=result.masks,
        masks_unreadable=result.counts.get("masks_unreadable", 0),
        calls=result.calls,
        retries=result.retries,
        tokens=result.counts.get("prompt_tokens", 0) + result.counts.get("completion_tokens", 0),
        cost=prices.cost_of(result.counts) if prices else None,
        output=job.config.output.uri,
        stopped=stopped.message if stopped else None,
        skipped_errors=counters.get("errors_skipped", 0),
        remaining=remaining,
        new=counters.get("inputs_new", 0),
        changed=counters.get("inputs_changed", 0),
        gone=gone,
        dropped=result.counts.get("dropped", 0),
        limit=options.limit,
    )


#: Does a job's inputs, and returns how much each counter has grown; None when another command does them.
_Run = Callable[[CompletedSpec, ControlSpec], Mapping[str, int] | None]


def _runner_of(job: Preparation) -> _Run:
    """What runs the job: this process by itself, or Beam.

    Raises:
        RunnerError: an option belongs elsewhere, is unknown, or holds a secret.
    """
    if runs_in_process(job):
        return lambda completed, control: run_in_process(job, completed, control)
    from .pipeline import run_pipeline  # noqa: PLC0415  (Beam takes longer than most small jobs)

    options = pipeline_options(job.config.runner)
    return lambda completed, control: run_pipeline(job, completed, control, options)


def _run(
    job: Preparation, completed: CompletedSpec, run: _Run, store: Store
) -> tuple[CommitResult, Mapping[str, int], StopReason | None]:
    run_id = job.output.run_id
    spec = ControlSpec(job.output.uri, job.output.storage, run_id)
    control = JobControl.shared(spec)
    try:
        with follow(job):
            counters = execute(lambda: run(completed, spec), control)
        if counters is None:
            return CommitResult(run_id), {}, None
        # The job has committed already; this reads the result from the run's record.
        return commit_run(store, run_id), counters, control.stopped
    except JobError as error:
        error.inputs_sent = True
        # What workers made durable before the fault is paid for: commit it now rather than at the next start.
        with contextlib.suppress(BulkinferError):
            kept = commit_run(store, run_id)
            logger.warning("the tables hold what was finished: run=%s inputs=%d", run_id, kept.inputs)
        raise
    finally:
        control.close()
