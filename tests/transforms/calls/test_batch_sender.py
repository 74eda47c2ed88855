"""One batch sent through random faults, on a simulated clock.

A real server answers with the same kinds of faults in `tables/test_fault_schedules`.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from bulkinfer.transforms.calls.batch_sender import GIVEN_UP_AFTER
from bulkinfer.transforms.calls.endpoint import Fault
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


def test_a_batch_that_waits_for_a_lost_call_leaves_its_slot_to_others() -> None:
    server = PlayedServer([fault_of_grpc(grpc.StatusCode.UNAVAILABLE, "", retry_after_s=30.0)])

    outcome = send_through(server, names_of([2, 2]), in_flight=1)

    assert outcome.predictions == ["b1-0", "b1-1", "b0-0", "b0-1"]


def test_a_batch_that_waits_for_a_starting_model_keeps_its_slot() -> None:
    server = PlayedServer([of_status("MODEL_LOADING", retry_after_s=30.0)])

    outcome = send_through(server, names_of([2, 2]), in_flight=1)

    assert outcome.predictions == ["b0-0", "b0-1", "b1-0", "b1-1"]
