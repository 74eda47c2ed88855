"""Describes the calls of a job as plain data: the endpoint, the limits, and when to stop."""

from __future__ import annotations

import dataclasses
import uuid

from ..errors import ConfigError
from ..job.config import CallsConfig, StopConfig
from .endpoint import CallLimits, Endpoint

__all__ = ["ModelCall", "within_limits"]


@dataclasses.dataclass(frozen=True)
class ModelCall:
    """All that a worker needs to make calls; it pickles and holds no secret.

    Each worker reads the credentials from its own environment.

    Attributes:
        endpoint: what is called.
        calls: batch sizes, calls in flight, rate limits, timeouts and retries.
        stop: when to stop the job.
        workers: processes that divide the rate limits and the budget among them.
        answer_tokens: most of an input's answer, as its arguments say; None where they do not.
        token: names this call in a process, so that all its DoFn instances use one engine.
    """

    endpoint: Endpoint
    calls: CallsConfig
    stop: StopConfig
    workers: int = 1
    answer_tokens: int | None = None
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex, compare=False)


def within_limits(calls: CallsConfig, limits: CallLimits, address: str) -> CallsConfig:
    """Check a job's calls against its endpoint's limits; a call rate that the job leaves open becomes the endpoint's.

    Args:
        address: of the endpoint, for messages.

    Raises:
        ConfigError: a call of the job would be larger than the endpoint takes.
    """
    if limits.nbytes is not None and calls.batch_bytes > limits.nbytes:
        raise ConfigError(
            f"calls.batch_bytes={int(calls.batch_bytes)} is more than the {limits.nbytes} bytes that "
            f"{address} takes in one call; lower it to {limits.nbytes // 1_000_000}MB or less"
        )
    if limits.calls_per_second is not None and calls.calls_per_second is None:
        return calls.model_copy(update={"calls_per_second": limits.calls_per_second})
    return calls
