"""The job kind `scheduled-labeling`: labels the inputs that are new since the last start by cron or a scheduler.

Finished inputs are skipped, as in every job. The difference is that an empty source is no error.
"""

from __future__ import annotations

from bulkinfer.transforms.errors import EmptySourceError
from bulkinfer.transforms.job.job_file import JobFile

from ..terminal.summary import Summary
from .bulk_inference import RunOptions, run_job
from .preflight import new_run_id

__all__ = ["run_scheduled"]


def run_scheduled(file: JobFile, options: RunOptions) -> Summary:
    """Run the job; with an empty source, return a summary of zeros.

    Raises:
        JobError: as `run_job` says.
    """
    try:
        return run_job(file, options)
    except EmptySourceError:
        return Summary(run_id=new_run_id(), output=file.config.output.uri)
