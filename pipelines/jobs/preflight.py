"""The checks of `plan` and `run` before any content is read, the cheapest first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bulkinfer.transforms import preparation
from bulkinfer.transforms.endpoints.kinds import EMBEDDED, kind_of
from bulkinfer.transforms.job.config import ModelConfig
from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.preparation import Preparation, new_run_id
from bulkinfer.transforms.tables.output_check import check_output

from ..runners.options import workers_of

__all__ = ["check_output_of", "new_run_id", "open_endpoint", "prepare"]


@contextlib.contextmanager
def open_endpoint(model: ModelConfig) -> Iterator[str]:
    """Resolve the address of a model's API; `embedded` starts our own server and stops it when the block ends.

    Raises:
        ConfigError: the text is no address.
        JobError: the embedded server lacks its `[demo]` extra.
    """
    address = kind_of(model).address(model)
    if address != EMBEDDED:
        yield address
        return
    # Image libraries come with it, which other endpoints do not need.
    from ..embedded.server import serve, serve_http  # noqa: PLC0415

    with serve_http() if model.kind == "openai" else serve() as server:
        yield server.endpoint


def prepare(
    file: JobFile, address: str, *, run_id: str, limit: int | None = None, partial: bool = False
) -> Preparation:
    """Check the source, the credentials and the model's method, and bind the arguments.

    Args:
        run_id: of the run to start.
        limit: run only the first so many inputs.
        partial: the run reads only a part of the source, for another reason than `limit`.

    Raises:
        ConfigError: a call would be larger than the public API takes, or a rate limit cannot be divided.
        SourceError: the source matches nothing or lacks a column.
        CredentialsError, EndpointError, ModelNotFoundError, MethodError: as `EndpointKind.prepare` says.
    """
    workers = workers_of(file.config.runner)
    return preparation.prepare(
        file.config,
        address,
        run_id=run_id,
        limit=limit,
        partial=partial,
        workers=workers.processes,
        fixed=workers.fixed,
    )


def check_output_of(job: Preparation, *, write: bool) -> None:
    """Check that the job's rows fit into its output; with `write`, also that the output is writable.

    Raises:
        ConfigError, StoreError: as `check_output` says.
    """
    check_output(job.output.store(), job.output, write=write)
