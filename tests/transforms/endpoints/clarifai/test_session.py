"""How one answer is judged: a status for the call, one for each output, and a count that must agree."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bulkinfer.transforms.calls.endpoint import Fault, Reply, Verdict
from bulkinfer.transforms.endpoints.clarifai.prepare import ClarifaiCall
from bulkinfer.transforms.endpoints.clarifai.session import _judge
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from hypothesis import given
from hypothesis import strategies as st
from support.calls import call_to, items, texts
from support.fault_server import running
from support.recording_server import field, method, recording_server

SUCCESS, MIXED, FAILURE, INVALID, LOADING = 10000, 10010, 10020, 30104, 21355


def judged(code: int, outputs: list[int], sent: int) -> Reply:
    """What an answer of this status, with outputs of these, means for so many inputs."""
    response = service_pb2.MultiOutputResponse()
    response.status.code = code
    response.status.req_id = "r1"
    for number, status in enumerate(outputs):
        response.outputs.add(id=str(number)).status.code = status
    return _judge(response, sent)


def verdicts(reply: Reply) -> list[Any]:
    """For each output its position, or the verdict on it."""
    return [each.verdict if isinstance(each, Fault) else each[0].id for each in reply.answers]


@pytest.mark.parametrize("code", [0, SUCCESS])
@pytest.mark.parametrize("output", [0, SUCCESS])
def test_an_answer_without_a_complaint_is_paired_by_position(code: int, output: int) -> None:
    reply = judged(code, [output] * 3, 3)

    assert reply.fault is None
    assert verdicts(reply) == ["0", "1", "2"]


@pytest.mark.parametrize("code", [SUCCESS, MIXED])
def test_a_failed_output_is_judged_by_itself_and_leaves_the_others_alone(code: int) -> None:
    reply = judged(code, [SUCCESS, INVALID, SUCCESS, LOADING], 4)

    assert reply.fault is None
    assert verdicts(reply) == ["0", Verdict.BAD_INPUT, "2", Verdict.WAIT]


@pytest.mark.parametrize("code", [0, SUCCESS, MIXED])
@pytest.mark.parametrize("count", [0, 1, 3, 5, 8])
def test_outputs_that_cannot_be_paired_are_never_paired(code: int, count: int) -> None:
    reply = judged(code, [SUCCESS] * count, 4)

    assert reply.fault is not None
    assert (reply.fault.verdict, reply.fault.error_type) == (Verdict.MISMATCH, "output_count")
    assert f"{count} outputs where 4 were asked for" in reply.fault.message
    assert list(reply.answers) == []


@pytest.mark.parametrize(
    ("code", "verdict"), [(FAILURE, Verdict.SPLIT), (LOADING, Verdict.WAIT), (11005, Verdict.THROTTLED)]
)
@pytest.mark.parametrize("outputs", [[], [0, 0], [SUCCESS]], ids=["none", "empty ones", "too few"])
def test_a_call_that_failed_as_a_whole_has_no_outputs(
    code: int, verdict: Verdict, outputs: list[int]
) -> None:
    reply = judged(code, outputs, 2)

    assert reply.fault is not None
    assert (reply.fault.verdict, reply.fault.request_id, reply.request_id) == (verdict, "r1", "r1")
    assert list(reply.answers) == []


def test_a_failure_whose_outputs_speak_for_themselves_keeps_the_good_ones() -> None:
    reply = judged(FAILURE, [SUCCESS, INVALID, 0], 3)

    assert reply.fault is None
    assert verdicts(reply) == ["0", Verdict.BAD_INPUT, Verdict.SPLIT]  # silence in a failure is no success


def test_a_failure_that_no_output_explains_stands() -> None:
    reply = judged(FAILURE, [SUCCESS, SUCCESS], 2)

    assert reply.fault is not None
    assert reply.fault.verdict is Verdict.SPLIT


@pytest.mark.parametrize("kind", ["UNARY_UNARY", "UNARY_STREAMING"])
def test_an_answer_that_is_no_message_costs_the_inputs_that_it_answers(kind: str) -> None:
    """Text that is not UTF-8 makes the whole message unreadable, which gRPC gives as None."""
    good = resources_pb2.Output()
    good.data.text.raw = "fine"
    damaged = b"\n\x02\xc3\x28"  # an id that is not UTF-8

    async def answered(call: ClarifaiCall) -> list[Reply]:
        session = await call.endpoint.open(10)
        try:
            return [await session.send([one.encoded]) for one in items(call, texts(["good", "bad"]))]
        finally:
            await session.close()

    def answer(each: Any) -> list[Any]:
        return [damaged if each.data.parts[0].data.string_value == "bad" else good]

    signatures = {"predict": method(kind, field("text", "STR"))}
    with recording_server(signatures=signatures, answer=answer) as server:
        fine, broken = asyncio.run(answered(call_to(server.endpoint)))

    assert fine.fault is None
    assert broken.fault is not None
    assert (broken.fault.verdict, broken.fault.error_type) == (Verdict.MISMATCH, "unreadable_answer")


codes = st.sampled_from([0, SUCCESS, MIXED, FAILURE, INVALID, LOADING, 11005, 11009, 99999])


@given(codes, st.lists(codes, max_size=6), st.integers(1, 6))
def test_every_answer_is_a_fault_or_has_one_entry_an_input(code: int, outputs: list[int], sent: int) -> None:
    reply = judged(code, outputs, sent)

    if reply.fault is not None:
        assert list(reply.answers) == []
        assert reply.fault.verdict is not Verdict.OK
    else:
        assert len(reply.answers) == sent == len(outputs)
        for position, each in enumerate(reply.answers):
            if isinstance(each, Fault):
                assert outputs[position] != SUCCESS
            else:
                assert each[0].id == str(position)
                assert outputs[position] in (0, SUCCESS)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "grpc", "code": "INVALID_ARGUMENT"},
        {"kind": "status", "code": INVALID},
        {"kind": "output", "code": INVALID},
    ],
    ids=["call", "status", "output"],
)
def test_a_key_that_a_server_repeats_leaves_no_session(
    monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", "t0p-secret")

    async def sent(call: ClarifaiCall) -> Reply:
        session = await call.endpoint.open(10)
        try:
            return await session.send([item.encoded for item in items(call, texts(["a"]))])
        finally:
            await session.close()

    with running() as server:
        server.set(inputs={"a": {**fault, "details": "the key t0p-secret is odd"}})
        reply = asyncio.run(sent(call_to(server.endpoint)))

    (answer,) = [reply.fault] if reply.fault else reply.answers
    assert isinstance(answer, Fault)
    assert "the key *** is odd" in answer.message
