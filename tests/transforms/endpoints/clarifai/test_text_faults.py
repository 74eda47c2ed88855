"""Failures dressed as answers: the text of an error object under a status of success."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bulkinfer.transforms.calls.endpoint import Fault, Verdict
from bulkinfer.transforms.endpoints.clarifai.session import _judge
from bulkinfer.transforms.endpoints.clarifai.text_faults import text_fault
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from hypothesis import given
from hypothesis import strategies as st
from support.answers import returned

#: As `clarifai.runners.models.openai_class` answers an exception.
WRAPPED = {"code": 21313, "description": "Model prediction failed", "details": "Error code: 400"}


def fault_of(value: Any) -> Fault | None:
    text = value if isinstance(value, str) else json.dumps(value)
    return text_fault(returned(string_value=text), "r1")


def test_the_wrappers_error_object_is_the_fault_that_it_tells_of() -> None:
    fault = fault_of(WRAPPED)

    assert fault is not None
    assert (fault.verdict, fault.status_code, fault.error_type) == (
        Verdict.SPLIT,
        21313,
        "model_prediction_failed",
    )
    assert "Model prediction failed: Error code: 400" in fault.message
    assert fault.request_id == "r1"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (21354, Verdict.WAIT),
        (11005, Verdict.THROTTLED),
        (25604, Verdict.SERVER_FULL),
        (30104, Verdict.BAD_INPUT),
        (11008, Verdict.SPLIT),  # a text never stops the job
        (21200, Verdict.SPLIT),
    ],
)
def test_it_is_retried_where_the_table_of_statuses_says_so(code: int, verdict: Verdict) -> None:
    fault = fault_of({**WRAPPED, "code": code})

    assert fault is not None
    assert fault.verdict is verdict
    assert fault.status_code == code


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(429, Verdict.THROTTLED), (503, Verdict.SERVER_FULL), (400, Verdict.SPLIT), ("bad", Verdict.SPLIT)],
)
def test_an_error_of_the_server_behind_the_model_is_one_too(code: Any, verdict: Verdict) -> None:
    fault = fault_of({"error": {"message": "no", "type": "BadRequest", "param": None, "code": code}})

    assert fault is not None
    assert fault.verdict is verdict
    assert fault.message == f"the model answered an error (BadRequest, {code}): no"


@pytest.mark.parametrize(
    "value",
    [
        {**WRAPPED, "code": 10000},
        {**WRAPPED, "code": 3},  # no status
        {**WRAPPED, "code": "21313"},
        {**WRAPPED, "code": True},
        {**WRAPPED, "price": 3},
        {"code": 21313, "description": "a screw"},
        {"error": "none"},
        {"error": {"message": "no"}},
        {"error": {"message": "no", "type": "x", "line": 3}},
        {"error": {"message": "no", "type": "x"}, "answer": 1},
        [WRAPPED],
        "plain text",
        '{"code": 21313,',
        "{" * 5000,
        json.dumps({**WRAPPED, "details": "x" * 70_000}),
    ],
)
def test_any_other_answer_stays_an_answer(value: Any) -> None:
    assert fault_of(value) is None


@given(st.recursive(st.none() | st.integers() | st.text(), lambda each: st.dictionaries(st.text(), each)))
def test_no_text_breaks_the_reader(value: Any) -> None:
    fault_of(value)
    fault_of({**WRAPPED, "description": value, "details": value})
    fault_of({"error": {"message": value, "type": value, "code": value}})


@pytest.mark.parametrize("place", ["part", "string_value", "text"])
def test_one_of_a_batch_is_a_row_and_the_others_are_kept(place: str) -> None:
    bad = json.dumps(WRAPPED)
    response = service_pb2.MultiOutputResponse()
    response.status.code = 10000
    for text in ("good", bad, "good"):
        output = returned(string_value=text)
        if place == "string_value":
            output.data.CopyFrom(resources_pb2.Data(string_value=text))
        elif place == "text":
            output.data.CopyFrom(resources_pb2.Data(text=resources_pb2.Text(raw=text)))
        response.outputs.append(output)

    reply = _judge(response, 3)

    assert [isinstance(answer, Fault) for answer in reply.answers] == [False, True, False]
