"""What a rate limit is: the protocol of all limiters, and the permit that each call needs.

Two limits apply to every call. The configured one is a promise: never more than so many arrivals at the server in any
one-second window, retries included (`window`). The learned one estimates a limit that is not configured (`throttling`).
`choose` picks the limiter that a job asks for.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

__all__ = ["Limiter", "Permit"]


@dataclasses.dataclass(slots=True)
class Permit:
    """The right to start one call.

    Attributes:
        time: when it started, in monotonic seconds; later when it turns out to have been held up.
        inputs: inputs in the call.
        refused: the server refused it for its rate.
        beside: calls that were under way when it started.
        behind: calls that were under way when it ended.
        trial: with it more were under way than the server is known to work on, when no rate would refuse it.
    """

    time: float
    inputs: int
    refused: bool = False
    beside: int = 0
    behind: int = 0
    trial: bool = False


class Limiter(Protocol):
    """Says when each call of a process may start; used from the engine's loop only."""

    async def acquire(self, inputs: int) -> Permit:
        """Wait until a call with so many inputs may start."""

    def answered(self, permit: Permit, seconds: float) -> None:
        """The call succeeded after so many seconds."""

    def throttled(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call for its rate."""

    def refused(self, permit: Permit, retry_after: float | None) -> None:
        """The server refused the call and did not say whether for its rate or because it is full."""

    def ended(self, permit: Permit) -> None:
        """The call ended, however it did; called before all else that is told of it."""

    async def close(self) -> None:
        """Release what it holds; no call starts after this."""
