"""How fast calls may start: configured limits, and the slow-down that a server's throttling answers ask for.

Two limits guard every call. The configured one is a promise: never more than so many arrivals at the server
in any one-second window, retries included. The learned one is a guess at a limit that nobody told us: it
appears with the first throttling answer and follows the server from there, by additive increase and
multiplicative decrease.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from ...job.config import CallsConfig
from .divided import share_of

__all__ = ["Limiter", "LocalLimiter", "Permit", "limiter_for"]

#: Calls are spread over this much more than a second, because they do not all travel equally fast.
SPREAD = 0.024
#: And no window of a second and this much holds more than the limit, should some have started late.
GUARD = 0.016
#: Starts that the event loop was too busy for are made up for, when they are no later than this.
CATCH_UP = 0.25
#: A call that is held looks so often whether it still is.
LOOK_AGAIN = 0.05


@dataclasses.dataclass(slots=True)
class Permit:
    """The right to start one call.

    Attributes:
        time: when it started, in monotonic seconds; later when it turns out to have been held up.
        inputs: inputs in the call.
        refused: the server refused it for its rate.
    """

    time: float
    inputs: int
    refused: bool = False


class Limiter(Protocol):
    """A budget of calls that everyone in the process shares; used from the engine's loop only."""

    async def acquire(self, inputs: int) -> Permit:
        """Wait until a call with so many inputs may start."""

    def answered(self, permit: Permit, seconds: float) -> None:
        """The call succeeded after so many seconds."""

    def throttled(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call for its rate."""

    async def close(self) -> None:
        """Give up what it holds; nothing starts after this."""


class _Window:
    """At most `limit` units in any window of one second, evenly spread."""

    def __init__(self, limit: float) -> None:
        self._starts: deque[tuple[Permit, int]] = deque()
        self._sum = 0
        self._next = 0.0
        self.allow(limit)

    def allow(self, limit: float) -> None:
        """Another limit from now on."""
        self.units = max(1, int(limit))
        # A limit below one unit a second is kept by one unit in a longer window.
        seconds = max(1.0, 1.0 / limit)
        self._window = (1.0 + GUARD) * seconds
        self._step = (1.0 + SPREAD) * seconds / self.units

    def ready_at(self, units: int, now: float) -> float:
        """The earliest time at which `units` more may start."""
        while self._starts and self._starts[0][0].time <= now - self._window:
            self._sum -= self._starts.popleft()[1]
        over, at = self._sum + units - self.units, now
        for permit, size in self._starts:
            if over <= 0:
                break
            over -= size
            at = max(at, permit.time + self._window)
        return max(at, self._next)

    def start(self, permit: Permit, units: int) -> None:
        """Note that `units` start now."""
        self._starts.append((permit, units))
        self._sum += units
        late = permit.time - self._next
        self._next = (self._next if late < CATCH_UP else permit.time) + self._step * units


class _Travel:
    """How long calls take, to tell when one was held up on its way.

    A call that came late to the server must not be counted as early, or a window seen by the server holds one more than
    ours. What is usual follows from mean and deviation as in TCP's timer (RFC 6298).
    """

    LEAST, MOST = 0.01, 0.3
    NOISY = 0.03  # deviation from which a late answer tells of the model and not of the way

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def held_up(self, seconds: float) -> float:
        """By how much a call that took so long was later than usual; 0 for a usual one."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
            return 0.0
        excess = seconds - self._mean
        usual = excess <= (4 * self._deviation if self._deviation > self.NOISY else self.LEAST)
        bounded = min(excess, max(4 * self._deviation, self.LEAST))
        self._deviation += 0.25 * (abs(bounded) - self._deviation)
        self._mean += 0.125 * bounded
        return 0.0 if usual else min(excess, self.MOST)


class _Learned:
    """The limit that throttling answers let us guess.

    A server that refuses a call has accepted, in the second before, about as many as its limit allows: that
    count is the new rate. From there the rate creeps up until the next refusal, so that it follows a limit
    that rises or falls. A refusal before more than a few calls were accepted tells of no rate: it may be a
    server that was busy for a moment, so after the first such one the rate doubles every second until the next.
    """

    DECREASE = 0.96  # by which a refusal at a rate that seemed right lowers it
    GROWTH = 0.0004  # of the rate, per call: about a hundred calls from one refusal to the next
    SLOWEST, FASTEST = (
        0.003,
        0.02,
    )  # growth of the rate per second, at least and at most; fastest after a guess
    FEW = 3  # calls accepted in a second that are no measure of a limit
    PROBING = 0.69  # growth of the rate per second after a refusal among a few calls: about twofold
    FORGOTTEN = 10_000.0  # calls a second that are nobody's limit
    QUIET_CALLS = 150  # after so many calls without a refusal, growth doubles every four seconds
    QUIET_S = (10.0, 40.0)  # but not before so many seconds, and at the latest after so many

    def __init__(self, ceiling: float | None) -> None:
        self.ceiling = ceiling
        self.rate: float | None = None
        self._guessed = False  # the rate is a count, and no refusal has confirmed it yet
        self._probing = False  # the count was too small to mean anything
        self._slowed = 0.0
        self._grown = 0.0
        self._next = 0.0
        self._paused_until = 0.0
        self._starts: deque[Permit] = deque()

    def ready_at(self, now: float) -> float:
        """The earliest time at which one more call may start."""
        self._grow(now)
        if self.rate is None:
            return max(now, self._paused_until)
        units = max(1, round(self.rate))
        seconds = units / self.rate
        accepted = [
            permit.time for permit in self._starts if not permit.refused and permit.time > now - seconds
        ]
        room_at = accepted[-units] + seconds if len(accepted) >= units else now
        return max(now, self._paused_until, self._next, room_at)

    def start(self, permit: Permit) -> None:
        """Note that a call starts now."""
        self._starts.append(permit)
        kept = 1.5 if self.rate is None else max(1.5, 2.0 / self.rate)
        while self._starts[0].time < permit.time - kept:
            self._starts.popleft()
        if self.rate is not None:
            step = 1.0 / self.rate
            self._next = max(self._next, permit.time - max(step, CATCH_UP)) + step

    def throttled(self, permit: Permit, now: float, retry_after: float | None) -> None:
        """Slow down, because the server refused this call."""
        permit.refused = True
        if retry_after is not None:
            self._paused_until = max(self._paused_until, now + retry_after)
        accepted = sum(
            1 for other in self._starts if permit.time - 1.0 < other.time <= permit.time and not other.refused
        )
        if self.rate is None:
            self.rate = float(max(1, accepted))
            self._guessed, self._probing = True, accepted < self.FEW
        elif permit.time < self._slowed:
            return  # the call had started before we slowed down, so it says nothing about the new rate
        elif self._probing:
            self.rate, self._probing = max(accepted, self.rate / 2), False
        elif accepted + 1 < self.rate * self.DECREASE:  # counts in a window are off by one by chance
            self.rate = max(accepted + 0.5, self.rate / 2)
            self._guessed = True
        else:
            self.rate *= self.DECREASE
            self._guessed = False
        self.rate = max(self.rate, 0.05)
        self._slowed = self._grown = now
        self._next = max(self._next, now)

    def _grow(self, now: float) -> None:
        if self.rate is None:
            return
        steady = min(max(self.GROWTH * self.rate, self.SLOWEST), self.FASTEST)
        # A refusal just below a configured limit is a call that came early; there is no other limit to look for.
        near = self.ceiling is not None and self.rate > 0.85 * self.ceiling
        growth = self.PROBING if self._probing else self.FASTEST if self._guessed or near else steady
        quiet = now - self._slowed - min(max(self.QUIET_CALLS / self.rate, self.QUIET_S[0]), self.QUIET_S[1])
        if quiet > 0 and not self._probing:
            growth *= 2.0 ** min(quiet / 4.0, 6.0)
        self.rate *= 1.0 + growth * min(now - self._grown, 1.0)
        self._grown = now
        if self.rate >= (self.ceiling or self.FORGOTTEN):
            self.rate = None  # the configured limit, if any, is the tighter one again


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
        self._calls = _Window(calls_per_second) if calls_per_second is not None else None
        self._inputs = _Window(inputs_per_second) if inputs_per_second is not None else None
        self._learned = _Learned(calls_per_second)
        self._travel = _Travel()
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()  # first come, first served
        self._held_until = 0.0

    def hold(self, seconds: float) -> None:
        """Start no call for so long, from now; 0 ends an earlier wait."""
        self._held_until = self._clock() + seconds

    def allow(self, calls_per_second: float | None, inputs_per_second: float | None) -> None:
        """Change limits that there are; what has started counts on."""
        if self._calls and calls_per_second:
            self._calls.allow(calls_per_second)
            self._learned.ceiling = calls_per_second
        if self._inputs and inputs_per_second:
            self._inputs.allow(inputs_per_second)

    @property
    def learned_rate(self) -> float | None:
        """Calls a second that throttling answers have taught us, None while there is nothing to obey."""
        return self._learned.rate

    async def acquire(self, inputs: int) -> Permit:
        """Wait until a call with so many inputs may start."""
        async with self._turn:
            while (wait := self._ready_at(inputs, now := self._clock()) - now) > 0:
                await self._sleep(min(wait, LOOK_AGAIN) if now < self._held_until else wait)
            permit = Permit(now, inputs)
            if self._calls:
                self._calls.start(permit, 1)
            if self._inputs:
                self._inputs.start(permit, inputs)
            self._learned.start(permit)
            return permit

    def answered(self, permit: Permit, seconds: float) -> None:
        """The call succeeded after so many seconds; one that was held up counts from its likely arrival."""
        permit.time += self._travel.held_up(seconds)

    def throttled(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call for its rate: everyone slows down, and waits as long as it asks for."""
        self._learned.throttled(permit, self._clock(), retry_after)

    async def close(self) -> None:
        """It holds nothing."""

    def _ready_at(self, inputs: int, now: float) -> float:
        at = max(self._learned.ready_at(now), self._held_until)
        if self._calls:
            at = max(at, self._calls.ready_at(1, now))
        if self._inputs:
            at = max(at, self._inputs.ready_at(inputs, now))
        return at


def limiter_for(calls: CallsConfig, share: int = 1) -> Limiter:
    """The limiter that a job asks for.

    Args:
        share: workers that divide the limits among them.
    """
    if calls.limiter and (calls.calls_per_second or calls.inputs_per_second):
        from .redis_limiter import FleetLimiter  # noqa: PLC0415  (it needs this module)

        return FleetLimiter(calls.limiter, calls.calls_per_second, calls.inputs_per_second)
    return LocalLimiter(share_of(calls.calls_per_second, share), share_of(calls.inputs_per_second, share))
