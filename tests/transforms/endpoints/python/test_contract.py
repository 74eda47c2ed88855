"""The contract of endpoints for a Python callable: in threads of this process, and in processes of its own."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.python.endpoint import PythonEndpoint
from bulkinfer.transforms.endpoints.python.kind import PythonKind
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig
from contract import EndpointContract
from support.callables import open_play

METHODS: dict[str, dict[str, str]] = {
    "text": {},
    "stream": {"method": "pieces"},
    "masks": {"method": "outline"},
}


class CallableKind:
    """A class that can be told to fail."""

    small_bytes = 300

    def __init__(self, folder: Path, executor: str) -> None:
        self._play, self._executor = str(folder / "play.json"), executor
        self.play()

    def endpoint(self, method: str, *, small: bool = False) -> PythonEndpoint:
        setup: dict[str, Any] = {"play": self._play, "most": self.small_bytes if small else None}
        model = ModelConfig(
            kind="python",
            callable="support.callables:Played",
            setup=setup,
            executor=self._executor,
            **METHODS[method],
        )
        kind = PythonKind()
        call = kind.prepare(
            model, CallsConfig(), StopConfig(), address=kind.address(model), media_type="text", columns=()
        )
        assert isinstance(call.endpoint, PythonEndpoint)
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
        with open_play(self._play) as play:
            play.clear()
            play.update(
                first=first.name.lower() if first is not None else None,
                bad={name: verdict.name.lower() for name, verdict in (bad or {}).items()},
                odd=list(odd or {}),
                breaks=breaks,
                seconds=seconds,
                rate=calls_per_second,
            )

    def inputs(self) -> collections.Counter[str]:
        with open_play(self._play) as play:
            return collections.Counter(play.get("seen", {}))

    def calls(self) -> int:
        with open_play(self._play) as play:
            return int(play.get("calls", 0))

    def answer(self, method: str, text: str) -> str:
        return "".join(text.split()) if method == "stream" else text[::-1]


class TestThreads(EndpointContract):
    @pytest.fixture
    def kind(self, tmp_path: Path) -> CallableKind:
        return CallableKind(tmp_path, "thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("play")


class TestProcesses(EndpointContract):
    @pytest.fixture
    def kind(self, folder: Path) -> CallableKind:
        return CallableKind(folder, "process")  # one file, so that a process serves several tests
