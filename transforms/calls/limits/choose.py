"""Picks the limiter that a job asks for: one of this process alone, or one for a fleet through Redis."""

from __future__ import annotations

from ...job.config import CallsConfig
from .divided import part_of
from .limiter import Limiter
from .local import LocalLimiter
from .redis_limiter import FleetLimiter

__all__ = ["limiter_for"]


def limiter_for(calls: CallsConfig, workers: int = 1) -> Limiter:
    """The limiter that a job asks for.

    Args:
        workers: processes that divide the limits among them.
    """
    if calls.limiter and (calls.calls_per_second or calls.inputs_per_second):
        return FleetLimiter(calls.limiter, calls.calls_per_second, calls.inputs_per_second)
    return LocalLimiter(part_of(calls.calls_per_second, workers), part_of(calls.inputs_per_second, workers))
