"""Keeps a limit of tokens a minute: a call reserves what it may use, and settles with what it used.

What a call uses is known when it comes home. Until then it counts as its prompt's estimate and the longest answer that
its arguments allow; afterwards as the usage that the server told. Estimates learn from usage: the first call of a job
takes four bytes of its message for a token, later ones what earlier ones had.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..endpoint import Reply, Verdict
from .limiter import Permit
from .window import GUARD, SPREAD

__all__ = ["Reserved", "TokenLimit", "answer_limit"]

_MINUTE = 60.0
#: Seconds of the limit that may be used at once after a pause, or after calls that used less than they reserved.
_CATCH_UP = 1.0
#: A shorter wait is lost in rounding.
_LEAST_WAIT = 0.001
_BYTES_A_TOKEN = 4.0
#: By which a call's usage moves the estimates.
_LEARNED = 0.125
#: Names of the argument that limits an answer's tokens, in the APIs that have one.
_NAMES = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")
#: A call refused so was not worked on.
_UNUSED = frozenset({Verdict.THROTTLED, Verdict.SERVER_FULL, Verdict.WAIT})


def answer_limit(arguments: Mapping[str, Any]) -> int | None:
    """Most tokens of an answer that a job's arguments allow; None where they do not say.

    >>> answer_limit({"prompt": "$content", "max_tokens": 20})
    20
    """
    return next((arguments[name] for name in _NAMES if type(arguments.get(name)) is int), None)


@dataclasses.dataclass(slots=True, eq=False)
class Reserved:
    """What one call counts against the limit.

    Attributes:
        tokens: reserved, and once it ended used.
        nbytes: of its inputs.
        inputs: in it.
        time: when it started, in monotonic seconds; infinity before.
    """

    tokens: float
    nbytes: int
    inputs: int
    time: float = math.inf


class TokenLimit:
    """At most so many tokens in any minute, evenly spread; lives on the engine's loop.

    A call that may use more than a minute's tokens starts when no other counts.

    Args:
        per_minute: of this process; None for no limit.
        answer: most tokens of an input's answer; None where it is not known, for what earlier answers had.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        per_minute: float | None,
        answer: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = per_minute
        self._answer, self._usual_answer = answer, 0.0
        self._tokens_a_byte = 1 / _BYTES_A_TOKEN
        self._learned = False
        self._clock = clock
        self._counted: deque[Reserved] = deque()
        self._sum = 0.0
        self._balance = 0.0  # of the even spread: below zero, calls wait
        self._at = clock()
        self._turn = asyncio.Lock()  # first come, first served
        self._changed = asyncio.Event()

    def allow(self, per_minute: float | None) -> None:
        """Apply another limit from now on; a job without one stays without."""
        if self._limit is not None and per_minute is not None:
            self._refill(self._clock())
            self._limit = per_minute
            self._changed.set()

    async def start(self, nbytes: int, inputs: int) -> Reserved | None:
        """Wait until a call may start, and reserve its tokens; None without a limit.

        Args:
            nbytes: of its inputs as they are sent.
            inputs: in the call.
        """
        if self._limit is None:
            return None
        async with self._turn:
            while True:
                tokens = self._estimate(nbytes, inputs)
                if (wait := self._wait(tokens, self._clock())) <= 0:
                    break
                self._changed.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    wait = max(wait, _LEAST_WAIT)
                    await asyncio.wait_for(self._changed.wait(), wait if wait < math.inf else None)
            reserved = Reserved(tokens, nbytes, inputs)
            self._counted.append(reserved)
            self._sum += tokens
            self._balance -= tokens
            return reserved

    def started(self, reserved: Reserved | None, permit: Permit) -> None:
        """The call starts now, which other limits may have held up."""
        if reserved is not None:
            reserved.time = permit.time

    def ended(self, reserved: Reserved | None, reply: Reply | None) -> None:
        """Settle a call with the usage that it told; without any, what was reserved counts.

        Args:
            reply: None where nothing was sent after all.
        """
        if reserved is None:
            return
        reserved.time = min(reserved.time, self._clock())
        used = reserved.tokens
        if reply is None or (reply.fault is not None and reply.fault.verdict in _UNUSED):
            used = 0.0
        elif told := reply.prompt_tokens + reply.completion_tokens:
            used = float(told)
            self._learn(reserved, reply)
        self._sum += used - reserved.tokens
        self._balance += reserved.tokens - used
        reserved.tokens = used
        self._changed.set()

    def _estimate(self, nbytes: int, inputs: int) -> float:
        answer = self._usual_answer if self._answer is None else self._answer
        return min(nbytes * self._tokens_a_byte + inputs * answer, float(self._limit or 0))

    def _learn(self, reserved: Reserved, reply: Reply) -> None:
        share = _LEARNED if self._learned else 1.0
        self._learned = True
        measured = reply.prompt_tokens / max(1, reserved.nbytes)
        self._tokens_a_byte += share * (measured - self._tokens_a_byte)
        self._usual_answer += share * (reply.completion_tokens / reserved.inputs - self._usual_answer)

    def _refill(self, now: float) -> None:
        rate = (self._limit or 0) / _MINUTE / (1 + SPREAD)
        self._balance = min(self._balance + rate * (now - self._at), rate * _CATCH_UP)
        self._at = now

    def _wait(self, tokens: float, now: float) -> float:
        """Seconds until a call of so many tokens may start; infinity while only an ending call can tell."""
        assert self._limit is not None
        self._refill(now)
        window = (1 + GUARD) * _MINUTE
        while self._counted and self._counted[0].time <= now - window:
            self._sum -= self._counted.popleft().tokens
        over, at = self._sum + tokens - self._limit, now
        for reserved in self._counted:
            if over <= 0:
                break
            over -= reserved.tokens
            at = max(at, reserved.time + window)
        if self._balance < 0:
            at = max(at, now - self._balance * _MINUTE * (1 + SPREAD) / self._limit)
        return at - now
