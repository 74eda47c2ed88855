"""The main job: reads references, calls the model, writes predictions and masks.

`build` wires the transforms; `run_job` adds what a whole run needs: the preflight, the lock, the recovery of
interrupted runs, signals, progress and the summary.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from bulkinfer.transforms.calls.predict import Predict
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.errors import BulkinferError, JobError
from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.kept.types import is_json
from bulkinfer.transforms.preparation import Preparation
from bulkinfer.transforms.runs.control import ControlSpec, JobControl, StopReason
from bulkinfer.transforms.runs.lock import RunLock
from bulkinfer.transforms.runs.rebalance import PASSES, WorkPassSpec
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.runs.redistribute import Redistribute
from bulkinfer.transforms.sources.pieces import count_source
from bulkinfer.transforms.sources.read_references import ListSource, OpenUnits
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import CommitResult, commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.write_tables import WriteTables

from ..runners.checks import check_runner
from ..runners.options import moves_work, pipeline_options, workers_of
from ..terminal.follow import follow
from ..terminal.summary import Summary
from .execution import execute
from .preflight import check_output_of, new_run_id, open_endpoint, prepare

__all__ = ["RunOptions", "build", "run_job"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What the command line adds to a job file.

    Attributes:
        limit: run only the first so many inputs of the source.
        retry_failed: run only inputs that are in `errors`.
        error_types: with `retry_failed`, only errors of these types; empty for all.
        force: run everything, also finished inputs.
        configure_logging: called once Beam is imported, because Beam installs a root logging handler.
    """

    limit: int | None = None
    retry_failed: bool = False
    error_types: tuple[str, ...] = ()
    force: bool = False
    configure_logging: Callable[[], None] = lambda: None


def build(
    pipeline: beam.Pipeline,
    job: Preparation,
    completed: CompletedSpec | None,
    control: ControlSpec,
    *,
    passes: int = 1,
    open_ended: bool = False,
    remote: bool = False,
) -> beam.PCollection[CommitResult]:
    """Wire the job into a pipeline.

    Args:
        passes: how often the work is redistributed over the workers, see `runs.rebalance`; 1 for a single worker, or
            for a runner that rebalances work itself.
        open_ended: the runner rebalances work itself.
        remote: workers are on other hosts, and shuffles not in this process's memory.

    Returns:
        A collection of one `CommitResult`, once the tables are visible.
    """
    workers = job.call.workers
    listed = pipeline | "ListSource" >> ListSource(job.source, completed, spread_compressed=remote)
    units, rows = listed.units, list(listed.failures)
    for number in range(1, passes + 1):
        name = str(number) if number > 1 else ""
        last = number == passes
        work_pass = WorkPassSpec(control, number, workers, last, open_ended) if workers > 1 else None
        over = None if last else work_pass
        opened = units | f"OpenUnits{name}" >> OpenUnits(job.source, completed, over, workers, control)
        loaded = opened.references | f"LoadContent{name}" >> LoadContent(
            **job.loading, control=control, work_pass=over
        )
        outcome = loaded.contents | f"Predict{name}" >> Predict(job.call, control, work_pass)
        rows += [outcome.predictions, outcome.failures, loaded.failures, opened.failures]
        if over is not None:
            left = (opened.left, loaded.left) | f"Left{name}" >> beam.Flatten()
            units = left | f"RedistributeAgain{name}" >> Redistribute()
    return tuple(rows) | "WriteTables" >> WriteTables(job.output)


def run_job(file: JobFile, options: RunOptions) -> Summary:
    """Run a job from its checks to its visible tables.

    Raises:
        JobError: a check failed before anything was sent; or, with `inputs_sent` set on the error, the job failed
            later. What was durable by then is visible, and the same command continues the job.
    """
    started = time.monotonic()
    config = file.config
    check_runner(config)
    with open_endpoint(config.model.endpoint) as endpoint:
        job = prepare(file, endpoint, run_id=new_run_id(), limit=options.limit, partial=options.retry_failed)
        check_output_of(job, write=True)
        mixed = [field.name for field in job.source.keep_schema if is_json(field)]
        if mixed:
            logger.warning(
                "kept as JSON text, as their rows hold values of several types: %s", ", ".join(mixed)
            )
        beam_options = pipeline_options(config.runner)
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
                max_bytes=int(config.source.max_bytes),
                file_timeout=config.source.timeout.file,
                retry_failed=options.retry_failed,
                error_types=options.error_types,
                force=options.force,
            )
            completed.warn_of_lost()
            begin_run(store, job.output, file.record)
            result, counters, stopped = _run(job, completed, beam_options, store)
        gone = None
        if stopped is None and options.limit is None and counters:
            gone = completed.load().predicted - counters.get("inputs_predicted", 0)
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
        seconds=time.monotonic() - started,
        output=config.output.uri,
        stopped=stopped.message if stopped else None,
        skipped_errors=counters.get("errors_skipped", 0),
        remaining=remaining,
        new=counters.get("inputs_new", 0),
        changed=counters.get("inputs_changed", 0),
        gone=gone,
        limit=options.limit,
    )


def _run(
    job: Preparation, completed: CompletedSpec, beam_options: PipelineOptions, store: Store
) -> tuple[CommitResult, Mapping[str, int], StopReason | None]:
    run_id = job.output.run_id
    spec = ControlSpec(job.output.uri, job.output.storage, run_id)
    workers, open_ended = workers_of(job.config.runner), moves_work(job.config.runner)
    # A budget is divided among workers too, and a new process of a later pass would start its part of it anew.
    once = workers.processes == 1 or open_ended or job.config.stop.inputs is not None
    passes = 1 if once else PASSES
    control = JobControl.shared(spec)
    try:
        with follow(job):
            counters = execute(
                lambda pipeline: build(
                    pipeline,
                    job,
                    completed,
                    spec,
                    passes=passes,
                    open_ended=open_ended,
                    remote=workers.remote,
                ),
                beam_options,
                control,
            )
        template = beam_options.view_as(GoogleCloudOptions).template_location
        if template and job.config.runner.name == "dataflow":
            logger.warning(
                "nothing ran yet: run=%s is the template %s; the job that is launched from it, once, fills the tables",
                run_id,
                template,
            )
            return CommitResult(run_id), counters, None
        # The pipeline has committed already; this reads the result from the run's record.
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
