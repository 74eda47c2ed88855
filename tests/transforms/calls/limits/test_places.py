"""Refusals that do not say why, against simulated servers and a simulated clock: of a rate, or of too many at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque

import pytest
from bulkinfer.transforms.calls.limits.limiter import Permit
from bulkinfer.transforms.calls.limits.local import LocalLimiter
from bulkinfer.transforms.calls.limits.places import LearnedPlaces
from support.virtual_time import simulate


class Server:
    """Refuses calls above a rate, or above so many at once, without a word; refused calls do not count."""

    def __init__(self, rate: int | None, places: int | None) -> None:
        self.rate, self.places, self.busy = rate, places, 0
        self._accepted: deque[float] = deque()
        self.began = time.monotonic()
        self.seen: list[tuple[float, bool]] = []

    def accepts(self) -> bool:
        now = time.monotonic()
        while self._accepted and self._accepted[0] <= now - 1.0:
            self._accepted.popleft()
        allowed = self.rate is None or len(self._accepted) < self.rate
        allowed = allowed and (self.places is None or self.busy < self.places)
        if allowed:
            self._accepted.append(now)
            self.busy += 1
        self.seen.append((now - self.began, allowed))
        return allowed

    def between(self, start: float, end: float) -> tuple[float, float]:
        """Calls accepted a second, and the part of calls that was refused."""
        answers = [accepted for at, accepted in self.seen if start <= at < end]
        return sum(answers) / (end - start), 1 - sum(answers) / len(answers)


def under_load(
    *,
    rate: int | None = None,
    places: int | None = None,
    latency: float,
    jitter: float = 0.0,
    seconds: float = 60,
    changes: dict[float, tuple[int | None, int | None]] | None = None,
    seed: int = 7,
) -> Server:
    """The server after 32 submitters sent it call after call, each waiting a while when refused, as a batch does.

    Args:
        changes: the rate and the places from these seconds on.
    """
    rng = random.Random(seed)

    async def submit(limiter: LocalLimiter, server: Server) -> None:
        pause = 0.1
        while time.monotonic() - server.began < seconds:
            permit = await limiter.acquire(1)
            began = time.monotonic()
            await asyncio.sleep(0.001 + 0.004 * rng.random())
            accepted = server.accepts()
            if accepted:
                await asyncio.sleep(latency * (1 + jitter * (2 * rng.random() - 1)))
                server.busy -= 1
            await asyncio.sleep(0.001)
            limiter.ended(permit)
            if accepted:
                limiter.answered(permit, time.monotonic() - began)
                pause = 0.1
            else:
                limiter.refused(permit, None)
                await asyncio.sleep(pause * rng.random())
                pause = min(5.0, 2 * pause)

    async def main() -> Server:
        limiter = LocalLimiter(None, None, clock=lambda: time.monotonic())  # noqa: PLW0108  (looked up at each call)
        server = Server(rate, places)

        def change(to: tuple[int | None, int | None]) -> None:
            server.rate, server.places = to

        for at, to in (changes or {}).items():
            asyncio.get_running_loop().call_later(at, change, to)
        await asyncio.gather(*(submit(limiter, server) for _ in range(32)))
        return server

    return simulate(main)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rate", "latency"), [(15, 0.01), (15, 0.3), (40, 0.3), (15, 1.0)])
def test_a_rate_that_nobody_named_is_found_and_used(rate: int, latency: float, seed: int) -> None:
    used, refused = under_load(rate=rate, latency=latency, seconds=40, seed=seed).between(10, 40)

    assert used >= 0.97 * rate
    assert refused < 0.02


def test_a_rate_is_found_where_calls_take_longer_than_a_second() -> None:
    """So many at once as the rate allows in a second are then too few: that more are tried tells them apart."""
    used, refused = under_load(rate=15, latency=2.0).between(20, 60)

    assert used >= 0.95 * 15
    assert refused < 0.02


@pytest.mark.parametrize("jitter", [0.0, 0.5])
@pytest.mark.parametrize(("places", "latency"), [(1, 0.5), (4, 0.5), (8, 0.5), (8, 5.0), (16, 0.5)])
def test_places_are_filled_and_not_taken_for_a_rate(places: int, latency: float, jitter: float) -> None:
    used, refused = under_load(places=places, latency=latency, jitter=jitter).between(10, 60)

    assert used >= 0.95 * places / latency
    assert refused < 0.02


@pytest.mark.parametrize(
    ("before", "after", "used"),
    [
        ((None, 4), (None, 12), 12 / 0.3),
        ((None, 12), (None, 4), 4 / 0.3),
        ((15, None), (8, None), 8),
        ((15, None), (None, 2), 2 / 0.3),
        ((None, 12), (10, None), 10),
    ],
    ids=["more places", "fewer places", "a lower rate", "a rate, then places", "places, then a rate"],
)
def test_what_changes_on_the_way_is_found_again(
    before: tuple[int | None, int | None], after: tuple[int | None, int | None], used: float
) -> None:
    server = under_load(rate=before[0], places=before[1], latency=0.3, seconds=90, changes={30.0: after})

    found, refused = server.between(60, 90)
    assert found >= 0.85 * used
    assert refused < 0.04


def test_a_refusal_of_a_call_that_was_alone_is_one_of_a_rate() -> None:
    places = LearnedPlaces()
    permit = Permit(1.0, 1)
    places.start(permit)
    places.ended(permit)

    assert not places.fits(permit)


def test_a_server_without_refusals_is_never_held_back() -> None:
    async def main() -> list[Permit]:
        limiter = LocalLimiter(None, None)
        return list(await asyncio.gather(*(limiter.acquire(1) for _ in range(500))))

    assert [permit.beside for permit in simulate(main)] == list(range(500))


def test_a_call_that_waits_for_a_place_starts_when_another_ends() -> None:
    async def main() -> float:
        limiter = LocalLimiter(None, None, clock=lambda: time.monotonic())  # noqa: PLW0108  (looked up at each call)
        permits = [await limiter.acquire(1) for _ in range(3)]
        limiter.ended(permits[2])
        limiter.refused(permits[2], None)
        asyncio.get_running_loop().call_later(0.1, limiter.ended, permits[0])
        began = time.monotonic()
        return (await limiter.acquire(1)).time - began

    assert 0.09 < simulate(main) < 0.11


class Told:
    """A limiter that hears of calls one by one, on a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.limiter = LocalLimiter(None, None, clock=lambda: self.now)

    def start(self, count: int) -> list[Permit]:
        return [asyncio.run(self.limiter.acquire(1)) for _ in range(count)]

    def refuse(self, permit: Permit) -> None:
        self.limiter.ended(permit)
        self.limiter.refused(permit, None)

    def refuse_one(self, *, beside: int) -> None:
        """Ten seconds later a call is refused while so many others are under way, which are answered."""
        self.now += 10.0
        others, (permit,) = self.start(beside), self.start(1)
        self.refuse(permit)
        for other in others:
            self.limiter.ended(other)
            self.limiter.answered(other, 0.1)

    def learn_a_rate(self) -> None:
        """A hundred calls, one after another within a second, and the next one is refused."""
        for _ in range(100):
            self.now += 0.005
            (permit,) = self.start(1)
            self.limiter.ended(permit)
            self.limiter.answered(permit, 0.001)
        (permit,) = self.start(1)
        self.refuse(permit)


def test_a_refusal_beside_others_speaks_for_places_and_one_alone_for_a_rate() -> None:
    beside = Told()
    permits = beside.start(4)
    beside.refuse(permits[0])
    assert (beside.limiter.learned_rate, beside.limiter._places.most, permits[0].refused) == (None, 3, True)

    alone = Told()
    alone.learn_a_rate()
    assert alone.limiter.learned_rate == pytest.approx(100, abs=1)
    alone.refuse_one(beside=10)  # from then on refusals are those of the rate, however many are under way
    assert alone.limiter.learned_rate is not None
    assert alone.limiter._places.most is None


def test_three_refusals_in_a_row_far_below_the_rate_speak_for_places_again() -> None:
    told = Told()
    told.learn_a_rate()
    for expected in (False, False, True):
        assert told.limiter.learned_rate is not None
        told.refuse_one(beside=1)
        assert (told.limiter.learned_rate is None) is expected
    assert told.limiter._places.most == 1


def test_a_refusal_of_a_call_that_was_alone_ends_the_row() -> None:
    told = Told()
    told.learn_a_rate()
    for beside in (1, 0, 1, 1):
        told.refuse_one(beside=beside)
        assert told.limiter.learned_rate is not None
    told.refuse_one(beside=1)
    assert told.limiter.learned_rate is None


def test_refusals_of_lone_calls_never_speak_for_places() -> None:
    told = Told()
    told.learn_a_rate()
    for _ in range(6):
        told.refuse_one(beside=0)
    assert told.limiter.learned_rate is not None
    assert told.limiter._places.most is None
