"""A job's configuration -> what its transforms take: the source, the call and the output, checked and as plain data.

job = prepare_job({"source": {...}, "model": {...}, "output": {...}})
ReadReferences(job.source), LoadContent(**job.loading), Predict(job.call), WriteTables(job.output)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from .calls.limits.divided import check_divided
from .calls.limits.tokens import answer_limit
from .calls.model_call import ModelCall, within_limits
from .endpoints.kinds import kind_of
from .errors import ConfigError
from .job.config import JobConfig, SourceImageConfig
from .job.job_file import check_sections
from .kept.folders import folder_of
from .kept.types import kept_field
from .rows.schemas import keep_columns
from .runs.parts import OutputSpec, partition_bytes
from .runs.record import list_runs
from .sources.source import SourceSpec, inspect_source
from .storage.allowed import Allowed
from .storage.references import is_data, shown
from .storage.store import Store
from .tables.output_check import check_output, names_as_written
from .tables.partitions import constant_of

__all__ = ["Preparation", "fingerprint", "new_run_id", "prepare", "prepare_job"]


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
        source, needs = self.config.source, self.call.endpoint.needs
        return {
            "max_bytes": int(source.max_bytes),
            "idle_timeout": source.timeout.idle,
            "file_timeout": source.timeout.file,
            "max_pixels": source.image.max_pixels,
            "turn": source.image.orientation == "apply",
            "max_side": source.image.max_side,
            "storage": source.storage,
            "allowed": self.source.allowed,
            "by_url": not needs.content,
            "reference_columns": needs.columns,
            "base": self.source.base,
        }


def prepare_job(
    sections: JobConfig | Mapping[str, Any], *, limit: int | None = None, workers: int = 1
) -> Preparation:
    """Check a job from source to output, for a pipeline of one's own; no content is read.

    The endpoint is what the job names, else the environment, else its kind's public API.

    Args:
        sections: what a job file holds.
        limit: only the first so many inputs.
        workers: processes that divide the rate limits among them.

    Raises:
        ConfigError: the sections are malformed, or the output holds tables of another layout.
        SourceError: the source matches nothing or lacks a column.
        StoreError: the output cannot be read.
        CredentialsError, EndpointError, ModelNotFoundError, MethodError: as `EndpointKind.prepare` says.

    >>> prepare_job({"source": {"files": "*.jpg"}, "model": {"method": "predict"}, "output": {"uri": "out"}})
    Traceback (most recent call last):
    bulkinfer.transforms.errors.ConfigError: job: model: no model is named; add url, or user_id with app_id and model_id
    """
    config = sections if isinstance(sections, JobConfig) else check_sections(sections)
    address = kind_of(config.model).address(config.model)
    prepared = prepare(config, address, run_id=new_run_id(), limit=limit, workers=workers)
    check_output(prepared.output.store(), prepared.output, write=False)
    return prepared


def prepare(
    config: JobConfig,
    address: str,
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
        address: where the API is served.
        run_id: of the run to be.
        limit: only the first so many inputs.
        partial: the run goes through a part of the source only, for another reason than `limit`.
        workers: processes that divide the rate limits among them.
        fixed: there are never more of them.

    Raises:
        ConfigError: a call would be larger than the public API takes, or a rate limit cannot be divided.
        SourceError: the source matches nothing or lacks a column.
        StoreError: the output cannot be read.
        CredentialsError, EndpointError, ModelNotFoundError, MethodError: as `EndpointKind.prepare` says.
    """
    kind = kind_of(config.model)
    kind.check(config.model, address)
    calls = within_limits(config.calls, kind.published_limits(config.model, address), address)
    check_divided(calls, config.stop, workers, fixed=fixed)
    as_written = names_as_written(list_runs(Store(config.output.uri, config.output.storage)))
    source = inspect_source(config.source, kind.columns(config.model), limit, as_written=as_written)
    _check_apart(source, config.output.uri)
    kept = config.source.columns.kept
    # Else the first worker would find a name that is taken.
    keep_columns([kept_field(name, pa.null(), source=column) for name, column in kept.items()])
    call = kind.prepare(
        config.model,
        calls,
        config.stop,
        address=address,
        media_type=source.media_type,
        columns=source.columns,
        workers=workers,
    )
    call = dataclasses.replace(call, answer_tokens=answer_limit(config.model.arguments))
    if call.endpoint.needs.fetched_by:
        _check_reachable(source, call.endpoint.needs.fetched_by)
    _check_pictures_are_sent(config.source.image, call)
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
        model_url=call.endpoint.identity,
        model_version=call.endpoint.version,
        fingerprint=fingerprint(config, call),
        method=config.model.method,
        arguments=_digest(_asked(config)),
        beside=config.on_change == "keep_both",
        reader=call.endpoint.reader,
        as_written=as_written,
        relative_to=source.relative_to,
        lists_all=limit is None and not partial,
    )
    return Preparation(config, _with_folders(source, output), call, output)


def _with_folders(source: SourceSpec, output: OutputSpec) -> SourceSpec:
    """Let the source's reader know which of its values name folders of the output, and how long these may be."""
    kept = [name for name in output.partition_by if name in source.source.columns.kept]
    others = [name for name in output.partition_by if name not in kept]
    taken = sum(len(folder_of(name, constant_of(name, output))) + 1 for name in others)
    left = partition_bytes(output.store(), output.run_id) - taken
    return dataclasses.replace(source, folders=tuple(kept), folder_bytes=left)


def _check_apart(source: SourceSpec, output: str) -> None:
    """Refuse an output whose own files the source would name."""
    inside = [
        f"{output.rstrip('/')}/{name}" for name in ("_runs/RUN/run.json", "predictions/part-RUN.parquet")
    ]
    for pattern in source.patterns:
        if any(pattern.matches(path) for path in inside):
            raise ConfigError(
                f"output.uri: {output} lies where source.files ({pattern.text}) looks, so that the job would take its "
                "own tables for inputs; write elsewhere, or narrow the pattern, for example to one suffix"
            )
    table = source.source.table
    if table and Store(output).uri.startswith(Store(table).uri + "/"):
        raise ConfigError(
            f"output.uri: {output} lies in source.table ({table}), so that the next run would take its rows for "
            "inputs; write elsewhere"
        )


def _check_reachable(source: SourceSpec, server: str) -> None:
    """Refuse a source whose references are passed to a server that cannot fetch them."""
    elsewhere = Allowed(None, files=False, loopback=False)
    references = source.first_uris or [pattern.text for pattern in source.patterns]
    if references and all(elsewhere.fault(one) and not is_data(one) for one in references):
        raise ConfigError(
            f"model.arguments: they pass $uri, but {server} cannot fetch {shown(references[0])}, which only this "
            "machine reaches; pass $content, or name references that other machines reach"
        )


def fingerprint(config: JobConfig, call: ModelCall) -> str:
    """What makes two jobs ask the same of the model: model, version, method and arguments; no secrets, no addresses."""
    named = {
        "model": call.endpoint.identity,
        "version": call.endpoint.version,
        "method": config.model.method,
    }
    return _digest({**named, **_asked(config)})


def _check_pictures_are_sent(image: SourceImageConfig, call: ModelCall) -> None:
    """Refuse to change pictures that the server fetches by itself."""
    changes = {
        "orientation: apply turns": image.orientation == "apply",
        "max_side shrinks": image.max_side is not None,
    }
    asked = next((what for what, is_asked in changes.items() if is_asked), None)
    if asked is not None and not call.endpoint.needs.content:
        raise ConfigError(
            f"source.image.{asked} pictures before they are sent, but model.arguments pass $uri, so that the server "
            "fetches them; pass $content, or remove the key"
        )


def _asked(config: JobConfig) -> dict[str, Any]:
    """What a job asks of its model's method."""
    asked: dict[str, Any] = {
        "arguments": config.model.arguments,
        "stream": config.model.stream.model_dump(mode="json"),
    }
    for name in ("setup", "outputs", "pixels"):  # keys that only some kinds have
        if name in config.model.model_fields_set:
            asked[name] = config.model.model_dump(mode="json")[name]
    if config.source.image.orientation == "apply":  # another picture is sent, and another one answered about
        asked["image"] = "upright"
    if config.source.image.max_side is not None:
        asked["max_side"] = config.source.image.max_side
    return asked


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:32]


def new_run_id() -> str:
    """Sorts by start time and is unlike any other: "20260131T235959Z-1f2e3d"."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(3)
