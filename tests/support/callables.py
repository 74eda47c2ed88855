"""Callables for tests of `kind: python`: one that can be told to fail, and plain ones of every form."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Played", "Told", "open_play", "outline"]


class Told(Exception):
    """Says by its attribute what is to be done."""

    def __init__(self, verdict: str) -> None:
        super().__init__("as it was told")
        self.verdict = verdict


@contextlib.contextmanager
def open_play(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """How `Played` behaves and what it saw, in a file that all its processes share; changes are kept."""
    with Path(path).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        play = json.loads(file.read() or "{}")
        try:
            yield play
        finally:
            file.seek(0)
            file.truncate()
            json.dump(play, file)
            file.flush()


class Played:
    """Reverses texts, or draws a square for each; fails as its file says.

    Args:
        play: the file, see `open_play`.
        most: characters of a call above which there is no memory for it.
    """

    version = "1"

    def __init__(self, play: str, most: int | None = None) -> None:
        self.play, self.most = play, most
        with open_play(play) as now:
            now["made"] = now.get("made", 0) + 1
            if now.get("unmade"):
                raise FileNotFoundError("weights.bin")

    def __call__(self, text: list[str]) -> list[Any]:
        play = self._begin(text)
        for one in text:
            if play["bad"].get(one) == "mismatch":
                return ["one too many", *text]
            if play["bad"].get(one) == "hang":
                time.sleep(600)
            if play["bad"].get(one) == "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            if one in play["bad"]:
                raise Told(play["bad"][one])
        return [ValueError("an odd one") if one in play["odd"] else one[::-1] for one in text]

    def outline(self, text: list[str]) -> list[Any]:
        self._begin(text)
        return [outline() for _ in text]

    def pieces(self, text: str) -> Iterator[str]:
        play = self._begin([text])
        for piece in text.split():
            yield piece
            if play["number"] <= play["breaks"]:
                raise RuntimeError("broken")

    def _begin(self, text: list[str]) -> dict[str, Any]:
        if self.most is not None and sum(map(len, text)) > self.most:
            raise MemoryError
        with open_play(self.play) as play:
            now = time.time()
            play["calls"] = play["number"] = play.get("calls", 0) + 1
            if play["rate"] is not None:
                play["accepted"] = [at for at in play.get("accepted", []) if at > now - 1]
                if len(play["accepted"]) >= play["rate"]:
                    raise Told("throttled")
                play["accepted"].append(now)
            seen = play.setdefault("seen", {})
            for one in text:
                seen[one] = seen.get(one, 0) + 1
        time.sleep(play["seconds"])
        if play["first"] is not None and play["number"] == 1:
            raise Told(play["first"])
        return play


def outline() -> Any:
    """A square of four pixels in a picture of eight."""
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True
    return mask
