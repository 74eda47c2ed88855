"""What a rate limit is to the calls it guards, and which one a job asks for.

Two limits guard every call. The configured one is a promise: never more than so many arrivals at the server in any
one-second window, retries included (`window`). The learned one is a guess at a limit that nobody told us (`learned`).
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
