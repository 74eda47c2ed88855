"""The limits of one process: the configured ones, and those learned from refusals: of a rate, or of calls at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from .limiter import Permit
from .places import LearnedPlaces
from .throttling import LearnedRate
from .window import Travel, Window

__all__ = ["LocalLimiter"]

#: Seconds between two looks at whether a call is still held.
LOOK_AGAIN = 0.05
#: Seconds between two looks at a full server.
LOOK_FOR_ROOM = 0.25
#: After so many refusals in a row far below the learned rate the server is taken for one that is full.
DOUBTS = 3


class LocalLimiter:
    """The limits of one process.

    Args:
        calls_per_second: most calls in any one second, None for no limit.
        inputs_per_second: most inputs in any one second, None for no limit.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        calls_per_second: float | None,
        inputs_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls = Window(calls_per_second) if calls_per_second is not None else None
        self._inputs = Window(inputs_per_second) if inputs_per_second is not None else None
        self._learned = LearnedRate(calls_per_second)
        self._places = LearnedPlaces()
        self._by_rate = False  # refusals that do not say why are taken for those of a rate
        self._doubts = 0
        self._room = asyncio.Event()
        self._travel = Travel()
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()  # first come, first served
        self._held_until = 0.0

    def hold(self, seconds: float) -> None:
        """Start no call for so long, from now; 0 ends an earlier wait."""
        self._held_until = self._clock() + seconds

    def allow(self, calls_per_second: float | None, inputs_per_second: float | None) -> None:
        """Change the configured limits; calls that have started still count."""
        if self._calls and calls_per_second:
            self._calls.allow(calls_per_second)
            self._learned.ceiling = calls_per_second
        if self._inputs and inputs_per_second:
            self._inputs.allow(inputs_per_second)

    @property
    def learned_rate(self) -> float | None:
        """Calls a second learned from throttling answers; None while no such limit applies."""
        return self._learned.rate

    async def acquire(self, inputs: int) -> Permit:
        """Wait until a call with so many inputs may start."""
        async with self._turn:
            while True:
                if (wait := self._ready_at(inputs, now := self._clock()) - now) > 0:
                    await self._sleep(min(wait, LOOK_AGAIN) if now < self._held_until else wait)
                elif self._places.most is not None and self._places.full(self._learned.accepted_before(now)):
                    self._room.clear()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._room.wait(), LOOK_FOR_ROOM)
                else:
                    break
            permit = Permit(now, inputs)
            if self._calls:
                self._calls.start(permit, 1)
            if self._inputs:
                self._inputs.start(permit, inputs)
            self._learned.start(permit)
            self._places.start(permit)
            return permit

    def ended(self, permit: Permit) -> None:
        """The call ended, however it did."""
        self._places.ended(permit)
        self._room.set()

    def answered(self, permit: Permit, seconds: float) -> None:
        """The call succeeded after so many seconds; one that was held up counts from its likely arrival."""
        self._places.answered(permit)
        if self._places.disproved:
            self._by_rate = True
            self._learned.assume(self._places.rate, self._clock())
            self._places.forget()
        permit.time += self._travel.held_up(seconds)

    def throttled(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call for its rate: all calls slow down, and wait as long as it asks for."""
        self._learned.throttled(permit, self._clock(), retry_after)

    def refused(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call, for its rate or because it is full: which of them is found by trying.

        First as many calls at once are tried as were under way. A refusal of far fewer speaks for a rate; refusals far
        below the rate that is learned then speak for places again.
        """
        if self._by_rate and self._learned.doubts(permit):
            self._doubts += 1
        else:
            self._doubts = 0
        if self._doubts >= DOUBTS:
            self._by_rate, self._doubts = False, 0
            self._learned.forget()
        if not self._by_rate and self._places.fits(permit):
            permit.refused = True
            self._places.refused(permit, self._clock(), self._learned.accepted_before(permit.time))
        else:
            self._by_rate = True
            self._places.forget()
            self.throttled(permit, retry_after)

    async def close(self) -> None:
        """Nothing to release."""

    def _ready_at(self, inputs: int, now: float) -> float:
        at = max(self._learned.ready_at(now), self._held_until)
        if self._calls:
            at = max(at, self._calls.ready_at(1, now))
        if self._inputs:
            at = max(at, self._inputs.ready_at(inputs, now))
        return at
