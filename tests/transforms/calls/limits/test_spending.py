"""Budgets of tokens and cost: no more than one call goes beyond them, whatever calls cost and however they overlap."""

from __future__ import annotations

import asyncio
import random

import pytest
from bulkinfer.transforms.calls.endpoint import Fault, Reply, Verdict
from bulkinfer.transforms.calls.limits.spending import Spending
from bulkinfer.transforms.job.config import StopConfig
from hypothesis import given
from hypothesis import strategies as st

LOST = Fault(Verdict.TRANSPORT, "lost", "lost")


async def spend(
    stop: StopConfig, prices: list[int], at_once: int, seed: int = 0
) -> tuple[int, int, list[str]]:
    """Make calls of these prices; the tokens spent, the most calls under way, and what was told."""
    said: list[str] = []
    spending, left, chance = Spending(stop, 1, said.append), iter(prices), random.Random(seed)
    spent = under_way = most = 0

    async def work() -> None:
        nonlocal spent, under_way, most
        for price in left:
            if not await spending.start():
                return
            under_way += 1
            most = max(most, under_way)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            under_way -= 1
            spent += price
            await spending.ended(Reply(prompt_tokens=price), 1)

    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(at_once))), 30)
    return spent, most, said


@given(
    budget=st.integers(1, 500),
    prices=st.lists(st.integers(1, 20), min_size=1, max_size=80),
    at_once=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_what_is_spent_ends_within_the_dearest_call_of_the_budget(
    budget: int, prices: list[int], at_once: int, seed: int
) -> None:
    prices = [max(prices), *prices]  # the first call is the dearest, so none is dearer than all before it
    spent, _, said = asyncio.run(spend(StopConfig(tokens=budget), prices, at_once, seed))

    assert spent < budget + max(prices)
    assert (spent >= budget) == (len(said) == 1)
    assert spent >= budget or spent == sum(prices)


def test_calls_overlap_once_a_price_is_known_and_while_the_budget_lasts() -> None:
    spent, most, said = asyncio.run(spend(StopConfig(tokens=10_000), [1] * 200, 8))

    assert (spent, most, said) == (200, 8, [])


def test_a_job_without_budgets_waits_for_nothing() -> None:
    _, most, said = asyncio.run(spend(StopConfig(), [5] * 50, 8))
    assert (most, said) == (8, [])


def test_a_call_that_was_not_sent_costs_nothing_and_one_that_failed_tells_no_price() -> None:
    async def play() -> tuple[bool, bool]:
        spending = Spending(StopConfig(tokens=10), 1, print)
        assert await spending.start()
        await spending.ended(None, 1)
        assert await spending.start()
        await spending.ended(Reply(LOST), 1)
        assert await spending.start()
        second = asyncio.ensure_future(spending.start())
        await asyncio.sleep(0.01)
        waited = not second.done()
        await spending.ended(Reply(prompt_tokens=1), 1)
        return waited, await second

    assert asyncio.run(play()) == (True, True)


def test_prices_make_the_cost_and_workers_divide_it() -> None:
    prices = {"call": 1, "input": 0.5, "prompt_tokens": 0.1, "completion_tokens": 0.2}
    stop, said = StopConfig(cost=10, prices=prices), []

    async def play() -> bool:
        spending = Spending(stop, 2, said.append)
        assert await spending.start()
        await spending.ended(Reply(prompt_tokens=10, completion_tokens=5), 2)  # 1 + 1 + 1 + 1
        assert await spending.start()
        await spending.ended(Reply(), 1)  # 1.5
        return await spending.start()

    assert not asyncio.run(play())
    assert said == [
        "stop.cost is 10.0, and one of 2 workers has spent its part of it, 5.5; run the same command again for the "
        "next inputs"
    ]


@pytest.mark.parametrize(
    "stop", [{"cost": 1}, {"cost": 1, "prices": {"call": 0}}, {"tokens": 0}, {"cost": 0}], ids=str
)
def test_budgets_that_mean_nothing_are_refused(stop: dict) -> None:
    with pytest.raises(ValueError, match=r"prices|greater than"):
        StopConfig(**stop)
