"""What `plan` and `run` check before any content is read.

From the cheap to the dear: the source, the output, the credentials and the model's method. What comes out is plain data
that pickles, holds no secret, and is all that a pipeline needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from typing import Any

from bulkinfer.transforms.addresses import PUBLIC_API, Endpoint, parse_endpoint
from bulkinfer.transforms.client import Credentials
from bulkinfer.transforms.config import CallsConfig, JobConfig, ModelConfig
from bulkinfer.transforms.errors import CredentialsError
from bulkinfer.transforms.expressions import named_columns
from bulkinfer.transforms.job_file import JobFile
from bulkinfer.transforms.model_call import ModelCall, prepare_call
from bulkinfer.transforms.output_check import check_output
from bulkinfer.transforms.parts import OutputSpec
from bulkinfer.transforms.sources import SourceSpec, inspect_source

from .runners import workers_of

__all__ = ["PreparedJob", "check_output_of", "fingerprint", "new_run_id", "open_endpoint", "prepare"]

# The public API's own limit for shared models, per https://docs.clarifai.com (WIRE: 15 calls a second by default).
_PUBLIC_CALLS_PER_SECOND = 15.0


@dataclasses.dataclass(frozen=True)
class PreparedJob:
    """A job that passed every check, as plain data.

    Attributes:
        file: the job as the user wrote it.
        source: what to read, with the kept columns' types.
        call: the model's method with its arguments bound and its version resolved.
        output: where and how the tables are written.
    """

    file: JobFile
    source: SourceSpec
    call: ModelCall
    output: OutputSpec

    @property
    def config(self) -> JobConfig:
        """The validated job."""
        return self.file.config


@contextlib.contextmanager
def open_endpoint(endpoint: str | None) -> Iterator[Endpoint]:
    """The address to call; `embedded` starts our own server and stops it at the end.

    Raises:
        ConfigError: the address is none.
        JobError: the embedded server lacks its `[demo]` extra.
    """
    text = endpoint or os.environ.get("CLARIFAI_API_BASE") or PUBLIC_API
    if text != "embedded":
        yield parse_endpoint(text)
        return
    from .embedded_server import serve  # noqa: PLC0415  (brings image libraries that other endpoints do not need)

    with serve() as server:
        yield parse_endpoint(server.endpoint)


def prepare(
    file: JobFile, endpoint: Endpoint, *, run_id: str, limit: int | None = None, partial: bool = False
) -> PreparedJob:
    """Check the source, the credentials and the model's method, and bind the arguments.

    Args:
        run_id: of the run to be.
        limit: only the first so many inputs.
        partial: the run goes through a part of the source only, for another reason than `limit`.

    Raises:
        SourceError: the source matches nothing or lacks a column.
        CredentialsError, EndpointError, ModelNotFoundError, MethodError: as `prepare_call` says.
    """
    config = file.config
    if endpoint == parse_endpoint(PUBLIC_API) and not Credentials.from_environment():
        raise CredentialsError(
            f"{endpoint.url} wants credentials and none are set; export CLARIFAI_PAT, or name another model.endpoint"
        )
    needed = named_columns(config.model.arguments)
    source = inspect_source(config.source, needed, limit)
    call = prepare_call(
        config.model,
        _within_public_limits(config.model, config.calls, endpoint),
        config.stop,
        endpoint=endpoint,
        media_type=source.media_type,
        columns=source.columns,
        workers=workers_of(config.runner).processes,
    )
    output = OutputSpec(
        uri=config.output.uri,
        run_id=run_id,
        storage=config.output.storage,
        masks=config.output.masks,
        raw=config.output.raw,
        pieces=config.output.pieces,
        partition_by=config.output.partition_by,
        file_bytes=int(config.output.file_bytes),
        part_seconds=config.output.part_seconds,
        keep_schema=source.keep_schema,
        model_url=call.address.url,
        model_version=call.model_version,
        fingerprint=fingerprint(config, call),
        method=call.binding.method,
        lists_all=limit is None and not partial,
    )
    return PreparedJob(file, source, call, output)


def check_output_of(job: PreparedJob, *, write: bool) -> None:
    """Check that the job's rows may go where they are to go; with `write`, also that they can.

    Raises:
        ConfigError, StoreError: as `check_output` says.
    """
    check_output(job.output.store(), job.output, write=write)


def fingerprint(config: JobConfig, call: ModelCall) -> str:
    """What makes two jobs ask the same of the model: model, version, method and arguments; no secrets, no addresses."""
    asked: dict[str, Any] = {
        "model": call.address.url,
        "version": call.model_version,
        "method": config.model.method,
        "arguments": config.model.arguments,
        "stream": config.model.stream.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:32]


def new_run_id() -> str:
    """Sorts by start time and is unlike any other: "20260131T235959Z-1f2e3d"."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(3)


def _within_public_limits(model: ModelConfig, calls: CallsConfig, endpoint: Endpoint) -> CallsConfig:
    shared = endpoint == parse_endpoint(PUBLIC_API) and not (model.deployment or model.nodepool)
    if shared and calls.calls_per_second is None:
        return calls.model_copy(update={"calls_per_second": _PUBLIC_CALLS_PER_SECOND})
    return calls
