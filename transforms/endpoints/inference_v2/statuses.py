"""Maps what servers of the protocol report to verdicts: gRPC's codes, and words that mean more than the code."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import grpc

from ...calls.endpoint import Fault, Verdict
from ..over_grpc.codes import cut, grpc_fault
from ..over_grpc.retry_hints import retry_hint

__all__ = ["fault_of_rpc", "fault_of_stream", "mismatch"]

#: What servers say under a code that means less; the first that is found counts.
WORDS: tuple[tuple[Verdict, re.Pattern[str]], ...] = (
    # Triton's dynamic batcher, under UNAVAILABLE.
    (Verdict.SERVER_FULL, re.compile(r"exceeds maximum queue size|queue is full", re.IGNORECASE)),
    # Triton, under UNAVAILABLE: models that are being loaded, or unloaded. MLServer, under INVALID_ARGUMENT.
    (Verdict.WAIT, re.compile(r"has no available versions|is not ready", re.IGNORECASE)),
    # Triton, under UNIMPLEMENTED: models that answer any number of times.
    (Verdict.NO_METHOD, re.compile(r"decoupled transaction policy", re.IGNORECASE)),
    # Triton of some releases, under UNAVAILABLE or INVALID_ARGUMENT.
    (Verdict.NO_MODEL, re.compile(r"unknown model: '[^']*' is not found", re.IGNORECASE)),
)
_FIXES = {
    Verdict.CREDENTIALS: "check the key in the variable that model.key_env names",
    Verdict.NO_MODEL: "check model.name and model.version",
    Verdict.NO_METHOD: "write model.method: stream",
    Verdict.NO_API: "check model.endpoint: the server there does not offer this call of the Open Inference Protocol",
}


def fault_of_rpc(error: Any) -> Fault:
    """The fault that a failed call of `grpc` or `grpc.aio` reports."""
    return _fault(error.code(), error.details() or "", retry_hint(error.trailing_metadata()))


def fault_of_stream(message: str) -> Fault:
    """The fault that a message of Triton's stream reports; it has no code."""
    return _fault(grpc.StatusCode.UNKNOWN, message, None)


def mismatch(message: str) -> Fault:
    """The fault of an answer whose tensors are not those of the inputs."""
    return Fault(Verdict.MISMATCH, "output_count", cut(message))


def _fault(code: grpc.StatusCode, details: str, retry_after_s: float | None) -> Fault:
    fault = grpc_fault(code, details, retry_after_s=retry_after_s)
    verdict = next((verdict for verdict, words in WORDS if words.search(details)), fault.verdict)
    return dataclasses.replace(fault, verdict=verdict, fix=_FIXES.get(verdict, ""))
