"""Estimates a server's rate limit from its throttling answers: additive increase, multiplicative decrease."""

from __future__ import annotations

from collections import deque

from .limiter import Permit
from .window import CATCH_UP, GUARD

__all__ = ["LearnedRate"]


class LearnedRate:
    """The rate limit of a server, estimated from its throttling answers.

    A server that refuses a call has accepted, in the second before, about as many as its limit allows: that
    count is the new rate. From there the rate creeps up until the next refusal, so that it follows a limit
    that rises or falls. A refusal before more than a few calls were accepted says nothing about a rate: the
    server may have been busy for a moment, so after the first such one the rate doubles every second until the next.
    """

    DECREASE = 0.97  # by which a refusal at a rate that seemed right lowers it
    GROWTH = 0.0003  # of the rate, per call: about a hundred calls from one refusal to the next
    SLOWEST, FASTEST = 0.002, 0.02  # least and most growth of the rate per second; the most after a guess
    DOUBTED = 0.75  # of the rate: a refusal below so much of it may be no matter of a rate
    FEW = 3  # calls accepted in a second that are no measure of a limit
    PROBING = 0.69  # growth of the rate per second after a refusal among a few calls: about twofold
    FORGOTTEN = 10_000.0  # calls a second, above any server's limit
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
        free_at = accepted[-units] + seconds if len(accepted) >= units else now
        return max(now, self._paused_until, self._next, free_at)

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
        accepted = self.accepted_before(permit.time)
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

    def doubts(self, permit: Permit) -> bool:
        """Whether a refusal of this call, while others were under way, comes far below the rate: is it one at all?"""
        if self.rate is None or permit.time < self._slowed or permit.behind == 0:
            return False
        return self.accepted_before(permit.time) + 1 < self.DOUBTED * self.rate

    def assume(self, rate: float, now: float) -> None:
        """Start from a rate that the server accepted."""
        if self.rate is None:
            self.rate, self._guessed, self._probing = rate, True, False
            self._slowed = self._grown = now

    def forget(self) -> None:
        """Apply no learned rate any more."""
        self.rate = None

    def accepted_before(self, time: float) -> int:
        """Calls in the second before this time that were not refused."""
        # A call that started just a second ago may have arrived a little later, so that the server still counts it.
        return sum(time - 1.0 - GUARD < one.time <= time and not one.refused for one in self._starts)

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
