"""Rate limits, against a simulated server and its own count of arrivals; time is simulated too."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable

import pytest
from bulkinfer.transforms.config import CallsConfig
from bulkinfer.transforms.rate_limit import LocalLimiter, limiter_for, share_of
from hypothesis import given, settings
from hypothesis import strategies as st


class World:
    """A clock that jumps to whatever is due next."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, int, asyncio.Event]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._count += 1
        heapq.heappush(self._due, (self.now + max(seconds, 1e-5), self._count, event))
        await event.wait()

    async def run(self, tasks: list[asyncio.Task[None]]) -> None:
        while not all(task.done() for task in tasks):
            for _ in range(20):
                await asyncio.sleep(0)
            if self._due:
                at, _, event = heapq.heappop(self._due)
                self.now = max(self.now, at)
                event.set()


class Server:
    """Accepts so many calls in any second and refuses the others."""

    def __init__(self, limit: Callable[[float], float]) -> None:
        self.limit = limit
        self.calls: list[tuple[float, bool, int]] = []
        self._accepted: deque[float] = deque()

    def arrive(self, at: float, inputs: int) -> bool:
        while self._accepted and self._accepted[0] <= at - 1.0:
            self._accepted.popleft()
        accepted = len(self._accepted) < self.limit(at)
        if accepted:
            self._accepted.append(at)
        self.calls.append((at, accepted, inputs))
        return accepted

    def used(self, start: float, end: float) -> tuple[float, float]:
        """Accepted calls a second, and the share of calls refused."""
        inside = [accepted for at, accepted, _ in self.calls if start <= at < end]
        return sum(inside) / (end - start), 1 - sum(inside) / max(1, len(inside))

    def fullest(self, weigh: Callable[[int], int] = lambda inputs: 1) -> int:
        """The most that arrived in any one second."""
        most, total, start = 0, 0, 0
        for at, _, inputs in self.calls:
            total += weigh(inputs)
            while self.calls[start][0] <= at - 1.0:
                total -= weigh(self.calls[start][2])
                start += 1
            most = max(most, total)
        return most


def simulate(
    limit: Callable[[float], float],
    *,
    calls_per_second: float | None = None,
    inputs_per_second: float | None = None,
    seconds: float = 40,
    jitter: float = 0.002,
    stall: float = 0.0,
    batch: Callable[[random.Random], int] = lambda chance: 1,
    seed: int = 0,
) -> Server:
    """16 workers that send as fast as the limiter lets them; seconds count from 0."""
    chance, world = random.Random(seed), World()
    server = Server(limit)
    limiter = LocalLimiter(calls_per_second, inputs_per_second, clock=world.clock, sleep=world.sleep)

    async def worker() -> None:
        while world.now < 100 + seconds:
            inputs = batch(chance)
            permit = await limiter.acquire(inputs)
            started = world.now
            await world.sleep(chance.random() * jitter + (stall if chance.random() < 0.01 else 0.0))
            if server.arrive(world.now - 100, inputs):
                await world.sleep(0.05)
                limiter.answered(permit, world.now - started)
            else:
                await world.sleep(0.002)
                limiter.throttled(permit, None)
                await world.sleep(chance.random() * 0.1)

    async def main() -> None:
        await world.run([asyncio.ensure_future(worker()) for _ in range(16)])

    asyncio.run(main())
    return server


@pytest.mark.parametrize("limit", [3, 15, 100])
def test_a_configured_limit_is_used_and_never_exceeded(limit: int) -> None:
    server = simulate(lambda at: limit, calls_per_second=limit)

    used, refused = server.used(0, 40)
    assert server.fullest() <= limit
    assert used >= 0.97 * limit
    assert refused == 0


@settings(max_examples=15, deadline=None)
@given(st.floats(0.4, 60), st.integers(0, 1000))
def test_no_window_ever_holds_more_than_the_limit(limit: float, seed: int) -> None:
    server = simulate(
        lambda at: 1e9, calls_per_second=limit, seconds=max(10, 6 / limit), seed=seed, jitter=0.008
    )

    assert server.fullest() <= max(1, limit)


@settings(max_examples=15, deadline=None)
@given(st.integers(32, 400), st.integers(1, 32), st.integers(0, 1000))
def test_inputs_are_limited_whatever_the_batches(limit: int, largest: int, seed: int) -> None:
    server = simulate(
        lambda at: 1e9,
        inputs_per_second=limit,
        seconds=10,
        seed=seed,
        jitter=0.008,
        batch=lambda chance: chance.randint(1, largest),
    )

    assert server.fullest(lambda inputs: inputs) <= limit


def test_calls_that_are_held_up_on_their_way_do_not_crowd_a_window() -> None:
    server = simulate(lambda at: 15, calls_per_second=15, stall=0.1, seconds=60)

    assert server.fullest() <= 15
    assert server.used(0, 60)[0] >= 0.96 * 15


@pytest.mark.parametrize("limit", [3, 15, 100])
def test_a_limit_that_nobody_told_is_found(limit: int) -> None:
    server = simulate(lambda at: limit, seconds=60)

    used, refused = server.used(10, 60)
    assert used >= 0.9 * limit
    assert refused < 0.05


def test_a_limit_that_halves_is_settled_within_ten_seconds() -> None:
    server = simulate(lambda at: 15 if at < 30 else 7, seconds=60)

    used, refused = server.used(40, 60)
    assert used >= 0.9 * 7
    assert refused < 0.05


def test_a_limit_that_rises_is_found_again() -> None:
    server = simulate(lambda at: 7 if at < 20 else 21, seconds=80)

    assert server.used(65, 80)[0] >= 0.9 * 21


def test_the_servers_own_pause_holds_for_everyone() -> None:
    world = World()
    limiter = LocalLimiter(None, None, clock=world.clock, sleep=world.sleep)
    starts: list[float] = []

    async def main() -> None:
        refused = await limiter.acquire(1)
        limiter.throttled(refused, 3.0)

        async def other() -> None:
            await limiter.acquire(1)
            starts.append(world.now)

        await world.run([asyncio.ensure_future(other()) for _ in range(3)])

    asyncio.run(main())
    assert min(starts) >= 103.0


def test_first_come_first_served() -> None:
    world = World()
    limiter = LocalLimiter(10, None, clock=world.clock, sleep=world.sleep)
    order: list[int] = []

    async def main() -> None:
        async def worker(number: int) -> None:
            await limiter.acquire(1)
            order.append(number)

        await world.run([asyncio.ensure_future(worker(number)) for number in range(8)])

    asyncio.run(main())
    assert order == list(range(8))


@pytest.mark.parametrize(
    ("limit", "share", "part"), [(None, 4, None), (15, 1, 15), (15, 2, 7), (15, 4, 3), (1, 4, 0.25), (0.5, 1, 0.5)]
)
def test_a_fixed_fleet_divides_a_limit_in_whole_calls(
    limit: float | None, share: int, part: float | None
) -> None:
    assert share_of(limit, share) == part


def test_a_job_without_limits_gets_a_limiter_that_only_learns() -> None:
    limiter = limiter_for(CallsConfig())

    assert isinstance(limiter, LocalLimiter)
    assert limiter.learned_rate is None
