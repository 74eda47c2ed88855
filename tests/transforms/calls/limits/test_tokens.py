"""The limit of tokens a minute, on a simulated clock: never exceeded, nearly all used, settled with what was used."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from bulkinfer.transforms.calls.endpoint import Fault, Reply, Verdict
from bulkinfer.transforms.calls.limits.limiter import Permit
from bulkinfer.transforms.calls.limits.tokens import TokenLimit, answer_limit
from hypothesis import given, settings
from hypothesis import strategies as st
from support.virtual_time import simulate

LIMIT = 6_000
REFUSED = Fault(Verdict.THROTTLED, "rate", "refused")
BROKEN = Fault(Verdict.SPLIT, "broken", "broken")


def token_limit(per_minute: float | None = LIMIT, answer: int | None = 100) -> TokenLimit:
    return TokenLimit(per_minute, answer, clock=lambda: time.monotonic())  # noqa: PLW0108  (looked up at each call)


def used_by(
    limit: TokenLimit, calls: int, at_once: int, answers: tuple[int, int], seed: int = 0
) -> list[tuple[float, int]]:
    """Make calls with prompts of 20 tokens and answers of so many; when each started, and what it used."""
    chance, used = random.Random(seed), list[tuple[float, int]]()

    async def work(numbers: list[int]) -> None:
        while numbers:
            numbers.pop()
            reserved = await limit.start(80, 1)
            now = time.monotonic()
            limit.started(reserved, Permit(now, 1))
            completion = chance.randint(*answers)
            used.append((now, 20 + completion))
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            limit.ended(reserved, Reply(prompt_tokens=20, completion_tokens=completion))

    async def main() -> None:
        numbers = list(range(calls))
        await asyncio.gather(*(work(numbers) for _ in range(at_once)))

    simulate(main)
    return used


def fullest_minute(used: list[tuple[float, int]]) -> int:
    return max(sum(size for at, size in used if first <= at < first + 60) for first, _ in used)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 40), st.tuples(st.integers(1, 40), st.integers(40, 100)), st.integers(0, 9), st.booleans()
)
def test_no_minute_holds_more_tokens_than_allowed(
    at_once: int, answers: tuple[int, int], seed: int, wide: bool
) -> None:
    limit = token_limit(LIMIT * (3 if wide else 1))

    used = used_by(limit, 400, at_once, answers, seed)

    assert len(used) == 400
    assert fullest_minute(used) <= LIMIT * (3 if wide else 1)


@pytest.mark.parametrize("answers", [(100, 100), (1, 20)], ids=["as reserved", "far less than reserved"])
def test_nearly_all_of_the_limit_is_used(answers: tuple[int, int]) -> None:
    used = used_by(token_limit(40_000), 3_000, 32, answers)

    took = used[-1][0] - used[0][0]
    assert sum(size for _, size in used) >= 0.95 * 40_000 * took / 60


def test_prompts_and_answers_without_a_limit_are_learned() -> None:
    """A picture's bytes are no measure of its tokens: the first call may take all there is, and settles."""

    async def main() -> list[float]:
        limit, waits = token_limit(answer=None), []
        for _ in range(6):
            began = time.monotonic()
            reserved = await limit.start(1_000_000, 1)
            waits.append(time.monotonic() - began)
            limit.ended(reserved, Reply(prompt_tokens=80, completion_tokens=20))
        return waits

    waits = simulate(main)
    assert waits[0] == 0
    assert sum(waits) < 6.0


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        (None, False),
        (Reply(REFUSED), False),
        (Reply(BROKEN), True),
        (Reply(), True),
        (Reply(BROKEN, prompt_tokens=1), False),
    ],
    ids=["not sent", "refused", "failed", "no usage told", "failed with usage"],
)
def test_a_call_counts_as_what_it_used(reply: Reply | None, counts: bool) -> None:
    async def main() -> float:
        limit = token_limit(answer=LIMIT - 100)
        limit.ended(await limit.start(80, 1), reply)
        began = time.monotonic()
        await limit.start(80, 1)
        return time.monotonic() - began

    waited = simulate(main)
    assert waited >= 60 if counts else waited < 1


def test_a_lower_limit_holds_at_once_and_a_higher_one_ends_waiting() -> None:
    async def main() -> float:
        limit = token_limit(answer=LIMIT)
        await limit.start(80, 1)
        waiting = asyncio.ensure_future(limit.start(80, 1))
        await asyncio.sleep(5)
        assert not waiting.done()
        began = time.monotonic()
        limit.allow(LIMIT * 1000)
        await waiting
        return time.monotonic() - began

    assert simulate(main) < 1


def test_without_a_limit_nothing_waits() -> None:
    async def main() -> None:
        limit = token_limit(None)
        limit.allow(5)
        for _ in range(1000):
            limit.ended(await limit.start(10**9, 1), Reply())

    simulate(main)


def test_arguments_name_the_most_tokens_of_an_answer() -> None:
    assert answer_limit({"prompt": "$content", "max_output_tokens": 7}) == 7
    assert answer_limit({"max_tokens": "$column.most"}) is None
