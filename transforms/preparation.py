"""A job's configuration -> what its transforms take: the source, the call and the output, checked and as plain data.

job = prepare_job({"source": {...}, "model": {...}, "output": {...}})
ReadReferences(job.source), LoadContent(**job.loading), Predict(job.call), WriteTables(job.output)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from typing import Any

from .calls.limits.divided import check_shares
from .calls.model_call import ModelCall, prepare_call
from .endpoints.clarifai.addresses import PUBLIC_API, Endpoint, parse_endpoint
from .endpoints.clarifai.client import Credentials
from .endpoints.clarifai.request.expressions import named_columns
from .errors import ConfigError, CredentialsError
from .job.config import CallsConfig, JobConfig, ModelConfig
from .job.job_file import check_sections
from .runs.parts import OutputSpec
from .sources.source import SourceSpec, inspect_source
from .tables.output_check import check_output

__all__ = ["Preparation", "fingerprint", "new_run_id", "prepare", "prepare_job", "within_public_limits"]

# The public API's own limits, per https://docs.clarifai.com: a call for shared models, and any call's message.
_PUBLIC_CALLS_PER_SECOND = 15.0
_PUBLIC_BATCH_BYTES = 128_000_000


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A job that passed every check; it pickles and holds no key.

    Attributes:
        config: the validated job.
        source: for ReadReferences.
        call: for Predict.
        output: for WriteTables; each preparation has a run id of its own.
    """

    config: JobConfig
    source: SourceSpec
    call: ModelCall
    output: OutputSpec

    @property
    def loading(self) -> dict[str, Any]:
        """Arguments for LoadContent."""
        source, binding = self.config.source, self.call.binding
        return {
            "max_bytes": int(source.max_bytes),
            "storage": source.storage,
            "by_url": not binding.needs_content,
            "reference_columns": binding.reference_columns,
            "base": self.source.base,
        }


def prepare_job(
    sections: JobConfig | Mapping[str, Any], *, limit: int | None = None, workers: int = 1
) -> Preparation:
    """Check a job from source to output, for a pipeline of one's own; no content is read.

    The endpoint is what the job names, else $CLARIFAI_API_BASE, else the public API.

    Args:
        sections: what a job file holds.
        limit: only the first so many inputs.
        workers: processes that divide the rate limits among them.

    Raises:
        ConfigError: the sections are malformed, or the output holds tables of another layout.
        SourceError: the source matches nothing or lacks a column.
        StoreError: the output cannot be read.
        CredentialsError, EndpointError, ModelNotFoundError, MethodError: as `prepare_call` says.

    >>> prepare_job({"source": {"files": "*.jpg"}, "model": {"method": "predict"}, "output": {"uri": "out"}})
    Traceback (most recent call last):
    bulkinfer.transforms.errors.ConfigError: job: model: no model is named; add url, or user_id with app_id and model_id
    """
    config = sections if isinstance(sections, JobConfig) else check_sections(sections)
    endpoint = parse_endpoint(config.model.endpoint or os.environ.get("CLARIFAI_API_BASE") or PUBLIC_API)
    prepared = prepare(config, endpoint, run_id=new_run_id(), limit=limit, workers=workers)
    check_output(prepared.output.store(), prepared.output, write=False)
    return prepared


def prepare(
    config: JobConfig,
    endpoint: Endpoint,
    *,
    run_id: str,
    limit: int | None = None,
    partial: bool = False,
    workers: int = 1,
    fixed: bool = True,
) -> Preparation:
    """Check the source, the credentials and the model's method, and bind the arguments.

    Args:
        config: the job.
        endpoint: where the API is served.
        run_id: of the run to be.
        limit: only the first so many inputs.
        partial: the run goes through a part of the source only, for another reason than `limit`.
        workers: processes that divide the rate limits among them.
        fixed: there are never more of them.

    Raises:
        ConfigError: a call would be larger than the public API takes, or a rate limit cannot be divided.
        SourceError: the source matches nothing or lacks a column.
        CredentialsError, EndpointError, ModelNotFoundError, MethodError: as `prepare_call` says.
    """
    if endpoint == parse_endpoint(PUBLIC_API) and not Credentials.from_environment():
        raise CredentialsError(
            f"{endpoint.url} wants credentials and none are set; export CLARIFAI_PAT, or name another model.endpoint"
        )
    calls = within_public_limits(config.model, config.calls, endpoint)
    check_shares(calls, config.stop, workers, fixed=fixed)
    source = inspect_source(config.source, named_columns(config.model.arguments), limit)
    call = prepare_call(
        config.model,
        calls,
        config.stop,
        endpoint=endpoint,
        media_type=source.media_type,
        columns=source.columns,
        workers=workers,
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
    return Preparation(config, source, call, output)


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


def within_public_limits(model: ModelConfig, calls: CallsConfig, endpoint: Endpoint) -> CallsConfig:
    """The calls of a job with the public API's limits as defaults; at any other endpoint as they are.

    Raises:
        ConfigError: a call of the job would be larger than the public API takes.
    """
    if endpoint != parse_endpoint(PUBLIC_API):
        return calls
    if calls.batch_bytes > _PUBLIC_BATCH_BYTES:
        raise ConfigError(
            f"calls.batch_bytes={int(calls.batch_bytes)} is more than the {_PUBLIC_BATCH_BYTES} bytes that "
            f"{endpoint.url} takes in one call; lower it to 128MB or less"
        )
    shared = not (model.deployment or model.nodepool)
    if shared and calls.calls_per_second is None:
        return calls.model_copy(update={"calls_per_second": _PUBLIC_CALLS_PER_SECOND})
    return calls
