"""The job kind `scheduled-labeling`: labels the inputs that are new since the last start by cron or a scheduler.

Finished inputs are skipped, as in every job. The difference is that an empty source is no error.
"""

from __future__ import annotations

from bulkinfer.transforms.errors import EmptySourceError
from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.runs.record import list_runs
from bulkinfer.transforms.storage.store import Store

from ..terminal.summary import Summary
from .bulk_inference import RunOptions, run_job
from .preflight import new_run_id

__all__ = ["run_scheduled"]


def run_scheduled(file: JobFile, options: RunOptions) -> Summary:
    """Run the job; with an empty source, return a summary of zeros.

    Raises:
        EmptySourceError: it is to drop the rows of what vanished, and everything did.
        JobError: as `run_job` says.
    """
    try:
        return run_job(file, options)
    except EmptySourceError as empty:
        output = file.config.output
        if file.config.source.vanished == "drop" and list_runs(Store(output.uri, output.storage)):
            raise EmptySourceError(
                f"{empty}; source.vanished: drop drops nothing for an empty source, as that is what a store that is "
                "not there looks like"
            ) from empty
        return Summary(run_id=new_run_id(), output=file.config.output.uri)
