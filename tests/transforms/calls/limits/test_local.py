"""The limits of one process against simulated servers and a simulated clock: minutes of arrivals in milliseconds."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable

import pytest
from bulkinfer.transforms.calls.batching import even_batch_size
from bulkinfer.transforms.calls.limits.choose import limiter_for
from bulkinfer.transforms.calls.limits.divided import part_of
from bulkinfer.transforms.calls.limits.limiter import Permit
from bulkinfer.transforms.calls.limits.local import LocalLimiter
from bulkinfer.transforms.calls.limits.window import GUARD
from bulkinfer.transforms.job.config import CallsConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_time import simulate

#: The rounding of sums of floats.
EPSILON = 1e-6


def limiter_of(calls: float | None, inputs: float | None = None) -> LocalLimiter:
    """A limiter whose clock is `time.monotonic`, simulated or not."""
    return LocalLimiter(calls, inputs, clock=lambda: time.monotonic())  # noqa: PLW0108  (looked up at each call)


def fullest_window(arrivals: list[tuple[float, int]], seconds: float = 1.0) -> int:
    """Most units in any window of so many seconds."""
    arrivals = sorted(arrivals)
    fullest = units = start = 0
    for at, size in arrivals:
        units += size
        while arrivals[start][0] <= at - seconds + EPSILON:
            units -= arrivals[start][1]
            start += 1
        fullest = max(fullest, units)
    return fullest


def starts(limiter: LocalLimiter, calls: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """When calls start that are asked for at (seconds, inputs)."""
    began: list[tuple[float, int]] = []

    async def one(after: float, inputs: int) -> None:
        await asyncio.sleep(after)
        permit = await limiter.acquire(inputs)
        assert permit.time == time.monotonic()
        began.append((permit.time, inputs))

    async def main() -> None:
        await asyncio.gather(*(one(*call) for call in calls))

    simulate(main)
    assert len(began) == len(calls)
    return began


limits = st.one_of(st.integers(1, 60), st.floats(0.2, 60))
#: Bursts, trickles and pauses: seconds since the call before.
gaps = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.2), st.floats(0, 3)), min_size=1, max_size=80)


@settings(max_examples=150, deadline=None)
@given(limits, gaps, st.randoms(use_true_random=False))
def test_no_window_of_a_second_holds_more_calls_than_allowed(
    limit: float, pauses: list[float], rng: random.Random
) -> None:
    asked = [(sum(pauses[: index + 1]), 1) for index in range(len(pauses))]

    began = starts(limiter_of(limit), asked)

    # As the server sees it: calls travel for up to GUARD seconds, each for its own time.
    arrived = [(at + rng.random() * GUARD, 1) for at, _ in began]
    if limit >= 1:
        assert fullest_window(arrived) <= limit
    else:
        assert fullest_window(arrived, 1 / limit) <= 1


@settings(max_examples=100, deadline=None)
@given(limits, limits, st.integers(1, 128), gaps, st.randoms(use_true_random=False))
def test_calls_and_inputs_are_limited_at_once_whatever_the_sizes_of_batches(
    calls: float, inputs: float, size: int, pauses: list[float], rng: random.Random
) -> None:
    size = even_batch_size(size, inputs)
    # Retries and the pieces of a split batch are smaller than a batch.
    asked = [(sum(pauses[: index + 1]), rng.randint(1, size)) for index in range(len(pauses))]

    began = starts(limiter_of(calls, inputs), asked)

    assert fullest_window([(at, 1) for at, _ in began]) <= max(1, calls)
    assert fullest_window(began) <= max(1, inputs)


@pytest.mark.parametrize("limit", [1, 2, 7, 15, 40])
def test_an_allowance_of_calls_is_used_up_under_load(limit: int) -> None:
    seconds = 40
    began = starts(limiter_of(limit), [(0.0, 1)] * (2 * limit * seconds))
    first = min(at for at, _ in began)

    assert sum(at - first <= seconds for at, _ in began) >= 0.97 * limit * seconds


@pytest.mark.parametrize(("limit", "size"), [(100, 32), (100, 128), (7, 32), (1000, 32)])
def test_an_allowance_of_inputs_is_used_up_under_load(limit: int, size: int) -> None:
    seconds, size = 20, even_batch_size(size, limit)
    began = starts(limiter_of(None, limit), [(0.0, size)] * (2 * limit * seconds // size))
    first = min(at for at, _ in began)

    assert sum(units for at, units in began if at - first <= seconds) >= 0.97 * limit * seconds


def test_without_limits_nothing_waits() -> None:
    began = starts(limiter_of(None), [(0.0, 128)] * 500)

    assert {at for at, _ in began} == {began[0][0]}


def test_who_asks_first_starts_first() -> None:
    began = starts(limiter_of(5), [(0.001 * order, order + 1) for order in range(30)])

    assert [order for _, order in began] == list(range(1, 31))


def test_a_call_that_was_held_up_counts_from_its_likely_arrival() -> None:
    async def main() -> list[float]:
        limiter = limiter_of(4)
        for _ in range(8):  # what is usual
            limiter.answered(await limiter.acquire(1), 0.05)
            await asyncio.sleep(1)
        held_up = [await limiter.acquire(1) for _ in range(4)]
        limiter.answered(held_up[0], 0.35)  # it reached the server 0.3 s after it started
        return [held_up[0].time, (await limiter.acquire(1)).time]

    arrived, fifth = simulate(main)

    assert fifth - arrived >= 1.0


class Server:
    """Accepts so many calls in any second and refuses the others, which do not count."""

    def __init__(self, limit: Callable[[float], int]) -> None:
        self._limit = limit
        self._accepted: deque[float] = deque()
        self.began = time.monotonic()
        self.seen: list[tuple[float, bool]] = []

    def accepts(self) -> bool:
        now = time.monotonic()
        while self._accepted and self._accepted[0] <= now - 1.0:
            self._accepted.popleft()
        accepted = len(self._accepted) < self._limit(now - self.began)
        if accepted:
            self._accepted.append(now)
        self.seen.append((now - self.began, accepted))
        return accepted

    def between(self, start: float, end: float) -> tuple[int, float]:
        """Calls accepted, and the part of calls that was refused."""
        answers = [accepted for at, accepted in self.seen if start <= at < end]
        return sum(answers), 1 - sum(answers) / len(answers)


def under_load(
    limit: Callable[[float], int], seconds: float, *, configured: float | None = None, submitters: int = 32
) -> Server:
    """The server after submitters sent it call after call, each waiting a while when refused, as a batch does."""
    rng = random.Random(7)

    async def submit(limiter: LocalLimiter, server: Server) -> None:
        pause = 0.1
        while time.monotonic() - server.began < seconds:
            permit = await limiter.acquire(1)
            await asyncio.sleep(0.001 + 0.004 * rng.random())
            if server.accepts():
                await asyncio.sleep(0.3)
                limiter.answered(permit, 0.3)
                pause = 0.1
            else:
                limiter.throttled(permit, None)
                await asyncio.sleep(pause * rng.random())
                pause = min(5.0, 2 * pause)

    async def main() -> Server:
        limiter, server = limiter_of(configured), Server(limit)
        await asyncio.gather(*(submit(limiter, server) for _ in range(submitters)))
        return server

    return simulate(main)


@pytest.mark.parametrize("limit", [5, 15, 40])
def test_a_limit_that_nobody_told_is_found(limit: int) -> None:
    server = under_load(lambda _: limit, 60)

    accepted, refused = server.between(10, 60)
    assert accepted >= 0.9 * limit * 50
    assert refused < 0.05


@pytest.mark.parametrize("limit", [10, 15, 40])
def test_a_limit_that_falls_to_half_is_found_again_within_ten_seconds(limit: int) -> None:
    server = under_load(lambda at: limit if at < 30 else limit // 2, 90)

    accepted, refused = server.between(40, 90)
    assert accepted >= 0.9 * (limit // 2) * 50
    assert refused < 0.05


def test_a_limit_that_rises_again_is_followed() -> None:
    server = under_load(lambda at: 8 if at < 30 else 32, 150)

    accepted, refused = server.between(120, 150)
    assert accepted >= 0.8 * 32 * 30
    assert refused < 0.05


def test_a_configured_limit_keeps_a_server_from_ever_refusing() -> None:
    server = under_load(lambda _: 15, 40, configured=15)

    accepted, refused = server.between(0, 40)
    assert accepted >= 0.97 * 15 * 40
    assert refused == 0.0


def test_nobody_starts_before_the_pause_that_a_server_asks_for() -> None:
    async def main() -> tuple[float, list[Permit]]:
        limiter = limiter_of(None)
        first = await limiter.acquire(1)
        limiter.throttled(first, 7.5)
        return first.time, list(await asyncio.gather(*(limiter.acquire(1) for _ in range(3))))

    began, later = simulate(main)

    assert all(permit.time - began >= 7.5 for permit in later)


@pytest.mark.parametrize("calls", [None, 5])
def test_a_hold_delays_all_that_start_and_ends_when_it_is_taken_back(calls: float | None) -> None:
    async def main() -> tuple[float, float]:
        limiter, began = limiter_of(calls), time.monotonic()
        limiter.hold(2.0)
        first = (await limiter.acquire(1)).time - began
        limiter.hold(600.0)
        asyncio.get_running_loop().call_later(1.0, limiter.hold, 0.0)
        return first, (await limiter.acquire(1)).time - began - first

    first, second = simulate(main)

    assert first == pytest.approx(2.0)
    assert 0.999 <= second <= 1.1


@pytest.mark.parametrize(
    ("calls", "inputs", "raised"), [(4, None, (8, 50)), (None, 40, (8, 80)), (4, 40, (None, None))]
)
def test_only_limits_that_are_configured_change(
    calls: float | None, inputs: float | None, raised: tuple[float | None, float | None]
) -> None:
    limiter = limiter_of(calls, inputs)
    limiter.allow(*raised)

    units = [window and window.units for window in (limiter._calls, limiter._inputs)]
    assert units == [calls and int(raised[0] or calls), inputs and int(raised[1] or inputs)]


def test_a_single_refusal_is_forgotten_where_a_limit_is_configured() -> None:
    async def main() -> float | None:
        limiter = limiter_of(10)
        for number in range(1200):
            permit = await limiter.acquire(1)
            if number == 20:
                limiter.throttled(permit, None)
        return limiter.learned_rate

    assert simulate(main) is None


def test_a_worker_starts_with_the_least_part_of_both_limits() -> None:
    limiter = limiter_for(CallsConfig(calls_per_second=15, inputs_per_second=90), 4)

    assert isinstance(limiter, LocalLimiter)
    assert limiter._calls is not None
    assert limiter._inputs is not None
    assert (limiter._calls.units, limiter._inputs.units) == (3, 22)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(0, 3), st.floats(0, 5))
def test_a_limit_that_is_raised_on_the_way_holds_at_once_and_before(least: int, more: int, at: float) -> None:
    limiter = limiter_of(least)
    began: list[float] = []

    async def main() -> None:
        start = time.monotonic()
        asyncio.get_running_loop().call_later(at, limiter.allow, least + more, None)
        while time.monotonic() - start < 10:
            began.append((await limiter.acquire(1)).time - start)

    simulate(main)

    assert fullest_window([(began_at, 1) for began_at in began if began_at < at]) <= least
    assert fullest_window([(began_at, 1) for began_at in began]) <= least + more
    assert sum(7 <= began_at < 10 for began_at in began) >= 3 * (least + more) * 0.95 - 1


def test_one_refusal_at_the_very_start_costs_seconds_and_not_a_minute() -> None:
    """A server that was busy for a moment: nothing was accepted yet, so the refusal tells of no rate."""

    async def main() -> float:
        limiter, start = limiter_of(None), time.monotonic()
        limiter.throttled(await limiter.acquire(1), None)
        for _ in range(100):
            await limiter.acquire(1)
        return time.monotonic() - start

    assert simulate(main) < 10


@pytest.mark.parametrize("pause", [0.02, 0.5])
def test_one_refusal_is_forgotten_where_no_limit_is_configured(pause: float) -> None:
    """The rate does not grow without end either."""

    async def main() -> float | None:
        limiter = limiter_of(None)
        limiter.throttled(await limiter.acquire(1), None)
        start = time.monotonic()
        while time.monotonic() < start + 1800:
            await limiter.acquire(1)
            await asyncio.sleep(pause)
        return limiter.learned_rate

    assert simulate(main) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(5, 40), st.lists(st.floats(0, 3), min_size=5, max_size=5))
def test_workers_with_their_parts_keep_the_limit_together(
    workers: int, limit: int, ranked: list[float]
) -> None:
    """Each learns its rank at a moment of its own."""
    together: list[tuple[float, int]] = []

    async def work(rank: int, start: float) -> None:
        limiter = limiter_of(part_of(limit, workers))
        whole = part_of(limit, workers, rank)
        asyncio.get_running_loop().call_later(ranked[rank], limiter.allow, whole, None)
        while time.monotonic() < start + 8:
            together.append(((await limiter.acquire(1)).time - start, 1))

    async def main() -> None:
        start = time.monotonic()
        await asyncio.gather(*(work(rank, start) for rank in range(workers)))

    simulate(main)

    assert fullest_window(together) <= limit
    assert sum(5 <= at < 8 for at, _ in together) >= 3 * limit * 0.95 - workers


def test_a_limit_of_one_a_second_is_not_probed_again_and_again() -> None:
    """The second refusal among a few calls is believed."""
    limiter, accepted, refused = limiter_of(None), deque[float](), 0

    async def main() -> None:
        nonlocal refused
        start = time.monotonic()
        while (now := time.monotonic()) < start + 60:
            permit = await limiter.acquire(1)
            now = permit.time
            if accepted and accepted[-1] > now - 1.0:
                refused += 1
                limiter.throttled(permit, None)
            else:
                accepted.append(now)

    simulate(main)
    assert len(accepted) >= 45
    assert refused <= 8
