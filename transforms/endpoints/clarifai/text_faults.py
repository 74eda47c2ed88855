"""Finds failures that are dressed as answers: the text of an error object under a status of success.

The vendor's wrappers of OpenAI-style servers catch every exception and answer its description as the model's text
(`openai_class.py` and `agentic_class.py` of `clarifai`), and pass errors of the server behind them on as they came.
"""

from __future__ import annotations

import json
from typing import Any

from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

from ...calls.endpoint import Fault, Verdict
from .statuses import fault_of_http, fault_of_status

__all__ = ["text_fault"]

#: No error object is longer; a long answer is not parsed.
_LONGEST = 65_536
_SUCCESS = 10000
_WRAPPED = {"code", "description", "details"}
_OPENAI = {"message", "type", "param", "code"}


def text_fault(output: Any, request_id: str | None = None) -> Fault | None:
    """The failure that an output's text tells of; None for any other answer.

    Only objects of exactly these shapes count, so that an answer in JSON, about codes or about errors, stays one.
    What a model says about an input never ends the job.
    """
    text = _text(output.data)
    if not text or len(text) > _LONGEST or text.lstrip()[:1] != "{":
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fault = _fault(value, request_id) if isinstance(value, dict) else None
    if fault is not None and fault.verdict.stops_job:
        return Fault(Verdict.SPLIT, fault.error_type, fault.message, "", fault.status_code, None, request_id)
    return fault


def _fault(value: dict[str, Any], request_id: str | None) -> Fault | None:
    code, error = value.get("code"), value.get("error")
    if value.keys() == _WRAPPED and type(code) is int:
        if code == _SUCCESS or code not in status_code_pb2.StatusCode.values():
            return None
        status = status_pb2.Status(
            code=code, description=_said(value["description"]), details=_said(value["details"])
        )
        return fault_of_status(status, request_id)
    if not isinstance(error, dict) or value.keys() - {"error", "object"}:
        return None
    if not {"message", "type"} <= error.keys() <= _OPENAI:
        return None
    return fault_of_http(error.get("code"), _said(error["type"]), _said(error["message"]), request_id)


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


def _text(data: Any) -> str:
    """The one text of an answer, inline or in its only part."""
    if len(data.parts) == 1:
        data = data.parts[0].data
    return str(data.string_value or data.text.raw)
