"""Labels what has come since the last time; started by cron or a scheduler, again and again.

What is done stays done, as in every job. What differs: a source that holds nothing yet is an ordinary day.
"""

from __future__ import annotations

from bulkinfer.transforms.errors import EmptySourceError
from bulkinfer.transforms.job.job_file import JobFile

from ..terminal.summary import Summary
from .bulk_inference import RunOptions, run_job
from .preflight import new_run_id

__all__ = ["run_scheduled"]


def run_scheduled(file: JobFile, options: RunOptions) -> Summary:
    """Run the job; with an empty source, a summary of zeros.

    Raises:
        JobError: as `run_job` says.
    """
    try:
        return run_job(file, options)
    except EmptySourceError:
        return Summary(run_id=new_run_id(), output=file.config.output.uri)
