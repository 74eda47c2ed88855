"""One batch sent through random faults, on a simulated clock.

A real server answers with the same kinds of faults in `tables/test_fault_schedules`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from bulkinfer.transforms.calls.batch_sender import DEADLINES, GIVEN_UP_AFTER
from bulkinfer.transforms.calls.endpoint import Fault, Reply, Verdict
from bulkinfer.transforms.endpoints.clarifai.request.wire import EncodedInput
from bulkinfer.transforms.endpoints.clarifai.statuses import fault_of_grpc
from hypothesis import given, settings
from hypothesis import strategies as st
from support.played_server import (
    BLAMING,
    PASSING,
    RETRY_FOR,
    TOO_LARGE,
    PlayedServer,
    names_of,
    of_status,
    send_through,
)

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
passing = st.sampled_from(PASSING)
slow = st.floats(0.1, 20)
mixed_passing = st.dictionaries(st.integers(0, 39), passing, min_size=1, max_size=8)
mixed = st.dictionaries(st.integers(0, 39), st.sampled_from(PASSING + BLAMING[:2]), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(sizes, st.lists(st.one_of(passing, slow, mixed_passing, st.none()), max_size=GIVEN_UP_AFTER - 1))
def test_no_fault_that_passes_costs_a_row_or_a_second_success(sizes: list[int], script: list[Any]) -> None:
    server = PlayedServer(script)

    outcome = send_through(server, names_of(sizes))

    assert not outcome.failures
    assert set(server.succeeded.values()) == {1}
    assert outcome.seconds < 2 * RETRY_FOR


@settings(max_examples=120, deadline=None)
@given(
    sizes,
    st.lists(
        st.one_of(passing, st.sampled_from(BLAMING), st.just(TOO_LARGE), slow, mixed, st.none()), max_size=15
    ),
    st.dictionaries(st.integers(0, 150), st.sampled_from(BLAMING[:3]), max_size=6),
    st.dictionaries(st.integers(0, 150), st.sampled_from(BLAMING[:2]), max_size=6),
    st.integers(1, 50),
)
def test_every_input_ends_once_whatever_the_faults_and_their_order(
    sizes: list[int], script: list[Any], bad: dict[int, Fault], refused: dict[int, Fault], most: int
) -> None:
    batches = names_of(sizes)
    flat = [name for batch in batches for name in batch]
    server = PlayedServer(
        script,
        {flat[position % len(flat)]: fault for position, fault in bad.items()},
        {flat[position % len(flat)]: fault for position, fault in refused.items()},
        most,
    )

    outcome = send_through(server, batches)

    assert set(server.bad) | set(server.refused) <= set(outcome.failures)
    assert set(server.succeeded.values()) <= {1}
    # One in a lone call per scripted fault, and a split costs at most two calls an input.
    assert (
        len(server.calls)
        <= 2 * len(flat) + len(script) + sum(len(f) for f in script if isinstance(f, dict)) + 8
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 128), st.sets(st.integers(0, 127), max_size=5), st.sampled_from(BLAMING))
def test_bad_inputs_fail_alone_and_the_others_succeed(size: int, bad: set[int], fault: Fault) -> None:
    (batch,) = names_of([size])
    server = PlayedServer(bad={batch[position]: fault for position in bad if position < size})

    outcome = send_through(server, [batch])

    assert set(outcome.failures) == set(server.bad)
    assert all(not failure.retryable for failure in outcome.failures.values())
    assert len(server.calls) <= 1 + 15 * max(1, len(server.bad))


def test_a_server_that_never_answers_costs_its_budget_once_and_may_be_tried_again() -> None:
    server = PlayedServer([PASSING[4]] * 10_000)

    outcome = send_through(server, names_of([32, 32]), retry_for=60)

    assert len(outcome.failures) == 64
    assert all(
        failure.retryable and failure.grpc_code == "UNAVAILABLE" for failure in outcome.failures.values()
    )
    assert 20 < outcome.seconds < 2 * 60 + 20


@pytest.mark.parametrize("script", [[PASSING[4]], [TOO_LARGE, PASSING[4]]], ids=["whole", "split"])
def test_a_wait_for_the_limits_uses_up_no_budget(script: list[Fault]) -> None:
    outcome = send_through(PlayedServer(script), names_of([4]), retry_for=10, hold_s=30)

    assert not outcome.failures


class Unreachable(PlayedServer):
    """Each attempt to connect takes long and fails."""

    async def connect(self) -> Fault | None:
        await asyncio.sleep(20)
        return PASSING[4]


def test_a_connection_that_does_not_come_uses_up_the_budget() -> None:
    outcome = send_through(Unreachable(), names_of([1]), retry_for=10)

    assert list(outcome.failures) == ["b0-0"]
    assert outcome.seconds < 21


def test_an_input_that_kills_its_calls_is_found_while_others_get_through() -> None:
    first, second = names_of([32, 32])
    server = PlayedServer(bad={first[5]: PASSING[4]})
    others = [[f"o{number}"] for number in range(200)]

    outcome = send_through(server, [first, second, *others], in_flight=2)

    assert list(outcome.failures) == [first[5]]
    assert outcome.failures[first[5]].retryable


@pytest.mark.parametrize("as_output", [False, True])
def test_a_fault_that_stops_the_job_ends_its_batch_at_once(as_output: bool) -> None:
    stop = of_status("CONN_KEY_INVALID")
    server = PlayedServer([{1: stop} if as_output else stop])

    outcome = send_through(server, names_of([4]))

    assert outcome.aborted == [stop]
    assert len(server.calls) == 1
    assert outcome.predictions == (["b0-0", "b0-2", "b0-3"] if as_output else [])  # what is paid for is kept
    assert outcome.failures == {}


def test_throttled_calls_are_counted_and_waited_for() -> None:
    outcome = send_through(PlayedServer([of_status("CONN_THROTTLED", retry_after_s=5.0)] * 2), names_of([3]))

    assert len(outcome.predictions) == 3
    assert outcome.metrics["throttled"] == 2
    assert outcome.metrics["retries"] == 2
    assert outcome.seconds >= 10


@pytest.mark.parametrize(("fault", "told"), [(PASSING[5], 2), ({0: PASSING[5]}, 0)], ids=["call", "output"])
def test_the_limits_hear_of_calls_that_a_full_server_refused(fault: Any, told: int) -> None:
    """An output that asks for another try came in a call that was accepted."""
    outcome = send_through(PlayedServer([fault] * 2), names_of([3]))

    assert len(outcome.predictions) == 3
    assert outcome.metrics["throttled"] == told


def test_a_batch_that_waits_for_a_lost_call_leaves_its_slot_to_others() -> None:
    server = PlayedServer([fault_of_grpc(grpc.StatusCode.UNAVAILABLE, "", retry_after_s=30.0)])

    outcome = send_through(server, names_of([2, 2]), in_flight=1)

    assert outcome.predictions == ["b1-0", "b1-1", "b0-0", "b0-1"]


def test_a_batch_that_waits_for_a_starting_model_keeps_its_slot() -> None:
    server = PlayedServer([of_status("MODEL_LOADING", retry_after_s=30.0)])

    outcome = send_through(server, names_of([2, 2]), in_flight=1)

    assert outcome.predictions == ["b0-0", "b0-1", "b1-0", "b1-1"]


def test_a_timeout_that_is_too_short_for_every_call_stops_the_job_and_names_the_key() -> None:
    batches = names_of([32, 32, 1, 1])
    server = PlayedServer(slow={name: 3.0 for batch in batches for name in batch}, timeout=2.0)

    outcome = send_through(server, batches, in_flight=4)

    assert outcome.aborted[0].verdict is Verdict.TOO_SLOW
    assert outcome.aborted[0].message == "every call ended at calls.timeout (2 s)"
    assert outcome.results == []
    assert max(sent_of(server).values()) <= DEADLINES
    assert len(server.calls) <= DEADLINES * len(batches)


@pytest.mark.parametrize("slow", range(0, 64, 5))
@pytest.mark.parametrize("in_flight", [1, 4])
def test_one_input_that_takes_longer_than_the_timeout_costs_its_batch_a_few_calls(
    slow: int, in_flight: int
) -> None:
    batches = names_of([16] * 4)
    name = [name for batch in batches for name in batch][slow]
    server = PlayedServer(slow={name: 30.0}, timeout=2.0)

    outcome = send_through(server, batches, in_flight=in_flight)

    assert set(outcome.failures) == {name}
    assert outcome.failures[name].retryable
    assert "calls.timeout (2 s)" in outcome.failures[name].message
    assert sum(sent_of(server).values()) <= 100
    assert max(sent_of(server).values()) <= DEADLINES
    assert outcome.seconds < 20


@pytest.mark.parametrize("size", [1, 2, 3, 16, 128])
def test_a_batch_that_is_only_too_large_for_the_timeout_is_answered_in_pieces(size: int) -> None:
    (batch,) = names_of([size])

    class Slow(PlayedServer):
        async def send(self, batch: Sequence[EncodedInput]) -> Reply:
            self.slow = {batch[0].segments[0].decode(): 0.3 * len(batch)}
            return await super().send(batch)

    server = Slow(timeout=size * 0.3 - 0.1 if size > 1 else 2.0)

    assert len(send_through(server, [batch]).predictions) == size
    assert max(sent_of(server).values()) <= 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 128), min_size=1, max_size=4), st.sets(st.integers(0, 200), max_size=6))
def test_slow_inputs_fail_alone_after_three_deadlines_while_others_are_answered(
    sizes: list[int], slow: set[int]
) -> None:
    batches = names_of([*sizes, 1, 1, 1])
    flat = [name for batch in batches[: len(sizes)] for name in batch]
    server = PlayedServer(slow={flat[at % len(flat)]: 30.0 for at in slow}, timeout=2.0)
    quick = set(flat) - set(server.slow)

    outcome = send_through(server, batches, in_flight=8)

    assert not outcome.aborted
    assert set(outcome.failures) == set(server.slow)
    assert all(sent_of(server)[name] <= DEADLINES for name in quick)
    assert set(server.succeeded.values()) == {1}


def test_a_server_that_hangs_for_minutes_in_the_middle_costs_time_and_no_input() -> None:
    """It has answered before, so it may again."""

    class Hangs(PlayedServer):
        async def send(self, batch: Sequence[EncodedInput]) -> Reply:
            self.slow = {batch[0].segments[0].decode(): 1e6} if 1010 <= time.monotonic() < 1130 else {}
            return await super().send(batch)

    server = Hangs(script=[11.0], timeout=15.0)

    outcome = send_through(server, names_of([4] * 6), in_flight=1)

    assert not outcome.failures
    assert max(sent_of(server).values()) <= 6


def test_a_cold_start_that_answers_some_calls_is_waited_for() -> None:
    """What the server says tells that it lives, even where no call succeeded yet."""
    loading = of_status("MODEL_LOADING", retry_after_s=10.0)
    server = PlayedServer(script=[3.0, loading] * 6, timeout=2.0)

    outcome = send_through(server, names_of([1]), in_flight=1)

    assert outcome.predictions == ["b0-0"]
    assert not outcome.aborted


def test_a_call_that_is_lost_before_its_deadline_is_no_slow_one() -> None:
    early = fault_of_grpc(grpc.StatusCode.DEADLINE_EXCEEDED, "the server's own")
    server = PlayedServer([early] * (GIVEN_UP_AFTER - 1), timeout=2.0)

    outcome = send_through(server, names_of([4]))

    assert len(outcome.predictions) == 4
    assert not outcome.metrics["splits"]


def sent_of(server: PlayedServer) -> Counter[str]:
    """How often each input was sent."""
    return Counter(name for call in server.calls for name in call)


@settings(max_examples=80, deadline=None)
@given(
    sizes,
    st.lists(st.one_of(passing, st.sampled_from(BLAMING), st.just(TOO_LARGE), slow, mixed), max_size=10),
    st.integers(1, 100),
)
def test_no_more_inputs_are_sent_than_the_budget_allows_whatever_the_faults(
    sizes: list[int], script: list[Any], budget: int
) -> None:
    server = PlayedServer(script)

    outcome = send_through(server, names_of(sizes), budget=budget)

    sent = sum(sent_of(server).values())
    assert sent <= budget
    assert sent == budget or len(outcome.results) == sum(sizes)


@pytest.mark.parametrize("budget", [11, 12])
def test_nobody_waits_for_a_retry_that_no_budget_is_left_for(budget: int) -> None:
    server = PlayedServer([of_status("MODEL_LOADING", retry_after_s=500.0)])

    outcome = send_through(server, names_of([4, 4, 4]), budget=budget, in_flight=2)

    assert len(outcome.predictions) == budget - 4
    assert outcome.failures == {}
    assert outcome.seconds < 1
