"""Maps gRPC's own codes to verdicts, in one table."""

from __future__ import annotations

import re

import grpc

from ...calls.endpoint import Fault, Verdict

__all__ = ["cut", "grpc_fault", "judge_grpc"]

GRPC: dict[Verdict, str] = {
    Verdict.TRANSPORT: "UNAVAILABLE DEADLINE_EXCEEDED ABORTED CANCELLED",
    Verdict.SERVER_FULL: "RESOURCE_EXHAUSTED",  # unless it says that a message is too large, see judge_grpc
    Verdict.BAD_INPUT: "INVALID_ARGUMENT OUT_OF_RANGE FAILED_PRECONDITION",
    Verdict.CREDENTIALS: "UNAUTHENTICATED PERMISSION_DENIED",
    Verdict.NO_MODEL: "NOT_FOUND",
    Verdict.NO_API: "UNIMPLEMENTED",
    Verdict.SPLIT: "UNKNOWN INTERNAL DATA_LOSS ALREADY_EXISTS",
}

_MESSAGE_TOO_LARGE = re.compile(
    r"message (?:is )?larger than max \((\d+) vs\.? (\d+)\)|larger than max", re.IGNORECASE
)
# A reset connection is reported as INTERNAL; no input is to blame for it.
_RESET = re.compile(
    r"RST_STREAM|GOAWAY|stream (?:removed|terminated)|connection reset|socket closed", re.IGNORECASE
)
_BY_GRPC = {name: verdict for verdict, names in GRPC.items() for name in names.split()}


def judge_grpc(code: grpc.StatusCode, details: str = "") -> Verdict:
    """The verdict on a gRPC code."""
    verdict = _BY_GRPC.get(code.name, Verdict.SPLIT)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _MESSAGE_TOO_LARGE.search(details):
        return Verdict.TOO_LARGE
    if code is grpc.StatusCode.INTERNAL and _RESET.search(details):
        return Verdict.TRANSPORT
    return verdict


def grpc_fault(
    code: grpc.StatusCode,
    details: str | None,
    *,
    retry_after_s: float | None = None,
) -> Fault:
    """The fault that a call's gRPC code reports."""
    details = details or ""
    verdict = judge_grpc(code, details)
    limit = _MESSAGE_TOO_LARGE.search(details) if verdict is Verdict.TOO_LARGE else None
    return Fault(
        verdict,
        error_type="too_large" if verdict is Verdict.TOO_LARGE else code.name.lower(),
        message=cut(f"the call failed with gRPC {code.name}{': ' + details if details else ''}"),
        grpc_code=code.name,
        retry_after_s=retry_after_s,
        max_message_bytes=int(limit[2]) if limit and limit[2] else None,
    )


def cut(text: str, limit: int = 600) -> str:
    # Model servers put whole stack traces into details; the first lines tell what happened.
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
