"""Simulated fleets that divide a rate limit: no second holds more calls than it, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from bulkinfer.transforms.calls.limits.divided import DividedLimits, part_of
from bulkinfer.transforms.calls.limits.local import LocalLimiter
from bulkinfer.transforms.calls.limits.tokens import TokenLimit
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.job.config import CallsConfig
from bulkinfer.transforms.runs.control import ControlSpec
from bulkinfer.transforms.runs.rebalance import WorkPass, WorkPassSpec
from support.simulation.stand_ins import simulated
from support.simulation.store import Disk, mounted
from support.simulation.world import Process, World

SEEDS = int(os.environ.get("BULKINFER_SEEDS", "200"))
FIRST = int(os.environ.get("BULKINFER_FIRST_SEED", "0"))

T = TypeVar("T")


class _Loop:
    """A worker's event loop: its timers are run whenever the worker has waited, as asyncio does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timers: list[_Timer] = []

    def call_soon_threadsafe(self, work: Callable[..., Any], *args: Any) -> None:
        work(*args)

    def call_later(self, seconds: float, work: Callable[..., Any], *args: Any) -> _Timer:
        timer = _Timer(self._timers, self._world.now + seconds, lambda: work(*args))
        self._timers.append(timer)
        return timer

    def wait(self, seconds: float) -> None:
        self._world.wait(seconds)
        for timer in [one for one in self._timers if one.at <= self._world.now]:
            timer.cancel()
            timer.work()

    async def sleep(self, seconds: float) -> None:
        self.wait(seconds)


class _Timer:
    def __init__(self, timers: list[_Timer], at: float, work: Callable[[], Any]) -> None:
        self._timers, self.at, self.work = timers, at, work

    def cancel(self) -> None:
        with contextlib.suppress(ValueError):
            self._timers.remove(self)


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never really suspends: its only pauses are `_Loop.sleep`."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits for something else")


class Fleet:
    """Workers of one run, their replacements, and when their calls began."""

    def __init__(self, world: World, *, rate: int, workers: int, calls: int) -> None:
        self.world, self.rate, self.workers, self.calls = world, rate, workers, calls
        self.starts: list[float] = []
        self.lost = 0
        self._spec = WorkPassSpec(ControlSpec("r2://lake/out", {}, "run"), 1, workers, last=True)

    def start(self, number: int) -> Process:
        worker = self.world.process(f"worker{number}", f"host{number}")
        worker.spawn(self._work)
        return worker

    def _work(self) -> None:
        loop = _Loop(self.world)
        limiter = LocalLimiter(
            part_of(self.rate, self.workers), None, clock=lambda: self.world.now, sleep=loop.sleep
        )
        calls = CallsConfig(calls_per_second=self.rate)
        limits = DividedLimits(limiter, TokenLimit(None), calls, self.workers, loop)  # type: ignore[arg-type]
        work_pass = WorkPass(self._spec)
        work_pass.begin(limits)
        try:
            for _ in range(self.world.random.randrange(self.calls)):
                work_pass.raise_if_lost()
                self.starts.append(_run(limiter.acquire(1)).time)
                loop.wait(self.world.random.choice((0.01, 0.05, 0.2)))
        except StoreError:
            self.lost += 1
        work_pass.end()

    @property
    def fullest(self) -> int:
        """Most calls in any one second."""
        starts = sorted(self.starts)
        first = most = 0
        for last, at in enumerate(starts):
            while starts[first] <= at - 1.0:
                first += 1
            most = max(most, last - first + 1)
        return most


def play(seed: int) -> Fleet:
    """Live through one seed's history."""
    world = World(seed)
    disk, dice = Disk(world), world.random
    workers = dice.choice((2, 3, 4))
    fleet = Fleet(world, rate=dice.randrange(workers, 20), workers=workers, calls=dice.choice((20, 100)))
    disk.fails = dice.choice((0.0, 0.02, 0.2))
    disk.slow = dice.choice((0.0, 0.0, 0.02))
    with mounted(disk), simulated(world):
        living = {number: fleet.start(number) for number in range(workers)}
        for _ in range(dice.randrange(6)):
            until = world.now + dice.uniform(0.2, 15.0)
            world.run(lambda until=until: world.now >= until or all(one.ended for one in living.values()))
            number = dice.randrange(workers)
            if living[number].ended:
                continue
            event = dice.choice(("kill", "pause", "clock"))
            if event == "kill":
                living[number].kill()
                living[number] = fleet.start(number)
            elif event == "pause":
                living[number].paused_until = world.now + dice.choice((0.5, 2.0, 10.0, 70.0))
            else:
                living[number].clock_offset += dice.choice((-3600.0, 3600.0))
        world.run(lambda: all(one.ended for one in living.values()))
    return fleet


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_no_second_holds_more_calls_than_the_limit(seed: int) -> None:
    fleet = play(seed)
    assert fleet.fullest <= fleet.rate
    assert not fleet.lost
