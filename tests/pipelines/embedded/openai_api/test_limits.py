"""The limits of requests and tokens a minute, by a clock of the test's own."""

from __future__ import annotations

import pytest
from bulkinfer.pipelines.embedded.openai_api.api_error import ApiError
from bulkinfer.pipelines.embedded.openai_api.limits import RateLimits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_limit_fills_up_again_as_it_told() -> None:
    clock = Clock()
    limits = RateLimits(120, None, clock=clock)
    for _ in range(120):
        limits.admit(10**9, "m")
    with pytest.raises(
        ApiError, match=r"Limit 120, Used 120, Requested 1\. Please try again in 500ms\."
    ) as error:
        limits.admit(1, "m")
    assert error.value.headers == {"retry-after": "1", "retry-after-ms": "500"}
    assert limits.headers() == {
        "x-ratelimit-limit-requests": "120",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }

    clock.now += 0.499
    with pytest.raises(ApiError):
        limits.admit(1, "m")
    clock.now += 0.001
    limits.admit(1, "m")
    clock.now += 3600
    assert limits.headers()["x-ratelimit-remaining-requests"] == "120"
    assert limits.headers()["x-ratelimit-reset-requests"] == "0ms"


def test_tokens_are_reserved_and_given_back() -> None:
    clock = Clock()
    limits = RateLimits(1000, 600, clock=clock)
    limits.admit(500, "m")
    with pytest.raises(
        ApiError, match=r"on tokens per min \(TPM\): Limit 600, Used 500, Requested 200"
    ) as error:
        limits.admit(200, "m")
    # What is refused costs nothing, of neither limit.
    assert limits.headers()["x-ratelimit-remaining-requests"] == "999"
    assert (error.value.kind, error.value.headers["retry-after"]) == ("tokens", "10")

    limits.settle(500, 50)
    assert limits.headers()["x-ratelimit-remaining-tokens"] == "550"
    limits.admit(200, "m")
    assert limits.headers()["x-ratelimit-reset-tokens"] == "25s"
    limits.settle(200, 200)
    clock.now += 25.0
    assert limits.headers()["x-ratelimit-remaining-tokens"] == "600"


def test_a_request_above_the_whole_limit_is_told_no_time() -> None:
    limits = RateLimits(None, 600, clock=Clock())
    with pytest.raises(
        ApiError, match=r"Request too large for m on tokens per min \(TPM\): Limit 600, Requested 601\."
    ) as e:
        limits.admit(601, "m")

    assert e.value.headers == {}
    limits.admit(1, "m")
    with pytest.raises(ApiError, match="Please try again in 100ms"):
        limits.admit(600, "m")
    limits.settle(1, 0)
    assert limits.headers()["x-ratelimit-remaining-tokens"] == "600"


def test_less_than_a_minute_may_be_used_at_once() -> None:
    clock = Clock()
    limits = RateLimits(600, None, burst_seconds=1, clock=clock)
    for _ in range(10):
        limits.admit(0, "m")
    with pytest.raises(ApiError, match="Please try again in 100ms"):
        limits.admit(0, "m")
    assert limits.headers()["x-ratelimit-reset-requests"] == "1s"


def test_without_a_limit_nothing_is_refused_or_told() -> None:
    limits = RateLimits()
    limits.admit(10**12, "m")
    limits.settle(10**12, 0)

    assert limits.headers() == {}


def test_durations_are_written_as_the_api_writes_them() -> None:
    clock = Clock()
    for used, told in [(1, "500ms"), (3, "1.5s"), (130, "1m5s"), (719, "5m59.5s")]:
        limits = RateLimits(120, None, burst_seconds=360, clock=clock)
        for _ in range(used):
            limits.admit(0, "m")
        assert limits.headers()["x-ratelimit-reset-requests"] == told
