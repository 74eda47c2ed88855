"""The contract of endpoints for Clarifai's API, against a server in a process of its own."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.clarifai.endpoint import ClarifaiEndpoint
from clarifai_grpc.grpc.api.status import status_code_pb2
from contract import EndpointContract
from support.calls import call_to
from support.fault_server import FaultServer, running

METHODS = {"text": "predict", "stream": "pieces", "masks": "outline"}


def status(name: str) -> dict[str, Any]:
    return {"kind": "status", "code": status_code_pb2.StatusCode.Value(name)}


FAULTS: dict[Verdict, dict[str, Any]] = {
    Verdict.WAIT: status("MODEL_LOADING"),
    Verdict.THROTTLED: status("CONN_THROTTLED"),
    Verdict.SERVER_FULL: status("RUNNER_NEEDS_RETRY"),
    Verdict.TRANSPORT: {"kind": "grpc", "code": "UNAVAILABLE"},
    Verdict.BAD_INPUT: {"kind": "grpc", "code": "INVALID_ARGUMENT"},
    Verdict.SPLIT: status("FAILURE"),
    Verdict.MISMATCH: {"kind": "count", "extra": 1},
    Verdict.CREDENTIALS: {"kind": "grpc", "code": "UNAUTHENTICATED"},
    Verdict.NO_MODEL: {"kind": "grpc", "code": "NOT_FOUND"},
    Verdict.NO_METHOD: status("RPC_UNKNOWN_METHOD"),
    Verdict.NO_API: {"kind": "grpc", "code": "UNIMPLEMENTED"},
}


class ClarifaiKind:
    """The API with the fault server behind it, and a second one that takes small messages only."""

    small_bytes = 6_000

    def __init__(self, server: FaultServer, small: FaultServer) -> None:
        self.servers = {False: server, True: small}

    def endpoint(self, method: str, *, small: bool = False) -> ClarifaiEndpoint:
        return call_to(self.servers[small].endpoint, method=METHODS[method]).endpoint

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
        calls = [{**FAULTS[first], "to": 1}] if first is not None else []
        if breaks:
            calls.append({"kind": "break", "after": 1, "code": "INTERNAL", "to": breaks})
        inputs = {name: FAULTS[verdict] for name, verdict in (bad or {}).items()}
        inputs |= {name: {"kind": "output", "code": 30104} for name in odd or {}}
        for server in self.servers.values():
            server.set(calls=calls, inputs=inputs, base_ms=1000 * seconds, calls_per_second=calls_per_second)

    def inputs(self) -> collections.Counter[str]:
        seen: collections.Counter[str] = collections.Counter()
        for server in self.servers.values():
            seen.update(server.stats()["inputs"])
        return seen

    def calls(self) -> int:
        return sum(server.stats()["calls"] for server in self.servers.values())

    def answer(self, method: str, text: str) -> str:
        return "".join(f"ok {piece}" for piece in (text.split() if method == "stream" else [text]))


class TestClarifai(EndpointContract):
    @pytest.fixture(scope="class")
    def kind(self) -> Iterator[ClarifaiKind]:
        with running() as server, running(max_message=ClarifaiKind.small_bytes + 600) as small:
            yield ClarifaiKind(server, small)
