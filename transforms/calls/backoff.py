"""Decides how long a failed call, throttled or lost, waits before it is sent again, and when to give up.

Waiting times come from `tenacity`: exponential with full jitter, so that batches that failed together do not
come back together. The budget is time, not a count: a cold start takes minutes whatever the number of
attempts.
"""

from __future__ import annotations

import time

import tenacity

from .endpoint import Verdict

__all__ = ["Backoff"]

#: Largest pause by verdict, seconds. A model that loads is asked rarely; a lost connection usually returns
#: soon. A server that answers nothing in time may still work on what was sent, so it is sent that again rarely.
_LONGEST = {
    Verdict.WAIT: 15.0,
    Verdict.THROTTLED: 5.0,
    Verdict.SERVER_FULL: 5.0,
    Verdict.TRANSPORT: 15.0,
    Verdict.DEADLINE: 60.0,
}
_FIRST = {
    Verdict.WAIT: 1.0,
    Verdict.THROTTLED: 0.1,
    Verdict.SERVER_FULL: 0.1,
    Verdict.TRANSPORT: 0.2,
    Verdict.DEADLINE: 1.0,
}
_WAITS = {
    verdict: tenacity.wait_random_exponential(multiplier=_FIRST[verdict], max=longest, min=0.02)
    for verdict, longest in _LONGEST.items()
}


class Backoff:
    """The pauses of one batch, within a time budget that starts with its first attempt.

    Args:
        retry_for: seconds from the first attempt after which no further one is made.
    """

    def __init__(self, retry_for: float) -> None:
        self._stop = tenacity.stop_before_delay(retry_for)
        # The retry loop itself is the engine's: it must judge every answer of a reply, not only exceptions.
        self._state = tenacity.RetryCallState(None, None, (), {})  # type: ignore[arg-type]
        self._begun = False

    def start(self, at: float | None = None) -> None:
        """Note the time of the first attempt, by default now; later calls change nothing."""
        if not self._begun:
            self._begun = True
            self._state.start_time = time.monotonic() if at is None else at

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt."""
        return time.monotonic() - self._state.start_time if self._begun else 0.0

    def succeeded(self) -> None:
        """The server answered: the next fault starts with short pauses again; the budget goes on."""
        self._state.attempt_number = 1

    def next_pause(self, verdict: Verdict, hint: float | None = None) -> float | None:
        """Seconds to wait before the next attempt, None when it would start after the budget.

        Args:
            verdict: one that is `retried`.
            hint: seconds that the server asks for; obeyed, with a little jitter on top, even when longer than
                ours.
        """
        state = self._state
        pause = float(_WAITS[verdict](state))
        if hint is not None:
            pause = hint + min(pause, 0.1 * hint + 0.01)
        state.attempt_number += 1
        state.set_result(None)
        state.upcoming_sleep = pause
        return None if self._stop(state) else pause
