"""Collects the rows of the errors table, and builds the table."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa

from ..records import Failure, Reference
from ..storage.references import recorded, told
from .columns import utf8

__all__ = ["ErrorRows"]

_COLUMNS = (
    "input_id",
    "uri",
    "stage",
    "error_type",
    "message",
    "status_code",
    "grpc_code",
    "retryable",
    "attempts",
    "request_id",
    "failed_at",
)


class ErrorRows:
    """The rows of the errors table."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.inputs: list[int] = []
        self.nbytes = 0

    def add(self, ordinal: int, reference: Reference, failure: Failure) -> None:
        """Add the row of one reference.

        Args:
            ordinal: of the input, in the order of adding.
            reference: the input, which may be an alias of the failure's own.
            failure: what happened.
        """
        failed_at = failure.failed_at
        if failed_at.tzinfo is None:
            failed_at = failed_at.replace(tzinfo=datetime.timezone.utc)
        message = utf8(told(failure.message, failure.reference.uri))
        uri = None if reference.uri is None else utf8(recorded(reference.uri))
        self.rows.append(
            (
                utf8(reference.input_id),
                uri,
                failure.stage,
                failure.error_type,
                message,
                failure.status_code,
                failure.grpc_code,
                failure.retryable,
                failure.attempts,
                utf8(failure.request_id) if failure.request_id else None,
                failed_at,
            )
        )
        self.inputs.append(ordinal)
        self.nbytes += 120 + len(reference.input_id) + len(uri or "") + len(message)

    def build(self, schema: Any, run_id: str) -> Any:
        """The rows as an Arrow table."""
        count = len(self.rows)
        arrays: dict[str, Any] = {
            name: pa.array([row[at] for row in self.rows], schema.field(name).type)
            for at, name in enumerate(_COLUMNS)
        }
        arrays["run_id"] = pa.repeat(pa.scalar(run_id, pa.string()), count)
        return pa.Table.from_arrays(
            [arrays[field.name] if field.name in arrays else pa.nulls(count, field.type) for field in schema],
            schema=schema,
        )
