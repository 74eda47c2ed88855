"""Maps the API's status codes and gRPC codes to verdicts, in one table.

The API reports through two channels, a gRPC code when the call itself failed and a status in every response
and in every output. `judge_status` and `judge_grpc` look them up; the engine acts on the verdict alone.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import grpc
from clarifai_grpc.grpc.api.status import status_code_pb2

from ...calls.endpoint import Fault, Verdict
from ..over_grpc.codes import cut, grpc_fault
from ..over_grpc.retry_hints import retry_hint

__all__ = ["fault_of_grpc", "fault_of_http", "fault_of_rpc", "fault_of_status", "judge_status"]

#: API status codes by name. A name that ends in `*` stands for all codes that start so and are not named
#: themselves.
STATUSES: dict[Verdict, str] = {
    Verdict.OK: "SUCCESS",
    Verdict.MIXED: "MIXED_STATUS",
    Verdict.WAIT: """
        MODEL_DEPLOYING MODEL_QUEUED_FOR_DEPLOYMENT MODEL_BUSY_PLEASE_RETRY MODEL_LOADING MODEL_BUILDING
        TRY_AGAIN""",
    Verdict.THROTTLED: """
        CONN_THROTTLED CONN_EXCEED_HOURLY_LIMIT""",
    Verdict.SERVER_FULL: """
        RUNNER_NEEDS_RETRY RUNNER_ITEM_CANCELLED RPC_REQUEST_QUEUE_FULL INTERNAL_RESOURCE_EXHAUSTED
        DATABASE_TOO_MANY_CLIENTS""",
    Verdict.TRANSPORT: """
        RPC_SERVER_UNAVAILABLE RPC_REQUEST_TIMEOUT RPC_CANCELED EXTERNAL_CONNECTION_ERROR
        CLUSTER_INTERNAL_FAILURE INTERNAL_CONTEXT_CANCELED INTERNAL_UNEXPECTED_TIMEOUT
        INTERNAL_REDIS_UNAVAILABLE REQUEST_DISABLED_FOR_MAINTENANCE""",
    Verdict.TOO_LARGE: """
        RPC_MAX_MESSAGE_SIZE_EXCEEDED""",
    Verdict.BAD_INPUT: """
        INPUT_* ALL_INPUT_* MP_* FILETYPE_UNSUPPORTED PREDICT_INVALID_REQUEST MODEL_INVALID_ARGUMENT
        MODEL_INVALID_REQUEST RUNNER_INVALID_ARGUMENT BAD_REQUEST CONN_BAD_REQUEST_FORMAT
        CONN_INVALID_REQUEST""",
    Verdict.CREDENTIALS: """
        CONN_ACCOUNT_ISSUES CONN_TOKEN_INVALID CONN_CREDENTIALS_INVALID CONN_KEY_INVALID CONN_KEY_NOT_FOUND
        CONN_INSUFFICIENT_SCOPES CONN_AUTH_METHOD_DISABLED CONN_NO_GDPR_CONSENT CONN_EXCEED_MONTHLY_LIMIT
        CONN_EXCEEDS_LIMITS MODEL_PERMISSION_DENIED RUNNER_PERMISSION_DENIED LICENSE_* USER_FLAGGED
        BILLING_MISSING_TOKENS BILLING_INVALID_INFO""",
    Verdict.NO_MODEL: """
        MODEL_DOES_NOT_EXIST CONN_DOES_NOT_EXIST RUNNER_DOES_NOT_EXIST NODEPOOL_DOES_NOT_EXIST
        COMPUTE_CLUSTER_DOES_NOT_EXIST DEPLOYMENT_DOES_NOT_EXIST DEPLOYMENT_DISABLED MODEL_UPLOADING_FAILED
        MODEL_BUILDING_FAILED MODEL_UNTRAINED""",
    Verdict.NO_METHOD: """
        RPC_UNKNOWN_METHOD NOT_IMPLEMENTED""",
}

#: HTTP codes of a server behind the model, as an OpenAI-style error object names them; all others blame the input.
HTTP: dict[Verdict, tuple[int, ...]] = {
    Verdict.THROTTLED: (429,),
    Verdict.SERVER_FULL: (502, 503, 504),
}

# The local model server reports an unknown method as a plain FAILURE with this text only.
# Nothing looser: a model's own exception about one input must never end the job.
_UNKNOWN_METHOD = re.compile(r"\bMethod \w+ not found in model class")


def _table() -> dict[int, Verdict]:
    known = dict(status_code_pb2.StatusCode.items())
    exact: dict[int, Verdict] = {}
    prefixes: list[tuple[str, Verdict]] = []
    for verdict, names in STATUSES.items():
        for name in names.split():
            if name.endswith("*"):
                prefixes.append((name[:-1], verdict))
            elif name in known:
                exact[known[name]] = verdict
    for name, code in known.items():
        for prefix, verdict in prefixes:
            if name.startswith(prefix):
                exact.setdefault(code, verdict)
    return exact


_BY_STATUS = _table()


#: What a person does about a status that stops the job.
_FIXES = {
    Verdict.CREDENTIALS: "check CLARIFAI_PAT (or CLARIFAI_SESSION_TOKEN) and what it may access",
    Verdict.NO_MODEL: "check model.url, its version, and deployment or nodepool",
    Verdict.NO_METHOD: "check model.method; `bulkinfer methods` lists the model's methods",
    Verdict.NO_API: "check model.endpoint: the server there does not offer this call",
}


def judge_status(code: int, details: str = "") -> Verdict:
    """The verdict on an API status; a code that is not in the table is an unknown failure."""
    verdict = _BY_STATUS.get(code, Verdict.SPLIT)
    if verdict is Verdict.SPLIT and _UNKNOWN_METHOD.search(details):
        return Verdict.NO_METHOD
    return verdict


def status_name(code: int) -> str:
    """`MODEL_LOADING` for 21355; the number itself when the code is newer than the generated messages."""
    try:
        return str(status_code_pb2.StatusCode.Name(code))
    except ValueError:
        return str(code)


def fault_of_status(status: object, request_id: str | None = None) -> Fault:
    """The fault that an API status (of a response or of one output) reports."""
    code = int(status.code)  # type: ignore[attr-defined]
    said = [
        text.strip()
        for text in (status.description, status.details, status.internal_details)  # type: ignore[attr-defined]
        if text and text.strip()
    ]
    details = ": ".join(dict.fromkeys(said))
    name = status_name(code)
    verdict = judge_status(code, details)
    return Fault(
        verdict,
        error_type=name.lower(),
        message=cut(f"the model answered {name} ({code}){': ' + details if details else ''}"),
        fix=_FIXES.get(verdict, ""),
        status_code=code,
        request_id=status.req_id or request_id,  # type: ignore[attr-defined]
    )


def fault_of_grpc(
    code: grpc.StatusCode,
    details: str | None,
    *,
    request_id: str | None = None,
    retry_after_s: float | None = None,
) -> Fault:
    """The fault that a call's gRPC code reports."""
    fault = grpc_fault(code, details, retry_after_s=retry_after_s)
    return dataclasses.replace(fault, fix=_FIXES.get(fault.verdict, ""), request_id=request_id)


def fault_of_http(code: object, kind: str, message: str, request_id: str | None = None) -> Fault:
    """The fault that an OpenAI-style error object reports, of a server behind the model.

    Args:
        code: the HTTP code, or a word of the server's own.
        kind: the error's type.
    """
    verdict = next((verdict for verdict, codes in HTTP.items() if code in codes), Verdict.SPLIT)
    return Fault(
        verdict,
        error_type="model_error",
        message=cut(f"the model answered an error ({kind}{f', {code}' if code else ''}): {message}"),
        status_code=code if type(code) is int else None,
        request_id=request_id,
    )


def fault_of_rpc(error: Any) -> Fault:
    """The fault that a failed call of `grpc` or `grpc.aio` reports."""
    return fault_of_grpc(error.code(), error.details(), retry_after_s=retry_hint(error.trailing_metadata()))
