"""The contract of endpoints for the OpenAI-compatible API, against the embedded server's with faults around it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.openai.endpoint import OpenAIEndpoint
from bulkinfer.transforms.endpoints.openai.kind import OpenAIKind
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig
from contract import EndpointContract, call_of, sent
from support.openai_server import OpenAIServer, running


def status(code: int, **more: Any) -> dict[str, Any]:
    return {"kind": "status", "code": code, **more}


FAULTS: dict[Verdict, dict[str, Any]] = {
    Verdict.WAIT: status(503, message="Loading model", type="unavailable_error"),
    Verdict.THROTTLED: status(429, type="requests", error_code="rate_limit_exceeded"),
    Verdict.SERVER_FULL: status(503, message="The engine is overloaded"),
    Verdict.TRANSPORT: {"kind": "cut", "after": 0},
    Verdict.BAD_INPUT: status(400, error_code="context_length_exceeded", message="maximum context length"),
    Verdict.SPLIT: status(500, message="CUDA error"),
    Verdict.MISMATCH: {"kind": "merge", "body": {"choices": []}},
    Verdict.CREDENTIALS: status(401, error_code="invalid_api_key"),
    Verdict.NO_MODEL: status(404, error_code="model_not_found"),
    Verdict.NO_METHOD: status(400, error_code="unsupported_parameter"),
    Verdict.NO_API: status(404, message="Not Found"),
}


class ServerKind:
    """A server that can be told to fail."""

    small_bytes = 6_000

    def __init__(self, server: OpenAIServer) -> None:
        self.server = server

    def endpoint(self, method: str, *, small: bool = False, **arguments: Any) -> OpenAIEndpoint:
        model = ModelConfig(
            kind="openai",
            endpoint=self.server.endpoint,
            name="echo",
            arguments={
                "prompt": "$content",
                **({"stream": True} if method == "stream" else {}),
                **arguments,
            },
        )
        kind = OpenAIKind()
        call = kind.prepare(
            model, CallsConfig(), StopConfig(), address=kind.address(model), media_type="text", columns=()
        )
        assert isinstance(call.endpoint, OpenAIEndpoint)
        return call.endpoint

    def play(
        self,
        *,
        first: Verdict | None = None,
        bad: Mapping[str, Verdict] | None = None,
        odd: Mapping[str, Verdict] | None = None,
        breaks: int = 0,
        seconds: float = 0.0,
        calls_per_second: int | None = None,
    ) -> None:
        calls = [{"from": 0, "to": 1, **FAULTS[first]}] if first is not None else []
        if breaks:
            calls.append({"from": 0, "to": breaks, "kind": "end", "after": 2})
        inputs = {name: FAULTS[verdict] for name, verdict in {**(bad or {}), **(odd or {})}.items()}
        self.server.set(
            calls=calls,
            inputs=inputs,
            base_ms=seconds * 1000,
            **({"calls_per_second": calls_per_second} if calls_per_second else {}),
        )

    def inputs(self) -> collections.Counter[str]:
        return collections.Counter(self.server.stats()["inputs"])

    def calls(self) -> int:
        return int(self.server.stats()["calls"])

    def answer(self, method: str, text: str) -> str:
        return text


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with running() as started:
        yield started


class TestOpenAI(EndpointContract):
    @pytest.fixture
    def kind(self, server: OpenAIServer) -> ServerKind:
        made = ServerKind(server)
        made.play()
        return made

    # A chat has one input a call, which is never too large for the others; and the API answers no masks.
    test_messages_that_are_too_large_are_split_until_they_fit = None
    test_an_input_that_is_too_large_alone_is_its_own_error = None
    test_masks_become_rle_beside_the_predictions = None

    def test_a_server_that_limits_tokens_is_not_asked_for_more(self, kind: ServerKind) -> None:
        """It refuses some of these calls where the job does not name its limit."""
        names = [f"one two three four five six {number}" for number in range(120)]
        call = call_of(kind.endpoint("text", max_tokens=50), in_flight=32)
        refused = {}
        for limit in (None, 60_000):
            kind.server.set(tokens_per_minute=66_000, burst_seconds=1.5)
            limited = dataclasses.replace(
                call, calls=call.calls.model_copy(update={"tokens_per_minute": limit}), answer_tokens=50
            )
            outcome = sent(limited, names)
            assert set(outcome.good) == set(names)
            refused[limit] = outcome.metrics.get("throttled", 0)

        assert refused[None] > 0
        assert refused[60_000] == 0
