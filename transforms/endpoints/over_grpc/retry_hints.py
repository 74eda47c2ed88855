"""Reads how long a gRPC server asks to wait from its trailing metadata."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

__all__ = ["retry_hint"]


def retry_hint(metadata: Iterable[tuple[str, Any]] | Mapping[str, Any] | None) -> float | None:
    """Seconds that a server asks to wait, from the trailing metadata of a failed call.

    Read are `grpc-retry-pushback-ms` (gRPC's own), `retry-after` (seconds or a date, as in HTTP) and a
    `google.rpc.RetryInfo` inside `grpc-status-details-bin`.
    """
    pairs = metadata.items() if isinstance(metadata, Mapping) else metadata or ()
    for key, value in pairs:
        seconds = _hint(key.lower(), value)
        if seconds is not None and 0 <= seconds < math.inf:
            return seconds
    return None


def _hint(key: str, value: Any) -> float | None:
    try:
        if key == "grpc-retry-pushback-ms":
            return float(value) / 1000
        if key == "retry-after":
            text = str(value).strip()
            return float(text) if text.replace(".", "", 1).isdigit() else _until(text)
        if key == "grpc-status-details-bin":
            return _retry_info(bytes(value))
    except (ValueError, TypeError, IndexError, OverflowError, DecodeError):
        return None  # a hint that cannot be read is no hint; our own backoff applies
    return None


def _until(date: str) -> float:
    return float(max(0.0, parsedate_to_datetime(date).timestamp() - time.time()))


def _retry_info(details: bytes) -> float | None:
    info = error_details_pb2.RetryInfo()
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Unpack(info):
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
