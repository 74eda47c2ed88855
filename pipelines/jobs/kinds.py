"""Runs a job of any of the three kinds that a job file may name."""

from __future__ import annotations

from bulkinfer.transforms.job.job_file import JobFile

from ..terminal.summary import Summary
from .bulk_inference import RunOptions, run_job
from .lake_enrichment import with_all_columns
from .scheduled_labeling import run_scheduled

__all__ = ["run_any"]


def run_any(file: JobFile, options: RunOptions) -> Summary:
    """Run a job of the kind that its file names.

    Raises:
        JobError: as `run_job` says.
    """
    if file.config.job == "scheduled-labeling":
        return run_scheduled(file, options)
    if file.config.job == "lake-enrichment":
        return run_job(with_all_columns(file), options)
    return run_job(file, options)
