"""Keeps a configured rate limit: how many units may start in any second, corrected for calls that were delayed."""

from __future__ import annotations

from collections import deque

from .limiter import Permit

__all__ = ["CATCH_UP", "GUARD", "SPREAD", "Travel", "Window"]

#: Calls are spread over this many seconds more than one, because they do not all travel equally fast.
SPREAD = 0.024
#: No window of one second and this many more holds more than the limit, even when some started late.
GUARD = 0.016
#: Starts that a busy event loop delayed are caught up, when they are no later than so many seconds.
CATCH_UP = 0.25


class Window:
    """At most `limit` units in any window of one second, evenly spread."""

    def __init__(self, limit: float) -> None:
        self._starts: deque[tuple[Permit, int]] = deque()
        self._sum = 0
        self._next = 0.0
        self.allow(limit)

    def allow(self, limit: float) -> None:
        """Apply another limit from now on."""
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


class Travel:
    """Learns how long calls take, to tell when one was delayed on its way to the server.

    A call that reached the server late must not be counted as early, or a window at the server holds one more than
    ours. What is usual follows from mean and deviation as in TCP's timer (RFC 6298).
    """

    LEAST, MOST = 0.01, 0.3
    NOISY = 0.03  # seconds of deviation above which a late answer is due to the model, not the network

    def __init__(self) -> None:
        self._mean: float | None = None
        self._deviation = 0.0

    def held_up(self, seconds: float) -> float:
        """Seconds by which a call of this duration was later than usual; 0 for a usual one."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
            return 0.0
        excess = seconds - self._mean
        usual = excess <= (4 * self._deviation if self._deviation > self.NOISY else self.LEAST)
        bounded = min(excess, max(4 * self._deviation, self.LEAST))
        self._deviation += 0.25 * (abs(bounded) - self._deviation)
        self._mean += 0.125 * bounded
        return 0.0 if usual else min(excess, self.MOST)
