"""Credentials, channels, and the single calls of preflight and `bulkinfer call`, against a real server."""

from __future__ import annotations

import contextlib
import pickle
import socket
import time
from collections.abc import Iterator

import grpc
import pytest
from bulkinfer.transforms.endpoints.clarifai.addresses import (
    ModelAddress,
    parse_endpoint,
    parse_model_url,
)
from bulkinfer.transforms.endpoints.clarifai.client import Credentials, check_plaintext
from bulkinfer.transforms.endpoints.clarifai.model_client import ModelClient
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind
from bulkinfer.transforms.endpoints.over_grpc.address import ServerAddress
from bulkinfer.transforms.endpoints.over_grpc.channel import channel_options
from bulkinfer.transforms.errors import (
    CallError,
    CredentialsError,
    EndpointError,
    MethodError,
    ModelNotFoundError,
)
from bulkinfer.transforms.records import Content, Reference
from support.calls import MODEL_URL, call_to
from support.fault_server import FaultServer, running

ADDRESS = parse_model_url(MODEL_URL)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running() as server:
        yield server


def client_of(server: FaultServer, address: ModelAddress = ADDRESS) -> ModelClient:
    return ModelClient(parse_endpoint(server.endpoint), address, timeout=5, retry_for=3)


def said(client: ModelClient, text: str, method: str = "predict") -> list[str]:
    binding = bind(client.methods()[method], {"text": "$content"}, media_type="text")
    outputs = client.call_one(binding, Content(Reference("1", None, "text"), text.encode()))
    return [output.data.parts[0].data.string_value for output in outputs]


def test_a_pat_comes_before_a_session_token() -> None:
    both = Credentials.from_environment({"CLARIFAI_PAT": " p ", "CLARIFAI_SESSION_TOKEN": "s"})
    token = Credentials.from_environment({"CLARIFAI_SESSION_TOKEN": "s"})

    assert both.metadata() == (("authorization", "Key p"),)
    assert token.metadata() == (("x-clarifai-session-token", "s"),)
    assert not Credentials.from_environment({})
    assert Credentials.from_environment({}).metadata() == ()


def test_credentials_never_show_and_never_travel() -> None:
    credentials = Credentials.from_environment({"CLARIFAI_PAT": "hidden-pat"})

    assert "hidden" not in repr(credentials) + str(credentials) + f"{credentials}"
    assert credentials.mask("Key hidden-pat is wrong") == "Key *** is wrong"
    with pytest.raises(TypeError, match="credentials do not travel"):
        pickle.dumps(credentials)


@pytest.mark.parametrize(
    ("endpoint", "allow", "refused"),
    [
        ("http://example.com:80", False, True),
        ("http://example.com:80", True, False),
        ("http://127.0.0.1:80", False, False),
        ("https://example.com", False, False),
    ],
)
def test_a_key_goes_unencrypted_to_this_machine_only(endpoint: str, allow: bool, refused: bool) -> None:
    context = (
        pytest.raises(CredentialsError, match=r"allow_plaintext: true")
        if refused
        else contextlib.nullcontext()
    )

    with context:
        check_plaintext(parse_endpoint(endpoint), Credentials(pat="p"), allow_plaintext=allow)
    check_plaintext(
        parse_endpoint(endpoint), Credentials(), allow_plaintext=allow
    )  # there is nothing to read


def test_the_channel_does_not_retry_by_itself(server: FaultServer) -> None:
    server.set(calls=[{"kind": "grpc", "code": "UNAVAILABLE"}])
    assert ("grpc.enable_retries", 0) in channel_options(ServerAddress("127.0.0.1:1", tls=False))

    with client_of(server) as client, pytest.raises(EndpointError, match="UNAVAILABLE"):
        client._retry_for = 0.01
        said(client, "x")

    assert server.stats()["calls"] == 1


def test_methods_are_asked_of_the_model_where_the_server_keeps_no_versions(server: FaultServer) -> None:
    server.set()
    with client_of(server) as client:
        methods = client.methods()

        assert {name: method.type for name, method in methods.items()} == {
            "predict": "UNARY_UNARY",
            "measure": "UNARY_UNARY",
            "outline": "UNARY_UNARY",
            "pieces": "UNARY_STREAMING",
            "echo": "STREAMING_STREAMING",
        }
        assert client.model_version() == ""


def test_the_version_that_was_asked_for_is_the_version_that_answers(server: FaultServer) -> None:
    server.set()
    with client_of(server, parse_model_url(f"{MODEL_URL}/versions/v7")) as client:
        assert client.model_version() == "v7"


@pytest.mark.parametrize(
    ("method", "text", "answers"), [("predict", "hi", ["ok hi"]), ("pieces", "a b", ["ok a", "ok b"])]
)
def test_one_call(server: FaultServer, method: str, text: str, answers: list[str]) -> None:
    server.set(calls=[{"kind": "status", "code": 21354, "times": 1}])
    with client_of(server) as client:
        assert said(client, text, method) == answers
    assert server.stats()["calls"] == 2


def test_an_input_that_the_model_refuses_is_a_call_error(server: FaultServer) -> None:
    server.set(inputs={"bad": {"kind": "output", "code": 30104}})
    with client_of(server) as client, pytest.raises(CallError, match="INPUT_INVALID_ARGUMENT") as caught:
        said(client, "bad")
    assert caught.value.error_type == "input_invalid_argument"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_server_at_the_address_is_told_within_seconds() -> None:
    endpoint = ServerAddress(f"127.0.0.1:{free_port()}", tls=False)
    started = time.monotonic()

    with (
        ModelClient(endpoint, ADDRESS) as client,
        pytest.raises(EndpointError, match=r"model\.endpoint") as caught,
    ):
        client.methods()

    assert endpoint.url in str(caught.value)
    assert time.monotonic() - started < 8


def test_a_server_that_speaks_something_else_is_told_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = ServerAddress(f"127.0.0.1:{silent.getsockname()[1]}", tls=False)
        started = time.monotonic()
        with (
            ModelClient(endpoint, ADDRESS) as client,
            pytest.raises(EndpointError, match="no server answers"),
        ):
            client.methods()
        assert time.monotonic() - started < 8


@pytest.mark.parametrize(("key", "text"), [(None, "set CLARIFAI_PAT"), ("wrong", "check CLARIFAI_PAT")])
def test_missing_and_wrong_keys(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, key: str | None, text: str
) -> None:
    server.set(key="right")
    if key:
        monkeypatch.setenv("CLARIFAI_PAT", key)

    with pytest.raises(CredentialsError, match=text) as caught:
        call_to(server.endpoint)

    assert server.endpoint in str(caught.value)
    assert server.stats()["calls"] == 0


def test_an_unknown_model(server: FaultServer) -> None:
    server.set(model="another")

    with pytest.raises(ModelNotFoundError, match=r"acme/lab/models/echo.*check model\.url"):
        call_to(server.endpoint)


def test_an_unknown_method_lists_those_there_are(server: FaultServer) -> None:
    server.set()

    with pytest.raises(MethodError, match=r"no method 'predct'.*predict"):
        call_to(server.endpoint, method="predct")


def test_a_prepared_call_is_plain_data(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", "hidden-pat")
    server.set(key="hidden-pat")

    call = call_to(server.endpoint, workers=3)

    again = pickle.loads(pickle.dumps(call))
    assert again == call
    assert again.token == call.token
    assert call.workers == 3
    assert b"hidden-pat" not in pickle.dumps(call)
    assert "hidden-pat" not in repr(call)


def test_grpc_options_are_accepted() -> None:
    grpc.insecure_channel(
        "127.0.0.1:1", options=channel_options(ServerAddress("127.0.0.1:1", tls=False))
    ).close()
