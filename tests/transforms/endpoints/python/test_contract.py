"""The contract of endpoints for a Python callable, in threads of this process."""

from __future__ import annotations

import collections
from collections.abc import Mapping

import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.python.endpoint import PythonEndpoint
from bulkinfer.transforms.endpoints.python.kind import PythonKind
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig
from contract import EndpointContract
from support import callables

METHODS = {"text": {}, "stream": {"method": "pieces"}, "masks": {"method": "outline"}}


class CallableKind:
    """A class that can be told to fail."""

    small_bytes = 300

    def endpoint(self, method: str, *, small: bool = False) -> PythonEndpoint:
        model = ModelConfig(
            kind="python",
            callable="support.callables:Played",
            setup={"most": self.small_bytes} if small else {},
            **METHODS[method],
        )
        kind = PythonKind()
        call = kind.prepare(
            model, CallsConfig(), StopConfig(), address=kind.address(model), media_type="text", columns=()
        )
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
        callables.play(
            first=first.name.lower() if first is not None else None,
            bad={name: verdict.name.lower() for name, verdict in (bad or {}).items()},
            odd=odd or {},
            breaks=breaks,
            seconds=seconds,
            rate=calls_per_second,
        )

    def inputs(self) -> collections.Counter[str]:
        return callables.PLAY.seen

    def calls(self) -> int:
        return callables.PLAY.calls

    def answer(self, method: str, text: str) -> str:
        return "".join(text.split()) if method == "stream" else text[::-1]


class TestPython(EndpointContract):
    @pytest.fixture
    def kind(self) -> CallableKind:
        return CallableKind()
