"""What a batch does whose calls are lost: when it is suspected or given up, and what proves that the server lives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import grpc
import pytest
from bulkinfer.transforms.calls.batch_sender import (
    AT_DEADLINE,
    DEADLINES,
    GIVEN_UP_AFTER,
    STREAM_TRIES,
    SUSPECTED_AFTER,
)
from bulkinfer.transforms.calls.endpoint import Fault, Reply
from bulkinfer.transforms.endpoints.clarifai.request.wire import EncodedInput
from bulkinfer.transforms.endpoints.clarifai.statuses import fault_of_grpc
from support.played_server import Outcome, PlayedServer, names_of, of_status, send_through

LOST = fault_of_grpc(grpc.StatusCode.UNAVAILABLE, "gone")
#: Batches of which one is answered each second, from the start.
OTHERS = [[f"o{number}"] for number in range(300)]
SECONDS = {other[0]: float(number) for number, other in enumerate(OTHERS)}
PATIENT = 1000.0


def sizes_of(server: PlayedServer, first: str) -> list[int]:
    """How many inputs of the batch stood in each call of its own, in order; its inputs' names begin so."""
    return [len(call) for call in server.calls if call[0].startswith(first)]


def beside_others(server: PlayedServer, batch: list[str], **options: float) -> Outcome:
    server.slow = {**SECONDS, **server.slow}
    return send_through(server, [batch, *OTHERS], in_flight=1000, **options)  # type: ignore[arg-type]


def test_the_constants_are_those_that_the_chapter_on_calls_names() -> None:
    assert (SUSPECTED_AFTER, GIVEN_UP_AFTER, STREAM_TRIES, DEADLINES, AT_DEADLINE) == (3, 10, 3, 3, 0.95)


def test_a_batch_that_kills_its_calls_is_cut_after_three_and_its_pieces_after_one() -> None:
    (batch,) = names_of([4])
    server = PlayedServer(bad={batch[3]: LOST}, timeout=PATIENT)

    outcome = beside_others(server, batch)

    # The whole three times, the good half, the bad one once, its good input, and the bad one ten times.
    assert sizes_of(server, "b0") == [4, 4, 4, 2, 2, 1] + [1] * GIVEN_UP_AFTER
    assert set(outcome.failures) == {batch[3]}
    assert outcome.failures[batch[3]].retryable
    assert outcome.metrics["splits"] == 2


def test_a_batch_that_is_lost_twice_is_not_cut() -> None:
    (batch,) = names_of([4])

    class Twice(PlayedServer):
        async def send(self, batch: Sequence[EncodedInput]) -> Reply:
            reply = await super().send(batch)
            return Reply(LOST) if len(batch) == 4 and len(sizes_of(self, "b0")) < SUSPECTED_AFTER else reply

    server = Twice(timeout=PATIENT)

    assert not beside_others(server, batch).failures
    assert sizes_of(server, "b0") == [4] * SUSPECTED_AFTER


def test_an_input_alone_is_given_up_after_ten_lost_calls_while_others_are_answered() -> None:
    server = PlayedServer(bad={"b0-0": LOST}, timeout=PATIENT)

    outcome = beside_others(server, ["b0-0"])

    assert sizes_of(server, "b0") == [1] * GIVEN_UP_AFTER
    assert set(outcome.failures) == {"b0-0"}


@pytest.mark.parametrize("size", [1, 4])
def test_nobody_is_suspected_or_given_up_while_the_server_answers_nothing(size: int) -> None:
    server = PlayedServer([LOST] * (2 * GIVEN_UP_AFTER))

    outcome = send_through(server, names_of([size]))

    assert len(outcome.predictions) == size
    assert sizes_of(server, "b0") == [size] * (2 * GIVEN_UP_AFTER + 1)


@pytest.mark.parametrize(
    ("answer", "proves"),
    [
        (of_status("INPUT_INVALID_ARGUMENT"), True),  # whatever the answer, the server lives
        (of_status("MODEL_LOADING"), True),
        (LOST, False),
    ],
    ids=["bad input", "starting", "lost"],
)
def test_any_answer_to_another_batch_proves_that_the_server_lives(answer: Fault, proves: bool) -> None:
    (batch,) = names_of([2])
    others = [[f"o{number}"] for number in range(60)]
    seconds = {other[0]: 1.0 for other in others}
    server = PlayedServer(bad={batch[1]: LOST, **{other[0]: answer for other in others}}, slow=seconds)

    send_through(server, [batch, *others], in_flight=1000, retry_for=60)

    assert (1 in sizes_of(server, "b0")) is proves


def test_an_answer_before_the_batch_began_proves_nothing() -> None:
    server = PlayedServer([None, *[LOST] * 6])

    outcome = send_through(server, [["a"], ["b0-0", "b0-1"]], in_flight=1)

    assert len(outcome.predictions) == 3
    assert set(sizes_of(server, "b0")) == {2, 1} or set(sizes_of(server, "b0")) == {2}


@pytest.mark.parametrize(
    ("size", "tries"), [(2, STREAM_TRIES), (3, 1)], ids=["partial", "nothing of it came"]
)
def test_a_stream_that_broke_after_it_began_is_called_three_times(size: int, tries: int) -> None:
    """The played server says `partial` for an even number of inputs."""
    (batch,) = names_of([size])
    server = PlayedServer([of_status("FAILURE")] * 10, bad={})

    send_through(server, [batch])

    assert [len(call) for call in server.calls][: tries + 1] == [size] * tries + [size // 2]


def test_the_pieces_of_a_batch_take_no_more_than_two_budgets_together() -> None:
    (batch,) = names_of([16])
    full = of_status("RUNNER_NEEDS_RETRY")
    script = [of_status("INPUT_INVALID_ARGUMENT")] + [full] * 10_000  # cut once, then full for ever

    outcome = send_through(PlayedServer(script), [batch], retry_for=100)

    assert len(outcome.failures) == 16
    assert 180 < outcome.seconds < 2 * 100 + 20  # a pause may end a budget up to 5 s early


@pytest.mark.parametrize(("seconds", "late"), [(1.91, True), (1.89, False)])
def test_a_call_that_is_lost_at_its_deadline_counts_as_late_whoever_ended_it(
    seconds: float, late: bool
) -> None:
    """The server may see the deadline first, and tell it by another code."""

    class Cancelled(PlayedServer):
        async def send(self, batch: Sequence[EncodedInput]) -> Reply:
            self.script = [seconds] * 99
            reply = await super().send(batch)
            return reply if self.calls[:-1] else Reply(fault_of_grpc(grpc.StatusCode.CANCELLED, ""))

    server = Cancelled(timeout=2.0)

    send_through(server, names_of([9]))

    assert [len(call) for call in server.calls] == ([9, 3, 3, 3] if late else [9, 9])


@pytest.mark.parametrize("size", [2, 3, 4, 9, 16, 128])
def test_a_batch_that_is_late_is_cut_into_about_the_square_root_of_its_size(size: int) -> None:
    (batch,) = names_of([size])
    server = PlayedServer(slow={batch[-1]: 30.0}, timeout=2.0)

    send_through(server, [batch, *OTHERS], in_flight=2)

    piece = math.isqrt(size)
    first = [piece] * (size // piece) + ([size % piece] if size % piece else [])
    last = first[-1] if first[-1] > 1 else 0
    alone = [1] * last if last else [1]  # the slow one is late for the third time, alone
    assert sizes_of(server, "b0") == [size, *first, *alone]
