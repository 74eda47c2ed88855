"""What all batches of an engine share: the session, the limits, the budget, and what is known of the server."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Protocol

from ..metrics import Metrics
from .endpoint import Fault, Session
from .limits.limiter import Limiter
from .limits.message_size import MessageLimit
from .limits.spending import Spending
from .limits.tokens import TokenLimit

__all__ = ["Budget", "Settings"]


class Budget(Protocol):
    """How many inputs a job may send, retries included."""

    @property
    def left(self) -> float:
        """Inputs that may still be sent."""

    def reserve(self, inputs: int) -> int:
        """How many of so many inputs may be sent in a call now; they count as sent."""


@dataclasses.dataclass
class Settings:
    """What all batches of an engine share.

    Attributes:
        session: sends one call.
        sizes: the largest message that the server takes.
        limiter: the rate limits.
        slots: one for each call that may be under way.
        metrics: the process's counters.
        timeout: seconds, the deadline of one call.
        retry_for: seconds, the budget of one batch from its first permit.
        model_version: for the predictions.
        abort: stops the job for a fault after which nothing will work.
        budget: of inputs that the job may send.
        spending: of tokens and cost.
        tokens: the limit of tokens a minute.
        spent: set once all of it is reserved, so that no batch waits for a retry that it will not get.
        answered: calls that the server answered so far, whatever it answered.
        succeeded: calls among these that did not fail as a whole.
    """

    session: Session
    sizes: MessageLimit
    limiter: Limiter
    slots: asyncio.Semaphore
    metrics: Metrics
    timeout: float
    retry_for: float
    model_version: str
    abort: Callable[[Fault], None]
    budget: Budget
    spending: Spending
    tokens: TokenLimit = dataclasses.field(default_factory=lambda: TokenLimit(None))
    spent: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    answered: int = 0
    succeeded: int = 0
