"""Parts of a rate limit: whole units, never too much together, and all of it used once every worker is there."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.calls.limits.divided import DividedLimits, check_divided, part_of
from bulkinfer.transforms.calls.limits.local import LocalLimiter
from bulkinfer.transforms.calls.limits.tokens import TokenLimit
from bulkinfer.transforms.errors import ConfigError, StoreError
from bulkinfer.transforms.job.config import CallsConfig, StopConfig
from bulkinfer.transforms.runs.control import ControlSpec
from bulkinfer.transforms.runs.rebalance import COMEBACK_S, Rank, WorkPass, WorkPassSpec, rank_in
from bulkinfer.transforms.storage.store import Store
from hypothesis import given
from hypothesis import strategies as st
from support.bad_days import Job, until
from support.fault_server import running
from support.virtual_time import simulate

FAST = 0.02
UNTIL_DONE = StopConfig()


@given(st.floats(64, 1000), st.integers(1, 64))
def test_parts_add_up_to_the_limit_and_never_to_more(limit: float, workers: int) -> None:
    least = part_of(limit, workers)
    ranked = [part_of(limit, workers, rank) or 0.0 for rank in range(workers)]

    assert least == min(ranked)
    assert sum(ranked) == (limit if workers == 1 else int(limit))
    assert max(ranked) - min(ranked) <= 1


def test_a_part_of_no_limit_is_no_limit() -> None:
    assert part_of(None, 4) is None
    assert part_of(2.5, 1) == 2.5


def test_a_limit_smaller_than_the_fleet_is_refused() -> None:
    calls = CallsConfig(calls_per_second=3)
    with pytest.raises(ConfigError, match="a limit of 3 cannot be divided among 4 workers"):
        part_of(3, 4)
    check_divided(calls, UNTIL_DONE, 3)
    check_divided(CallsConfig(calls_per_second=0.5), UNTIL_DONE, 1)
    check_divided(CallsConfig(calls_per_second=3, limiter="redis://r:1/0"), UNTIL_DONE, 4)
    with pytest.raises(ConfigError, match=r"calls\.calls_per_second: 3 cannot be divided among 4 worker"):
        check_divided(calls, UNTIL_DONE, 4)
    with pytest.raises(ConfigError, match=r"calls\.tokens_per_minute: 3 cannot be divided among 4 worker"):
        check_divided(CallsConfig(tokens_per_minute=3, limiter="redis://r:1/0"), UNTIL_DONE, 4)
    with pytest.raises(ConfigError, match=r"calls\.inputs_per_second: 1 cannot be divided among 2 worker"):
        check_divided(CallsConfig(inputs_per_second=1), UNTIL_DONE, 2)


def test_a_budget_smaller_than_the_fleet_is_refused() -> None:
    check_divided(CallsConfig(), StopConfig(inputs=4), 4)
    with pytest.raises(ConfigError, match=r"stop\.inputs: 3 cannot be divided among 4 worker processes"):
        check_divided(CallsConfig(), StopConfig(inputs=3), 4)


def test_a_limit_is_not_divided_among_workers_that_may_become_more() -> None:
    calls = CallsConfig(calls_per_second=15)
    with pytest.raises(
        ConfigError, match=r"calls\.calls_per_second: 15 cannot .* whose number the runner decides"
    ):
        check_divided(calls, UNTIL_DONE, 4, fixed=False)
    with pytest.raises(ConfigError, match=r"stop\.inputs: 100 cannot .* whose number the runner decides"):
        check_divided(CallsConfig(), StopConfig(inputs=100), 4, fixed=False)
    check_divided(CallsConfig(), UNTIL_DONE, 4, fixed=False)
    check_divided(calls.model_copy(update={"limiter": "redis://r:1/0"}), UNTIL_DONE, 4, fixed=False)


class Recorded:
    """Limits that record what a worker was told of its part."""

    def __init__(self) -> None:
        self.held: list[float] = []
        self.ranks: list[Rank | None] = []

    def hold(self, seconds: float) -> None:
        self.held.append(seconds)

    def divide(self, rank: Rank | None, until: float = 0.0) -> None:
        self.ranks.append(rank)

    @property
    def rank(self) -> Rank | None:
        return self.ranks[-1] if self.ranks else None


class Worker:
    """A worker process of a pass."""

    def __init__(self, spec: WorkPassSpec, handover_s: float = 0.05) -> None:
        self.limits = Recorded()
        self.work_pass = WorkPass(spec, poll_s=FAST, grace_s=9, handover_s=handover_s)
        self.work_pass.begin(self.limits)


@pytest.fixture
def spec(tmp_path: Path) -> WorkPassSpec:
    return WorkPassSpec(ControlSpec(str(tmp_path), {}, "run-1"), 1, workers=3)


@pytest.fixture
def fleet(spec: WorkPassSpec) -> list[Worker]:
    """Three workers that know each other's ranks."""
    found = [Worker(spec) for _ in range(3)]
    until(lambda: {worker.limits.rank for worker in found} == {Rank(0, 3), Rank(1, 3), Rank(2, 3)})
    return found


@given(st.integers(2, 8), st.floats(8, 100), st.lists(st.integers(0, 7), max_size=8), st.data())
def test_parts_never_add_up_to_more_however_late_anybody_looks(
    workers: int, limit: float, ends: list[int], data: st.DataObject
) -> None:
    """Each worker has looked at some moment; those that are done by the last one use nothing."""
    claims = [f"1-{number}" for number in range(workers)]
    ended = list(dict.fromkeys(f"1-{end % workers}" for end in ends))
    used = 0.0
    for claim in claims:
        if claim not in ended:
            seen = ended[: data.draw(st.integers(0, len(ended)))]
            rank = rank_in({*claims, *(f"{end}.done" for end in seen)}, claim, workers)
            assert rank is not None
            used += part_of(limit, rank.at_work, rank.number) or 0.0
    assert used <= limit


def test_one_claim_more_or_less_than_workers_gives_no_rank() -> None:
    assert rank_in({"1-a", "1-b"}, "1-a", 3) is None
    assert rank_in({"1-a", "1-b", "1-c"}, "1-c", 3) == Rank(2, 3)
    assert rank_in({"1-a", "1-b", "1-c", "1-a.done"}, "1-c", 3) == Rank(1, 2)
    assert rank_in({"1-a", "1-b", "1-c", "1-d"}, "1-c", 3) is None
    assert rank_in({"1-a", "1-b", "1-c"}, "1-d", 3) is None


def test_no_worker_has_a_rank_before_all_are_there(spec: WorkPassSpec) -> None:
    early = [Worker(spec) for _ in range(2)]
    time.sleep(10 * FAST)
    assert [worker.limits.rank for worker in early] == [None, None]

    late = Worker(spec)

    until(lambda: {worker.limits.rank for worker in (*early, late)} == {Rank(rank, 3) for rank in range(3)})


def test_the_others_take_what_a_worker_that_is_done_leaves(fleet: list[Worker]) -> None:
    fleet[0].work_pass.end()

    until(lambda: {worker.limits.rank for worker in fleet[1:]} == {Rank(0, 2), Rank(1, 2)})
    assert fleet[0].limits.rank is None

    fleet[1].work_pass.end()

    until(lambda: fleet[2].limits.rank == Rank(0, 1))


def test_a_larger_part_is_taken_after_a_second_without_the_other_ones_calls(spec: WorkPassSpec) -> None:
    """The second is half a second here, so that the test is short."""
    fleet = [Worker(spec, handover_s=0.5) for _ in range(3)]
    until(lambda: {worker.limits.rank for worker in fleet} == {Rank(rank, 3) for rank in range(3)})
    fleet[0].work_pass.end()
    ended = time.monotonic()

    until(lambda: fleet[1].limits.rank in (Rank(0, 2), Rank(1, 2)))

    assert time.monotonic() - ended >= 0.5


def test_a_worker_that_replaces_a_dead_one_takes_the_ranks_from_all(
    spec: WorkPassSpec, fleet: list[Worker]
) -> None:
    """Three workers and a fourth claim: nobody can tell which of them is dead."""
    late = Worker(spec)

    until(lambda: [worker.limits.rank for worker in (*fleet, late)] == [None] * 4)
    assert late.limits.held == [math.inf, COMEBACK_S]  # the others may have its part until then


def test_whoever_comes_again_after_it_was_done_waits_for_the_others_to_hear(
    spec: WorkPassSpec, fleet: list[Worker]
) -> None:
    fleet[0].work_pass.end()
    until(lambda: fleet[1].limits.rank in (Rank(0, 2), Rank(1, 2)))

    fleet[0].work_pass.begin(fleet[0].limits)

    until(lambda: [worker.limits.rank for worker in fleet] == [None] * 3)
    assert fleet[0].limits.held == [math.inf, 0.0, math.inf, COMEBACK_S]


def test_the_first_pass_begins_at_once_and_others_when_the_last_calls_are_a_second_old(
    spec: WorkPassSpec,
) -> None:
    first, second = Worker(spec), Worker(dataclasses.replace(spec, number=2))

    until(lambda: first.limits.held == [math.inf, 0.0])
    until(lambda: second.limits.held == [math.inf, 0.05])


def test_a_worker_that_cannot_see_the_others_has_no_rank(
    fleet: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> list[Any]:
        raise StoreError("the store is away")

    monkeypatch.setattr(fleet[0].work_pass.store, "files", away)

    until(lambda: fleet[0].limits.rank is None)
    assert fleet[1].limits.rank is not None


def test_a_late_worker_that_nobody_can_have_missed_begins_at_once(spec: WorkPassSpec) -> None:
    """Another worker is done already, but never saw as many claims as there are workers."""
    early = Worker(spec)
    early.work_pass.end()

    late = Worker(spec)

    until(lambda: late.limits.held == [math.inf, 0.0])


def test_a_worker_that_cannot_lay_its_claim_gives_up(
    spec: WorkPassSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results could not be stored either."""

    def away(*_: Any) -> None:
        raise StoreError("the store is away for good")

    monkeypatch.setattr(Store, "write", away)
    lost = WorkPass(spec, poll_s=FAST, lost_s=5 * FAST)
    lost.begin(Recorded())
    lost.raise_if_lost()

    until(lambda: lost.lost)

    with pytest.raises(StoreError, match="the store is away for good"):
        lost.raise_if_lost()


def test_one_look_that_fails_does_not_stop_a_worker_of_a_runner_that_moves_work(
    spec: WorkPassSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, failed = Store.files, []

    def once(store: Store, directory: str = "") -> Any:
        if not failed:
            failed.append(directory)
            raise StoreError("the store is away")
        return files(store, directory)

    monkeypatch.setattr(Store, "files", once)
    worker = Worker(dataclasses.replace(spec, workers=1, open_ended=True))

    until(lambda: worker.limits.rank == Rank(0, 1))
    assert worker.limits.held == [math.inf, 0.0]


def test_nobody_looks_where_there_is_nothing_to_see(spec: WorkPassSpec) -> None:
    """The last pass has no limits to divide."""
    alone = WorkPass(dataclasses.replace(spec, number=78, last=True), poll_s=FAST)
    alone.begin()
    assert not any(thread.name == "bulkinfer-pass-78" for thread in threading.enumerate())
    alone.end()


def test_a_worker_that_is_done_at_once_leaves_a_claim_with_its_mark(spec: WorkPassSpec) -> None:
    """A cluster may end its process now, and the others count claims."""
    quick = WorkPass(spec, poll_s=FAST)
    quick.begin(Recorded())
    quick.end()

    names = {entry.name for entry in quick.store.files(spec.folder)}
    assert len(names) == 2
    assert {name.removesuffix(".done") for name in names} <= names


def test_nothing_is_called_before_the_claim_stands(
    spec: WorkPassSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the claim the others might use its part, too."""
    write, away = Store.write, threading.Event()

    def now_and_then(store: Store, path: str, data: bytes) -> None:
        if not away.is_set():
            raise StoreError("the store is away")
        write(store, path, data)

    monkeypatch.setattr(Store, "write", now_and_then)
    worker = Worker(spec)
    time.sleep(5 * FAST)
    assert worker.limits.held == [math.inf]

    away.set()

    until(lambda: worker.limits.held == [math.inf, 0.0])


def test_nobody_is_done_where_the_runner_moves_work(spec: WorkPassSpec) -> None:
    """A worker keeps its rank through all of its bundles."""
    fleet = [Worker(dataclasses.replace(spec, open_ended=True)) for _ in range(3)]
    until(lambda: {worker.limits.rank for worker in fleet} == {Rank(rank, 3) for rank in range(3)})
    before = [worker.limits.rank for worker in fleet]
    for worker in fleet:
        worker.work_pass.end()
        worker.work_pass.begin(worker.limits)
    time.sleep(5 * FAST)

    assert [worker.limits.rank for worker in fleet] == before
    assert not list(Path(spec.run.output_uri).rglob("*.done"))


def test_processes_find_each_other(spec: WorkPassSpec) -> None:
    """The store is all that connects them."""
    code = """
import sys, threading
from bulkinfer.transforms.runs.control import ControlSpec
from bulkinfer.transforms.runs.rebalance import WorkPass, WorkPassSpec
told = threading.Event()
class Limits:
    def hold(self, seconds): pass
    def divide(self, rank, until=0.0):
        if rank and not told.is_set():
            print(rank.number, rank.at_work, flush=True)
            told.set()
WorkPass(WorkPassSpec(ControlSpec(sys.argv[1], {}, "run-1"), 1, 2)).begin(Limits())
told.wait(30)
"""
    command = [sys.executable, "-c", code, spec.run.output_uri]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    assert sorted(process.communicate(timeout=60)[0].strip() for process in processes) == ["0 2", "1 2"]


class Limiter(LocalLimiter):
    """A limiter that remembers the limits it was given."""

    allowed: tuple[float | None, float | None] = (None, None)

    def allow(self, calls_per_second: float | None, inputs_per_second: float | None) -> None:
        self.allowed = (calls_per_second, inputs_per_second)
        super().allow(calls_per_second, inputs_per_second)


def test_a_rank_that_is_not_renewed_lapses() -> None:
    """A worker whose store is away does not know whether others have joined."""

    async def main() -> list[tuple[float | None, float | None]]:
        limiter, calls = Limiter(3, 25), CallsConfig(calls_per_second=15, inputs_per_second=100)
        limits = DividedLimits(limiter, TokenLimit(None), calls, 4, asyncio.get_running_loop())
        seen = []
        for rank, until_s, wait in ((Rank(1, 2), 3.0, 2.0), (Rank(1, 2), 3.0, 2.9), (None, 0.0, 0.2)):
            limits.divide(rank, time.monotonic() + until_s)
            await asyncio.sleep(wait)
            seen.append(limiter.allowed)
        limits.divide(Rank(0, 1), time.monotonic() + 3.0)
        await asyncio.sleep(3.1)
        seen.append(limiter.allowed)
        limits.divide(Rank(0, 1), time.monotonic() - 0.1)  # reading the ranks took too long
        await asyncio.sleep(0)
        return [*seen, limiter.allowed]

    assert simulate(main) == [(7, 50), (7, 50), (3, 25), (3, 25), (3, 25)]


def test_a_call_that_is_held_starts_when_the_wait_ends_early() -> None:
    async def main() -> float:
        limiter = LocalLimiter(3, None)
        calls = CallsConfig(calls_per_second=15)
        limits = DividedLimits(limiter, TokenLimit(None), calls, 4, asyncio.get_running_loop())
        begun = time.monotonic()
        limits.hold(5.0)
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(limiter.acquire(1))
        await asyncio.sleep(1.0)
        assert not waiting.done()
        limits.hold(0.0)
        await waiting
        return time.monotonic() - begun

    assert simulate(main) < 1.2


@pytest.mark.slow
def test_a_fleet_of_real_workers_keeps_its_limit_through_all_passes(tmp_path: Path) -> None:
    """One worker takes three calls a second and one two; the last one takes all five."""
    with running() as server:
        job = Job(tmp_path, server, count=90, batch=1, in_flight=4)
        ran = job.run("--set", "runner.workers=2", "--set", "calls.calls_per_second=5")
        assert ran.code == 3, ran.err
        job.check()
        stats = server.stats()
    assert stats["fullest_second"] <= 5
    assert len(stats["peers"]) == 2
