"""The table from codes to verdicts."""

from __future__ import annotations

import grpc
import pytest
from bulkinfer.transforms.calls.endpoint import Verdict, stopping_error
from bulkinfer.transforms.endpoints.clarifai.statuses import (
    STATUSES,
    fault_of_grpc,
    fault_of_http,
    fault_of_status,
    judge_status,
)
from bulkinfer.transforms.endpoints.over_grpc.codes import GRPC, judge_grpc
from bulkinfer.transforms.errors import CredentialsError, EndpointError, MethodError, ModelNotFoundError
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

CODES = dict(status_code_pb2.StatusCode.items())


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("SUCCESS", Verdict.OK),
        ("MIXED_STATUS", Verdict.MIXED),
        ("FAILURE", Verdict.SPLIT),
        ("MODEL_DEPLOYING", Verdict.WAIT),
        ("MODEL_BUSY_PLEASE_RETRY", Verdict.WAIT),
        ("MODEL_LOADING", Verdict.WAIT),
        ("CONN_THROTTLED", Verdict.THROTTLED),
        ("CONN_EXCEED_HOURLY_LIMIT", Verdict.THROTTLED),
        ("RUNNER_NEEDS_RETRY", Verdict.SERVER_FULL),
        ("RPC_REQUEST_QUEUE_FULL", Verdict.SERVER_FULL),
        ("RPC_MAX_MESSAGE_SIZE_EXCEEDED", Verdict.TOO_LARGE),
        ("INPUT_UNSUPPORTED_FORMAT", Verdict.BAD_INPUT),
        ("INPUT_VIDEO_INVALID_URL", Verdict.BAD_INPUT),
        ("CONN_KEY_INVALID", Verdict.CREDENTIALS),
        ("MODEL_DOES_NOT_EXIST", Verdict.NO_MODEL),
        ("DEPLOYMENT_DOES_NOT_EXIST", Verdict.NO_MODEL),
        ("RPC_UNKNOWN_METHOD", Verdict.NO_METHOD),
        ("MODEL_PREDICTION_FAILED", Verdict.SPLIT),
    ],
)
def test_api_statuses_as_the_wire_notes_sort_them(name: str, verdict: Verdict) -> None:
    assert judge_status(CODES[name]) is verdict


@pytest.mark.parametrize(
    ("code", "details", "verdict"),
    [
        ("UNAVAILABLE", "", Verdict.TRANSPORT),
        ("DEADLINE_EXCEEDED", "", Verdict.TRANSPORT),
        ("ABORTED", "", Verdict.TRANSPORT),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (10 vs. 5)", Verdict.TOO_LARGE),
        ("RESOURCE_EXHAUSTED", "Sent message larger than max (10 vs 5)", Verdict.TOO_LARGE),
        ("RESOURCE_EXHAUSTED", "too many requests", Verdict.SERVER_FULL),
        ("UNAUTHENTICATED", "", Verdict.CREDENTIALS),
        ("PERMISSION_DENIED", "", Verdict.CREDENTIALS),
        ("NOT_FOUND", "", Verdict.NO_MODEL),
        ("UNIMPLEMENTED", "", Verdict.NO_API),
        ("INVALID_ARGUMENT", "", Verdict.BAD_INPUT),
        ("UNKNOWN", "Exception calling application: bad", Verdict.SPLIT),
        ("INTERNAL", "Received RST_STREAM with error code 2", Verdict.TRANSPORT),
        ("INTERNAL", "something", Verdict.SPLIT),
    ],
)
def test_grpc_codes_as_the_wire_notes_sort_them(code: str, details: str, verdict: Verdict) -> None:
    assert judge_grpc(grpc.StatusCode[code], details) is verdict


def test_every_grpc_code_but_ok_is_in_the_table() -> None:
    named = {name for names in GRPC.values() for name in names.split()}

    assert named == {code.name for code in grpc.StatusCode} - {"OK"}


def test_every_name_in_the_table_is_a_status_of_the_api_and_stands_once() -> None:
    names = [name for listed in STATUSES.values() for name in listed.split() if not name.endswith("*")]

    assert len(names) == len(set(names))
    assert set(names) <= set(CODES)


def test_the_local_servers_unknown_method_stops_and_a_models_own_exception_does_not() -> None:
    failure = CODES["FAILURE"]

    assert judge_status(failure, "Method foo not found in model class") is Verdict.NO_METHOD
    assert judge_status(failure, "'NoneType' object has no attribute 'shape'") is Verdict.SPLIT
    assert judge_status(failure, "file not found by this method") is Verdict.SPLIT


def test_a_code_newer_than_ours_is_an_unknown_failure_named_by_its_number() -> None:
    fault = fault_of_status(status_pb2.Status(code=99_999, description="new", req_id="r1"))

    assert (fault.verdict, fault.error_type, fault.request_id) == (Verdict.SPLIT, "99999", "r1")
    assert fault.message == "the model answered 99999 (99999): new"


def test_what_a_status_says_is_told_once_and_without_blanks() -> None:
    fault = fault_of_status(
        status_pb2.Status(code=CODES["FAILURE"], description=" bad ", details=" ", internal_details="bad")
    )

    assert fault.message == f"the model answered FAILURE ({CODES['FAILURE']}): bad"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        *((code, Verdict.SERVER_FULL) for code in (502, 503, 504)),
        *((code, Verdict.SPLIT) for code in (428, 430, 500, 501, 505)),
        (429, Verdict.THROTTLED),
    ],
)
def test_http_codes_of_a_server_behind_the_model(code: int, verdict: Verdict) -> None:
    fault = fault_of_http(code, "kind", "what")

    assert (fault.verdict, fault.status_code) == (verdict, code)
    assert fault.message == f"the model answered an error (kind, {code}): what"


@pytest.mark.parametrize(("code", "told"), [(None, "kind"), ("", "kind"), ("busy", "kind, busy")])
def test_an_error_whose_code_is_no_number_has_no_status(code: object, told: str) -> None:
    fault = fault_of_http(code, "kind", "what", "r1")

    assert (fault.verdict, fault.status_code, fault.request_id) == (Verdict.SPLIT, None, "r1")
    assert fault.message == f"the model answered an error ({told}): what"


def test_a_long_stack_trace_is_cut() -> None:
    fault = fault_of_status(status_pb2.Status(code=CODES["FAILURE"], details="line\n" * 1000))

    assert len(fault.message) == 600
    assert "\n" not in fault.message


def test_the_servers_message_limit_is_read() -> None:
    fault = fault_of_grpc(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (900 vs. 500)"
    )

    assert fault.max_message_bytes == 500


@pytest.mark.parametrize(
    ("code", "error", "fix"),
    [
        ("UNAUTHENTICATED", CredentialsError, "CLARIFAI_PAT"),
        ("NOT_FOUND", ModelNotFoundError, "model.url"),
        ("UNIMPLEMENTED", EndpointError, "model.endpoint"),
    ],
)
def test_a_stopping_error_names_place_fact_and_fix(code: str, error: type[Exception], fix: str) -> None:
    made = stopping_error(fault_of_grpc(grpc.StatusCode[code], "no"), "http://h:1 model")

    assert isinstance(made, error)
    assert str(made).startswith(f"http://h:1 model: the call failed with gRPC {code}: no; check {fix}")


def test_an_unknown_method_is_a_method_error() -> None:
    fault = fault_of_status(status_pb2.Status(code=CODES["RPC_UNKNOWN_METHOD"]))

    assert isinstance(stopping_error(fault, "here"), MethodError)
