"""Runs a job in this process, without Beam: what a pipeline of one worker would do, in its order.

Importing Beam takes longer than most small jobs, and its local runner lists all of a source before the first call.
"""

from __future__ import annotations

from bulkinfer.transforms.content.loader import LoadOptions
from bulkinfer.transforms.metrics import process_metrics
from bulkinfer.transforms.preparation import Preparation
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from bulkinfer.transforms.sources.pieces import first_pieces
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.worker import InferenceSpec, InferenceWorker

__all__ = ["run_in_process", "runs_in_process"]


def runs_in_process(job: Preparation) -> bool:
    """Whether the job needs nothing of a runner: one worker here, no options for Beam, no grouping by content."""
    runner, source = job.config.runner, job.config.source
    return (
        runner.name == "direct"
        and runner.workers == 1
        and not runner.options
        and source.deduplicate != "content"
    )


def run_in_process(job: Preparation, completed: CompletedSpec, control: ControlSpec) -> dict[str, int]:
    """Do all of a job's inputs and make them visible.

    Returns:
        How much each counter has grown, by name.
    """
    process_metrics().take_delta("job")
    spec = InferenceSpec(job.source, LoadOptions(**job.loading), job.call, job.output, completed, control)
    worker = InferenceWorker(spec)
    try:
        worker.begin()
        for piece in first_pieces(job.source):
            for _ in worker.do(piece):
                raise AssertionError("a job of one pass hands nothing back")
        for _ in worker.finish():
            raise AssertionError("a job of one pass hands nothing back")
    finally:
        worker.close()
    stopped = JobControl.shared(control).stopped
    commit_run(job.output.store(), job.output.run_id, complete=job.output.lists_all and stopped is None)
    return process_metrics().take_delta("job")
