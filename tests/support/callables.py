"""Callables for tests of `kind: python`: one that can be told to fail, and plain ones of every form."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["PLAY", "Played", "Told", "outline", "pieces"]


class Told(Exception):  # noqa: N818
    """Says by its attribute what is to be done."""

    def __init__(self, verdict: str) -> None:
        super().__init__("as it was told")
        self.verdict = verdict


class Play:
    """How `Played` behaves from now on, and what it saw."""

    def __init__(self, **how: Any) -> None:
        self.first: str | None = how.get("first")
        self.bad: dict[str, str] = how.get("bad", {})
        self.odd: set[str] = set(how.get("odd", ()))
        self.breaks: int = how.get("breaks", 0)
        self.seconds: float = how.get("seconds", 0.0)
        self.rate: int | None = how.get("rate")
        self.most: int | None = how.get("most")
        self.seen: collections.Counter[str] = collections.Counter()
        self.calls = 0
        self.accepted: list[float] = []
        self.lock = threading.Lock()


PLAY = Play()


def play(**how: Any) -> None:
    PLAY.__init__(**how)  # type: ignore[misc]


def _begin(text: list[str], most: int | None) -> int:
    with PLAY.lock:
        if most is not None and sum(map(len, text)) > most:
            raise MemoryError
        now, number = time.monotonic(), PLAY.calls + 1
        PLAY.calls = number
        if PLAY.rate is not None:
            PLAY.accepted = [at for at in PLAY.accepted if at > now - 1]
            if len(PLAY.accepted) >= PLAY.rate:
                raise Told("throttled")
            PLAY.accepted.append(now)
        PLAY.seen.update(text)
    time.sleep(PLAY.seconds)
    if PLAY.first is not None and number == 1:
        raise Told(PLAY.first)
    return number


class Played:
    """Reverses texts, or draws a square for each; fails as `play` said."""

    version = "1"

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def __call__(self, text: list[str]) -> list[Any]:
        _begin(text, self.most)
        for one in text:
            if PLAY.bad.get(one) == "mismatch":
                return ["one too many", *text]
            if one in PLAY.bad:
                raise Told(PLAY.bad[one])
        return [ValueError("an odd one") if one in PLAY.odd else one[::-1] for one in text]

    def outline(self, text: list[str]) -> list[Any]:
        _begin(text, self.most)
        return [outline() for _ in text]

    def pieces(self, text: str) -> Iterator[str]:
        number = _begin([text], self.most)
        for piece in text.split():
            yield piece
            if number <= PLAY.breaks:
                raise RuntimeError("broken")


def outline() -> Any:
    """A square of four pixels in a picture of eight."""
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True
    return mask
