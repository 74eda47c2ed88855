"""Runs a job as a Beam pipeline: wires its transforms, runs it where `runner` says, and reads its counters."""

from __future__ import annotations

import logging
import signal
import sys

import apache_beam as beam
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineState
from bulkinfer.transforms.content.loader import LoadOptions
from bulkinfer.transforms.errors import JobError
from bulkinfer.transforms.inference import Inference
from bulkinfer.transforms.preparation import Preparation
from bulkinfer.transforms.runs.control import ControlSpec
from bulkinfer.transforms.runs.rebalance import PASSES, WorkPassSpec
from bulkinfer.transforms.runs.redistribute import Redistribute
from bulkinfer.transforms.sources.read_references import ListSource
from bulkinfer.transforms.tables.commit.commit import CommitResult
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.write_tables import CommitParts, StageRows
from bulkinfer.transforms.worker import InferenceSpec

from ..runners.options import moves_work, workers_of

__all__ = ["build", "run_pipeline"]

logger = logging.getLogger(__name__)


def run_pipeline(
    job: Preparation, completed: CompletedSpec, control: ControlSpec, options: PipelineOptions
) -> dict[str, int] | None:
    """Run a job's pipeline to its end.

    Returns:
        The values of Beam's counters in our namespace, by name; None when Dataflow's runner only wrote a template.

    Raises:
        JobError: the runner ended the job otherwise than done; what else the pipeline raises goes through.
    """
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    workers, open_ended = workers_of(job.config.runner), moves_work(job.config.runner)
    # A budget is divided among workers too, and a new process of a later pass would start its part of it anew.
    once = workers.processes == 1 or open_ended or job.config.stop.inputs is not None
    pipeline = beam.Pipeline(options=options)
    build(
        pipeline,
        job,
        completed,
        control,
        passes=1 if once else PASSES,
        open_ended=open_ended,
        remote=workers.remote,
    )
    result = pipeline.run()
    state = result.wait_until_finish()
    if state not in (None, PipelineState.DONE):
        raise JobError(f"the runner ended the job as {state}; see its own log for the cause")
    template = options.view_as(GoogleCloudOptions).template_location
    if template and job.config.runner.name == "dataflow":
        logger.warning(
            "nothing ran yet: run=%s is the template %s; the job that is launched from it, once, fills the tables",
            job.output.run_id,
            template,
        )
        return None
    counters: dict[str, int] = {}
    if getattr(result, "has_job", True):
        for counter in result.metrics().query(MetricsFilter().with_namespace("bulkinfer"))["counters"]:
            name = counter.key.metric.name
            counters[name] = counters.get(name, 0) + (counter.committed or counter.attempted or 0)
    return counters


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
    units, parts = listed.units, []
    for number, failures in enumerate(listed.failures):
        parts.append(failures | f"StageFailures{number or ''}" >> StageRows(job.output))
    spec = InferenceSpec(job.source, LoadOptions(**job.loading), job.call, job.output, completed, control)
    for number in range(1, passes + 1):
        name = str(number) if number > 1 else ""
        last = number == passes
        work_pass = WorkPassSpec(control, number, workers, last, open_ended) if workers > 1 else None
        inferred = units | f"Inference{name}" >> Inference(spec, work_pass)
        parts.append(inferred.parts)
        if not last:
            units = inferred.left | f"RedistributeAgain{name}" >> Redistribute()
    return tuple(parts) | "Parts" >> beam.Flatten() | "Commit" >> CommitParts(job.output)
