"""The way of one batch through random faults, on a clock that jumps.

The same faults are played by a real server in test_fault_schedules.
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
    settle,
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

    settled = settle(server, names_of(sizes))

    assert not settled.failures
    assert set(server.succeeded.values()) == {1}
    assert settled.seconds < 2 * RETRY_FOR


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
    sizes: list[int], script: list[Any], bad: dict[int, Fault], refused: dict[int, Fault], room: int
) -> None:
    batches = names_of(sizes)
    flat = [name for batch in batches for name in batch]
    server = PlayedServer(
        script,
        {flat[place % len(flat)]: fault for place, fault in bad.items()},
        {flat[place % len(flat)]: fault for place, fault in refused.items()},
        room,
    )

    settled = settle(server, batches)

    assert set(server.bad) | set(server.refused) <= set(settled.failures)
    assert set(server.succeeded.values()) <= {1}
    # One in a lone call per scripted fault, and a split costs at most two calls an input.
    assert (
        len(server.calls)
        <= 2 * len(flat) + len(script) + sum(len(f) for f in script if isinstance(f, dict)) + 8
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 128), st.sets(st.integers(0, 127), max_size=5), st.sampled_from(BLAMING))
def test_bad_inputs_end_alone_and_the_others_land(size: int, bad: set[int], fault: Fault) -> None:
    (batch,) = names_of([size])
    server = PlayedServer(bad={batch[place]: fault for place in bad if place < size})

    settled = settle(server, [batch])

    assert set(settled.failures) == set(server.bad)
    assert all(not failure.retryable for failure in settled.failures.values())
    assert len(server.calls) <= 1 + 15 * max(1, len(server.bad))


def test_a_server_that_never_answers_costs_its_budget_once_and_may_be_tried_again() -> None:
    server = PlayedServer([PASSING[4]] * 10_000)

    settled = settle(server, names_of([32, 32]), retry_for=60)

    assert len(settled.failures) == 64
    assert all(
        failure.retryable and failure.grpc_code == "UNAVAILABLE" for failure in settled.failures.values()
    )
    assert 20 < settled.seconds < 2 * 60 + 20


@pytest.mark.parametrize("script", [[PASSING[4]], [TOO_LARGE, PASSING[4]]], ids=["whole", "split"])
def test_a_wait_for_the_limits_uses_up_no_budget(script: list[Fault]) -> None:
    settled = settle(PlayedServer(script), names_of([4]), retry_for=10, hold_s=30)

    assert not settled.failures


class Unreachable(PlayedServer):
    """Each attempt to connect takes long and fails."""

    async def connect(self) -> Fault | None:
        await asyncio.sleep(20)
        return PASSING[4]


def test_a_connection_that_does_not_come_uses_up_the_budget() -> None:
    settled = settle(Unreachable(), names_of([1]), retry_for=10)

    assert list(settled.failures) == ["b0-0"]
    assert settled.seconds < 21


def test_an_input_that_kills_its_calls_is_found_while_others_get_through() -> None:
    first, second = names_of([32, 32])
    server = PlayedServer(bad={first[5]: PASSING[4]})
    others = [[f"o{number}"] for number in range(200)]

    settled = settle(server, [first, second, *others], in_flight=2)

    assert list(settled.failures) == [first[5]]
    assert settled.failures[first[5]].retryable


@pytest.mark.parametrize("as_output", [False, True])
def test_a_fault_that_stops_the_job_ends_its_batch_at_once(as_output: bool) -> None:
    stop = of_status("CONN_KEY_INVALID")
    server = PlayedServer([{1: stop} if as_output else stop])

    settled = settle(server, names_of([4]))

    assert settled.aborted == [stop]
    assert len(server.calls) == 1
    assert settled.predictions == (["b0-0", "b0-2", "b0-3"] if as_output else [])  # what is paid for is kept
    assert settled.failures == {}


def test_throttled_calls_are_counted_and_waited_for() -> None:
    settled = settle(PlayedServer([of_status("CONN_THROTTLED", retry_after_s=5.0)] * 2), names_of([3]))

    assert len(settled.predictions) == 3
    assert settled.metrics["throttled"] == 2
    assert settled.metrics["retries"] == 2
    assert settled.seconds >= 10


def test_a_batch_that_waits_for_a_lost_call_leaves_its_place_to_others() -> None:
    server = PlayedServer([fault_of_grpc(grpc.StatusCode.UNAVAILABLE, "", retry_after_s=30.0)])

    settled = settle(server, names_of([2, 2]), in_flight=1)

    assert settled.predictions == ["b1-0", "b1-1", "b0-0", "b0-1"]


def test_a_batch_that_waits_for_a_starting_model_keeps_its_place() -> None:
    server = PlayedServer([of_status("MODEL_LOADING", retry_after_s=30.0)])

    settled = settle(server, names_of([2, 2]), in_flight=1)

    assert settled.predictions == ["b0-0", "b0-1", "b1-0", "b1-1"]
