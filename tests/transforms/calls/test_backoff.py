"""Pauses between attempts: their bounds, the time budget, and a server's own hints."""

from __future__ import annotations

import random
import time
from email.utils import formatdate
from typing import Any

import pytest
from bulkinfer.transforms.calls.backoff import Backoff
from bulkinfer.transforms.calls.endpoint import Verdict
from bulkinfer.transforms.endpoints.over_grpc.retry_hints import retry_hint
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

RETRIED = [verdict for verdict in Verdict if verdict.retried]
#: First and longest pause in seconds: a model that loads is asked rarely, a full server soon.
BOUNDS = {
    Verdict.WAIT: (1.0, 15.0),
    Verdict.THROTTLED: (0.1, 5.0),
    Verdict.SERVER_FULL: (0.1, 5.0),
    Verdict.DEADLINE: (1.0, 60.0),
    Verdict.TRANSPORT: (0.2, 15.0),
}


def pauses(verdict: Verdict, count: int, **hint: Any) -> list[float]:
    backoff = Backoff(1e6)
    backoff.start()
    found = [backoff.next_pause(verdict, **hint) for _ in range(count)]
    assert None not in found
    return [float(pause) for pause in found if pause is not None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds in a list of one, which stand until a test moves them."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("verdict", RETRIED)
def test_pauses_double_from_the_first_to_the_longest_and_no_further(verdict: Verdict) -> None:
    first, longest = BOUNDS[verdict]
    runs = [pauses(verdict, 12) for _ in range(200)]

    for attempt in range(12):
        at_most = min(longest, first * 2**attempt)
        seen = [run[attempt] for run in runs]
        assert 0 < min(seen) <= max(seen) <= at_most + 0.02
        assert max(seen) > 0.8 * at_most  # and the whole range is used


@pytest.mark.parametrize("verdict", RETRIED)
def test_the_bounds_are_exact_and_begin_anew_after_an_answer(
    verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    first, longest = BOUNDS[verdict]
    backoff = Backoff(1e6)
    backoff.start()
    for _ in range(2):
        assert [backoff.next_pause(verdict) for _ in range(12)] == [
            min(longest, first * 2**attempt) for attempt in range(12)
        ]
        backoff.succeeded()


@pytest.mark.parametrize("verdict", RETRIED)
def test_batches_that_failed_together_do_not_come_back_together(verdict: Verdict) -> None:
    third = sorted(pauses(verdict, 3)[-1] for _ in range(400))
    at_most = min(BOUNDS[verdict][1], BOUNDS[verdict][0] * 4)

    # Full jitter is uniform from nothing to the bound.
    assert third[40] < 0.2 * at_most + 0.02
    assert 0.35 * at_most < third[200] < 0.65 * at_most + 0.02
    assert third[360] > 0.8 * at_most


def test_an_answer_makes_the_next_pauses_short_again() -> None:
    backoff = Backoff(1e6)
    backoff.start()
    for _ in range(8):
        backoff.next_pause(Verdict.SERVER_FULL)
    backoff.succeeded()

    assert float(backoff.next_pause(Verdict.SERVER_FULL) or 9) <= 0.12


def test_the_budget_is_time_from_the_first_attempt_whatever_the_number_of_attempts(
    clock: list[float],
) -> None:
    backoff = Backoff(30.0)
    clock[0] += 500  # waiting for a slot before the first attempt costs nothing
    assert backoff.elapsed == 0.0
    backoff.start()
    backoff.start()
    attempts = 0
    while (pause := backoff.next_pause(Verdict.SERVER_FULL)) is not None:
        clock[0] += pause + 0.01
        attempts += 1
        assert backoff.elapsed < 30.0

    assert attempts > 6
    assert backoff.elapsed > 24.0


def test_a_later_start_does_not_renew_the_budget(clock: list[float]) -> None:
    backoff = Backoff(10.0)
    backoff.start()
    clock[0] += 9.99
    backoff.start()
    backoff.succeeded()

    assert backoff.next_pause(Verdict.WAIT, hint=0.1) is None


def test_an_attempt_that_would_start_after_the_budget_is_not_waited_for(clock: list[float]) -> None:
    backoff = Backoff(10.0)
    backoff.start()

    assert backoff.next_pause(Verdict.THROTTLED, hint=3600) is None
    assert backoff.next_pause(Verdict.THROTTLED) is not None


def test_no_budget_means_one_attempt(clock: list[float]) -> None:
    backoff = Backoff(0.0)
    backoff.start()

    assert all(backoff.next_pause(verdict) is None for verdict in RETRIED)


@given(st.sampled_from(RETRIED), st.floats(0, 600))
def test_a_hint_is_obeyed_with_a_little_jitter_and_never_cut(verdict: Verdict, hint: float) -> None:
    for pause in pauses(verdict, 4, hint=hint):
        assert hint <= pause <= 1.1 * hint + 0.011


def retry_info(seconds: float, *others: Any) -> bytes:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(int(seconds * 1e9))
    details = []
    for message in (*others, info):
        packed = any_pb2.Any()
        packed.Pack(message)
        details.append(packed)
    return bytes(status_pb2.Status(code=14, details=details).SerializeToString())


@pytest.mark.parametrize(
    ("metadata", "seconds"),
    [
        ([("grpc-retry-pushback-ms", "900")], 0.9),
        ([("Retry-After", "7")], 7.0),
        ([("retry-after", " 1.5 ")], 1.5),
        ({"retry-after": "0"}, 0.0),
        ([("other", "1"), ("retry-after", "2")], 2.0),
        ([("grpc-status-details-bin", retry_info(2.25))], 2.25),
        ([("grpc-status-details-bin", retry_info(3, error_details_pb2.DebugInfo(detail="x")))], 3.0),
        ([("retry-after", "soon"), ("grpc-retry-pushback-ms", "40")], 0.04),
    ],
)
def test_a_servers_hint_is_read_from_each_key_where_servers_put_it(metadata: Any, seconds: float) -> None:
    assert retry_hint(metadata) == pytest.approx(seconds)


def test_a_hint_may_be_a_date_as_in_http() -> None:
    assert retry_hint([("retry-after", formatdate(time.time() + 20, usegmt=True))]) == pytest.approx(
        20, abs=2
    )
    assert retry_hint([("retry-after", formatdate(time.time() - 20, usegmt=True))]) == 0.0


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        (),
        {},
        [("retry-after", "")],
        [("retry-after", "-3")],
        [("retry-after", "nan")],
        [("retry-after", "inf")],
        [("retry-after", "1 Jan 99999999999999999999 00:00:00 +0000")],
        [("grpc-retry-pushback-ms", "-1")],
        [("grpc-retry-pushback-ms", "nan")],
        [("grpc-retry-pushback-ms", "inf")],
        [("grpc-retry-pushback-ms", "x")],
        [("grpc-status-details-bin", b"\xff\xff\xff")],
        [("grpc-status-details-bin", status_pb2.Status(code=8).SerializeToString())],
    ],
)
def test_what_cannot_be_read_as_a_hint_is_none(metadata: Any) -> None:
    assert retry_hint(metadata) is None


@given(st.lists(st.tuples(st.sampled_from(["retry-after", "grpc-retry-pushback-ms"]), st.text())))
def test_no_text_in_a_hint_breaks_the_reader(metadata: list[tuple[str, str]]) -> None:
    hint = retry_hint(metadata)

    assert hint is None or hint >= 0


@given(st.binary(max_size=60))
def test_no_bytes_in_a_hint_break_the_reader(value: bytes) -> None:
    hint = retry_hint([("grpc-status-details-bin", value)])

    assert hint is None or hint >= 0
