"""Limits of requests and tokens a minute, and the headers in which they are told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from .api_error import ApiError

__all__ = ["RateLimits"]


class RateLimits:
    """What may be asked a minute; both limits fill up again steadily.

    Args:
        requests_per_minute, tokens_per_minute: None for no limit.
        burst_seconds: how many seconds of a limit may be used at once.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        burst_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        self._buckets = {
            kind: _Bucket(limit, burst_seconds, clock) for kind, limit in limits.items() if limit is not None
        }

    def admit(self, tokens: int, model: str) -> None:
        """Take a request's share of each limit, `tokens` of them at most used.

        Raises:
            ApiError: a limit has not enough left; nothing is taken.
        """
        amounts = {"requests": 1, "tokens": tokens}
        for kind, bucket in self._buckets.items():
            self._check(kind, bucket, amounts[kind], model)
        for kind, bucket in self._buckets.items():
            bucket.level -= amounts[kind]

    def settle(self, reserved: int, used: int) -> None:
        """Give back the tokens of a request that were not used."""
        if "tokens" in self._buckets:
            self._buckets["tokens"].level += reserved - used

    def headers(self) -> dict[str, str]:
        """What is left of each limit, and when all of it is there again."""
        found = {}
        for kind, bucket in self._buckets.items():
            left = bucket.refill()
            found[f"x-ratelimit-limit-{kind}"] = f"{bucket.limit:g}"
            found[f"x-ratelimit-remaining-{kind}"] = str(max(math.floor(left), 0))
            found[f"x-ratelimit-reset-{kind}"] = _duration(bucket.seconds_until(bucket.most))
        return found

    def _check(self, kind: str, bucket: _Bucket, amount: int, model: str) -> None:
        left, short = bucket.refill(), {"requests": "RPM", "tokens": "TPM"}[kind]
        if left + 1e-6 >= amount:  # a client that waits exactly as long as it was told is in time
            return
        limit = f"on {kind} per min ({short}): Limit {bucket.limit:g}"
        if amount > bucket.most:
            message = f"Request too large for {model} {limit}, Requested {amount}."
            raise ApiError(429, message, kind=kind, code="rate_limit_exceeded")
        wait = bucket.seconds_until(amount)
        used = max(bucket.limit - math.floor(left), 0)
        raise ApiError(
            429,
            f"Rate limit reached for {model} {limit}, Used {used:g}, Requested {amount}. Please try again in "
            f"{_duration(wait)}.",
            kind=kind,
            code="rate_limit_exceeded",
            headers={"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))},
        )


class _Bucket:
    def __init__(self, limit: float, burst_seconds: float, clock: Callable[[], float]) -> None:
        self.limit, self._clock = limit, clock
        self.most = max(limit / 60 * burst_seconds, 1.0)
        self.level, self._filled = self.most, clock()

    def refill(self) -> float:
        """What is there now."""
        now = self._clock()
        self.level = min(self.level + (now - self._filled) * self.limit / 60, self.most)
        self._filled = now
        return self.level

    def seconds_until(self, amount: float) -> float:
        """How long until so much is there."""
        return max(amount - self.level, 0.0) * 60 / self.limit


def _duration(seconds: float) -> str:
    """As the API writes it: 17ms, 1.5s, 6m0s."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
