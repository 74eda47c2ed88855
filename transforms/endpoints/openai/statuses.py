"""Maps what servers of the API report to verdicts: words of their error objects first, else HTTP's codes."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from ...calls.endpoint import Fault, Verdict
from ..over_grpc.codes import cut

__all__ = ["fault_of_answer", "fault_of_error", "fault_of_http", "lost", "retry_hint"]

#: The `code` or `type` of an error object; a name that ends in `*` stands for all that start so.
WORDS: dict[Verdict, str] = {
    Verdict.CREDENTIALS: """
        insufficient_quota billing_* invalid_api_key authentication_error invalid_authentication permission_error
        permission_denied account_deactivated access_terminated budget_exceeded""",
    Verdict.NO_MODEL: "model_not_found",
    Verdict.NO_METHOD: "unsupported_parameter unknown_parameter unsupported_value",
    Verdict.BAD_INPUT: """
        context_length_exceeded string_above_max_length array_above_max_length invalid_image* image_* content_filter
        content_policy_violation invalid_base64* unsupported_image* failed_to_download_image invalid_prompt""",
    Verdict.THROTTLED: "rate_limit_exceeded rate_limit_error requests tokens throttling_error",
    Verdict.SERVER_FULL: "overloaded_error server_overloaded engine_overloaded slow_down",
}
HTTP: dict[Verdict, tuple[int, ...]] = {
    Verdict.BAD_INPUT: (400, 422),
    Verdict.CREDENTIALS: (401, 402, 403, 407),
    Verdict.NO_API: (300, 301, 302, 303, 304, 307, 308, 404, 405, 406, 410, 415, 501),
    Verdict.TOO_LARGE: (413,),
    Verdict.TRANSPORT: (408, 409, 425, 499, 502, 504, 520, 521, 522, 523, 524),
    Verdict.THROTTLED: (429,),
    Verdict.SERVER_FULL: (503, 529),
}
_BY_WORD = {word: verdict for verdict, words in WORDS.items() for word in words.split()}
_BY_CODE = {code: verdict for verdict, codes in HTTP.items() for code in codes}
_UNKNOWN_MODEL = re.compile(
    r"\bmodel\b[^.]{0,200}\b(?:does not exist|not found|not exist)\b|invalid model name|no such model",
    re.IGNORECASE,
)
#: llama.cpp's server and Hugging Face's, with code 503.
_LOADING = re.compile(r"loading model|model .{0,200}is (?:currently |still )?loading", re.IGNORECASE)
_FIXES = {
    Verdict.CREDENTIALS: "check the key in the variable that model.key_env names, and what it may use",
    Verdict.NO_MODEL: "check model.name",
    Verdict.NO_METHOD: "check model.arguments",
    Verdict.NO_API: "check model.endpoint and model.method: the server there does not offer this call",
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def fault_of_http(code: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault of a call that was answered with an HTTP code other than 200."""
    try:
        data = json.loads(body)
    except ValueError:
        data = None
    error = data.get("error", data.get("detail", data)) if isinstance(data, Mapping) else None
    if error is None:
        error = body[:2000].decode(errors="replace")
    fault = fault_of_error(error, code)
    return dataclasses.replace(fault, retry_after_s=retry_hint(headers)) if fault.verdict.retried else fault


def fault_of_answer(headers: Mapping[str, str], body: bytes) -> Fault:
    """The fault of an answer with code 200 that is no JSON, such as a proxy's page."""
    kind = headers.get("content-type", "no content type")
    message = f"the answer is no JSON but {kind}: {body[:200].decode(errors='replace')}"
    return Fault(Verdict.TRANSPORT, "no_json", cut(message), fix=_FIXES[Verdict.NO_API], status_code=200)


def fault_of_error(error: Any, code: int | None = None) -> Fault:
    """The fault that an error object reports, or a text in its place.

    Args:
        code: HTTP's, of an answer that is nothing but the error; None for one that is dressed as an answer.
    """
    told = error if isinstance(error, Mapping) else {"message": error}
    words = [str(told[name]) for name in ("code", "type") if told.get(name)]
    text = told.get("message") or told.get("error") or told.get("msg") or ""
    message = text if isinstance(text, str) else json.dumps(text)
    if code is None:
        code = next((int(word) for word in words if word.isdigit() and len(word) == 3), None)
    verdict = _verdict(words, message, code)
    named = ", ".join(word for word in words if not word.isdigit())
    said = f"HTTP {code}" if code is not None else "an error"
    return Fault(
        verdict,
        error_type=_error_type(verdict, words, code),
        message=cut(
            f"the server answered {said}{f' ({named})' if named else ''}{f': {message}' if message else ''}"
        ),
        fix=_FIXES.get(verdict, ""),
        status_code=code,
    )


def lost(error: BaseException) -> Fault:
    """The fault of a call that was cut off on its way."""
    text = str(error)
    return Fault(
        Verdict.TRANSPORT,
        "connection",
        cut(f"the call was cut off: {type(error).__name__}{f': {text}' if text else ''}"),
    )


def retry_hint(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, `retry-after` (also a date), or a spent limit's reset."""
    if (found := _number(headers.get("retry-after-ms"))) is not None:
        return found / 1000
    if (text := headers.get("retry-after")) is not None:
        if (found := _number(text)) is not None:
            return found
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            pass
    resets = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((seconds for seconds in resets if seconds is not None), default=None)


def _verdict(words: list[str], message: str, code: int | None) -> Verdict:
    for word in words:
        if word in _BY_WORD:
            return _BY_WORD[word]
        for known, verdict in _BY_WORD.items():
            if known.endswith("*") and word.startswith(known[:-1]):
                return verdict
    if code == 503 and _LOADING.search(message):
        return Verdict.WAIT
    if code in (400, 404) and _UNKNOWN_MODEL.search(message):
        return Verdict.NO_MODEL
    return _BY_CODE.get(code or 0, Verdict.SPLIT)


def _error_type(verdict: Verdict, words: list[str], code: int | None) -> str:
    if verdict is Verdict.TOO_LARGE:
        return "too_large"
    word = next((word for word in words if not word.isdigit()), "")
    return re.sub(r"\W+", "_", word).strip("_").lower()[:60] or (f"http_{code}" if code else "error")


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 86_400 else None


def _duration(text: str) -> float | None:
    """Seconds of `6m0s`, `20ms`, or a plain number.

    >>> _duration("1m30s")
    90.0
    """
    if (number := _number(text)) is not None:
        return number
    found = _DURATION.findall(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in found) if found else None
