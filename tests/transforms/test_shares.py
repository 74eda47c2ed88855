"""Shares of a rate limit: whole, never too much together, and all of it used once every worker is there."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.config import CallsConfig, StopConfig
from bulkinfer.transforms.control import ControlSpec
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.shares import Rank, check_shares, share_of
from hypothesis import given
from hypothesis import strategies as st

FAST = 0.02
UNTIL_DONE = StopConfig()


@pytest.fixture
def run(tmp_path: Path) -> ControlSpec:
    return ControlSpec(str(tmp_path), {}, "run-1")


class Told:
    """Waits for a rank."""

    def __init__(self, rank: Rank) -> None:
        self._heard = threading.Event()
        self.rank: int | None = None
        rank.tell(self._hear)

    def _hear(self, rank: int) -> None:
        self.rank = rank
        self._heard.set()

    def wait(self, seconds: float = 10) -> Any:
        self._heard.wait(seconds)
        return self.rank


@given(st.floats(64, 1000), st.integers(1, 64))
def test_shares_add_up_to_the_limit_and_never_to_more(limit: float, workers: int) -> None:
    least = share_of(limit, workers)
    ranked = [share_of(limit, workers, rank) or 0.0 for rank in range(workers)]

    assert least == min(ranked)
    assert sum(ranked) == (limit if workers == 1 else int(limit))
    assert max(ranked) - min(ranked) <= 1


def test_a_share_of_no_limit_is_no_limit() -> None:
    assert share_of(None, 4) is None
    assert share_of(2.5, 1) == 2.5


def test_a_limit_that_does_not_go_round_is_refused() -> None:
    calls = CallsConfig(calls_per_second=3)
    with pytest.raises(ConfigError, match="3 a second cannot be divided among 4 workers"):
        share_of(3, 4)
    check_shares(calls, UNTIL_DONE, 3)
    check_shares(CallsConfig(calls_per_second=0.5), UNTIL_DONE, 1)
    check_shares(CallsConfig(calls_per_second=3, limiter="redis://r:1/0"), UNTIL_DONE, 4)
    with pytest.raises(
        ConfigError, match=r"calls\.calls_per_second: 3 a second cannot be divided among 4 worker"
    ):
        check_shares(calls, UNTIL_DONE, 4)


def test_a_budget_that_does_not_go_round_is_refused() -> None:
    check_shares(CallsConfig(), StopConfig(inputs=4), 4)
    with pytest.raises(
        ConfigError, match=r"stop\.inputs: 3 inputs cannot be divided among 4 worker processes"
    ):
        check_shares(CallsConfig(), StopConfig(inputs=3), 4)


def test_a_limit_is_not_divided_among_workers_that_may_become_more() -> None:
    calls = CallsConfig(calls_per_second=15)
    with pytest.raises(ConfigError, match=r"calls\.calls_per_second: 15 .* whose number the runner decides"):
        check_shares(calls, UNTIL_DONE, 4, fixed=False)
    check_shares(CallsConfig(), UNTIL_DONE, 4, fixed=False)
    check_shares(calls.model_copy(update={"limiter": "redis://r:1/0"}), UNTIL_DONE, 4, fixed=False)


def test_a_whole_fleet_gets_one_rank_each(run: ControlSpec) -> None:
    fleet = [Rank(run, 4, poll_s=FAST) for _ in range(4)]

    assert sorted(Told(rank).wait() for rank in fleet) == [0, 1, 2, 3]


def test_nobody_has_a_rank_before_all_are_there(run: ControlSpec) -> None:
    early = [Told(Rank(run, 3, poll_s=FAST)) for _ in range(2)]
    time.sleep(10 * FAST)
    assert [told.rank for told in early] == [None, None]

    late = Told(Rank(run, 3, poll_s=FAST))

    assert sorted(told.wait() for told in (*early, late)) == [0, 1, 2]


def test_whoever_comes_for_a_dead_worker_gets_none(run: ControlSpec) -> None:
    fleet = [Told(Rank(run, 3, poll_s=FAST)) for _ in range(3)]
    assert sorted(told.wait() for told in fleet) == [0, 1, 2]

    assert Told(Rank(run, 3, poll_s=FAST)).wait(10 * FAST) is None


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_unique_however_many_processes_come_at_once(run: ControlSpec, seed: int) -> None:
    """More processes than workers: some see the fleet complete and some do not, but no rank is given twice."""
    del seed
    fleet = [Told(Rank(run, 3, poll_s=FAST / 10)) for _ in range(5)]
    time.sleep(0.3)

    given_ranks = [told.rank for told in fleet if told.rank is not None]
    assert len(set(given_ranks)) == len(given_ranks)


def test_processes_find_each_other(run: ControlSpec) -> None:
    """Through nothing but the store."""
    code = (
        "import sys, threading; from bulkinfer.transforms.control import ControlSpec; "
        "from bulkinfer.transforms.shares import Rank; told = threading.Event(); "
        "Rank(ControlSpec(sys.argv[1], {}, 'run-1'), 2).tell(lambda rank: (print(rank), told.set())); told.wait(30)"
    )
    command = [sys.executable, "-c", code, run.output_uri]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    assert sorted(process.communicate(timeout=60)[0].strip() for process in processes) == ["0", "1"]
