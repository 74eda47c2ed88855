"""What servers of the API say, and what is done about it: error objects as vendors write them, codes, headers."""

from __future__ import annotations

import email.utils
import json
import time
from typing import Any

import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.openai.statuses import fault_of_error, fault_of_http, retry_hint


def error(message: str = "", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("code", "body", "verdict"),
    [
        (401, error("Incorrect API key provided", code="invalid_api_key"), Verdict.CREDENTIALS),
        (403, b"<html>Forbidden</html>", Verdict.CREDENTIALS),
        (429, error("You exceeded your current quota", code="insufficient_quota"), Verdict.CREDENTIALS),
        (429, error("Rate limit reached", type="tokens", code="rate_limit_exceeded"), Verdict.THROTTLED),
        (429, b"", Verdict.THROTTLED),
        (
            404,
            error("The model `x` does not exist.", type="NotFoundError", code=404),
            Verdict.NO_MODEL,
        ),  # vLLM
        (
            404,
            error('model "x" not found, try pulling it first', type="api_error"),
            Verdict.NO_MODEL,
        ),  # Ollama
        (400, error("Invalid model name passed in model=x"), Verdict.NO_MODEL),  # LiteLLM
        (404, b'{"detail":"Not Found"}', Verdict.NO_API),  # FastAPI
        (405, b'{"detail":"Method Not Allowed"}', Verdict.NO_API),
        (302, b"", Verdict.NO_API),
        (400, error("Unsupported parameter: 'max_tokens'", code="unsupported_parameter"), Verdict.NO_METHOD),
        (400, error("too many tokens", code="context_length_exceeded"), Verdict.BAD_INPUT),
        (400, error("not a valid image", code="invalid_image_format"), Verdict.BAD_INPUT),
        (422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', Verdict.BAD_INPUT),
        (413, b"", Verdict.TOO_LARGE),
        (500, error("boom"), Verdict.SPLIT),
        (502, b"<html>Bad Gateway</html>", Verdict.TRANSPORT),
        (503, error("Loading model", type="unavailable_error"), Verdict.WAIT),  # llama.cpp
        (
            503,
            b'{"error":"Model m is currently loading","estimated_time":20.0}',
            Verdict.WAIT,
        ),  # Hugging Face
        (503, b"", Verdict.SERVER_FULL),
        (529, error("Overloaded", type="overloaded_error"), Verdict.SERVER_FULL),
    ],
)
def test_what_servers_answer_has_a_verdict(code: int, body: bytes, verdict: Verdict) -> None:
    fault = fault_of_http(code, {}, body)

    assert fault.verdict is verdict
    assert (fault.status_code, f"HTTP {code}" in fault.message) == (code, True)
    assert fault.verdict.stops_job == bool(fault.fix)
    assert fault.error_type == fault.error_type.lower().strip() != ""


def test_an_error_in_an_answer_counts_by_its_words_and_its_own_code() -> None:
    assert fault_of_error({"message": "m", "code": 429}).verdict is Verdict.THROTTLED
    assert fault_of_error({"message": "m", "code": "503"}).verdict is Verdict.SERVER_FULL
    assert fault_of_error({"message": "m", "type": "overloaded_error"}).verdict is Verdict.SERVER_FULL
    assert fault_of_error("nothing more").verdict is Verdict.SPLIT
    assert fault_of_error("nothing more").message == "the server answered an error: nothing more"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "20s"}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_hint(headers) == seconds


def test_a_date_is_waited_for() -> None:
    hint = retry_hint({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)})
    assert hint is not None
    assert 27 < hint <= 30
    assert retry_hint({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
