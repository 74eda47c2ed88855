"""The contract of endpoints, for a toy of under 80 lines: so that the door is one, and no vendor's."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from bulkinfer.transforms.calls.endpoint import Verdict
from contract import EndpointContract
from support.answers import png, square
from toy import SERVERS, Toy, ToyError


class ToyKind:
    """The toy with a server that can be told to fail."""

    small_bytes = 300

    def __init__(self) -> None:
        self.play()

    def endpoint(self, method: str, *, small: bool = False) -> Toy:
        return Toy("toy://small" if small else "toy://here", method)

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
        self.first, self.bad, self.odd, self.breaks = first, bad or {}, odd or {}, breaks
        self.seconds, self.limit = seconds, calls_per_second
        self.seen: collections.Counter[str] = collections.Counter()
        self.arrivals: list[float] = []
        self.accepted: list[float] = []
        self.count = 0
        SERVERS["toy://here"] = lambda method, names: self._answer(method, names, None)
        SERVERS["toy://small"] = lambda method, names: self._answer(method, names, self.small_bytes)

    def inputs(self) -> collections.Counter[str]:
        return self.seen

    def calls(self) -> int:
        return self.count

    def answer(self, method: str, text: str) -> str:
        return "".join(text.split()) if method == "stream" else text[::-1]

    async def _answer(self, method: str, names: list[str], most: int | None) -> list[object]:
        if most is not None and sum(map(len, names)) > most:
            raise ToyError((Verdict.TOO_LARGE, most), False)
        now, self.count = time.monotonic(), self.count + 1
        if self.limit is not None:
            self.accepted = [at for at in self.accepted if at > now - 1]
            if len(self.accepted) >= self.limit:
                raise ToyError((Verdict.THROTTLED,), False)
            self.accepted.append(now)
        self.seen.update(names)
        await asyncio.sleep(self.seconds)
        if self.first is not None and self.count == 1:
            raise ToyError((self.first,), False)
        if self.count <= self.breaks:
            raise ToyError((Verdict.SPLIT,), True)
        for name in names:
            if name in self.bad:
                raise ToyError((self.bad[name],), False)
        if method == "masks":
            return [png(square(8, 8, 0, 0, 4))] * len(names)
        return [self.odd.get(name) or self.answer(method, name) for name in names]


class TestToy(EndpointContract):
    @pytest.fixture
    def kind(self) -> Iterator[ToyKind]:
        yield ToyKind()
        SERVERS.clear()


def test_the_toy_stays_a_toy() -> None:
    source = Path(__file__).with_name("toy.py").read_text(encoding="utf-8")

    assert len(source.splitlines()) < 80
