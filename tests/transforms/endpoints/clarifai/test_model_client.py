"""What the preflight tells its user when the server, its key or its state is at fault."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from bulkinfer.transforms.endpoints.clarifai.addresses import parse_endpoint, parse_model_url
from bulkinfer.transforms.endpoints.clarifai.client import Credentials
from bulkinfer.transforms.endpoints.clarifai.model_client import ModelClient
from bulkinfer.transforms.endpoints.over_grpc.address import ServerAddress
from bulkinfer.transforms.endpoints.over_grpc.channel import channel_options
from bulkinfer.transforms.errors import CredentialsError, EndpointError, ModelNotFoundError
from clarifai_grpc.grpc.api import service_pb2
from support.calls import MODEL_URL
from support.fault_server import SIGNATURES

SUCCESS, FAILURE, KEY_NOT_FOUND, NO_MODEL, LOADING = 10000, 10020, 11009, 21200, 21355
ANSWERS = {
    "GetModel": service_pb2.SingleModelResponse,
    "GetModelVersion": service_pb2.SingleModelVersionResponse,
    "PostModelOutputs": service_pb2.MultiOutputResponse,
}


class Scripted:
    """Answers each call of a name with its next status; the last one stays."""

    def __init__(self, **script: list[Any]) -> None:
        self.script = script
        self.seen: list[str] = []
        self.endpoint = ""

    def handler(self, name: str) -> Any:
        def answer(request: bytes, context: Any) -> bytes:
            self.seen.append(name)
            statuses = self.script.get(name, [grpc.StatusCode.UNIMPLEMENTED])
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            if isinstance(status, grpc.StatusCode):
                context.abort(
                    status, f"scripted for {dict(context.invocation_metadata()).get('authorization')}"
                )
            response = ANSWERS[name]()
            response.status.code = status
            response.status.details = (
                f"scripted for {dict(context.invocation_metadata()).get('authorization')}"
            )
            if name == "PostModelOutputs" and status == SUCCESS:
                output = response.outputs.add()
                output.status.code = SUCCESS
                output.data.text.raw = json.dumps(SIGNATURES)
            return bytes(response.SerializeToString())

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def scripted(**script: list[Any]) -> Iterator[Scripted]:
    served = Scripted(**script)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    handlers = {name: served.handler(name) for name in ANSWERS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("clarifai.api.V2", handlers),))
    served.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield served
    finally:
        server.stop(None).wait()


def methods(served: Scripted, **options: Any) -> dict[str, Any]:
    given = {"timeout": 5, "retry_for": 20, **options}
    with ModelClient(parse_endpoint(served.endpoint), parse_model_url(MODEL_URL), **given) as client:
        return client.methods()


@pytest.mark.parametrize("call", ["GetModel", "GetModelVersion", "PostModelOutputs"])
@pytest.mark.parametrize("state", [LOADING, grpc.StatusCode.UNAVAILABLE], ids=["loading", "unavailable"])
def test_a_starting_model_is_waited_for(call: str, state: Any) -> None:
    script: dict[str, list[Any]] = {"PostModelOutputs": [SUCCESS], call: [state, state, SUCCESS]}
    if call == "GetModel":
        script["GetModelVersion"] = [SUCCESS]

    with scripted(**script) as served:
        assert set(methods(served)) == set(SIGNATURES)
        assert served.seen.count(call) == 3  # one call an attempt: the channel retries nothing by itself


@pytest.mark.parametrize("call", ["GetModelVersion", "PostModelOutputs"])
@pytest.mark.parametrize(
    "state",
    [LOADING, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED],
    ids=["loading", "deadline", "full"],
)
def test_a_model_that_does_not_start_in_time_is_told_and_not_taken_for_an_older_one(
    call: str, state: Any
) -> None:
    began = time.monotonic()

    with (
        scripted(**{"PostModelOutputs": [SUCCESS], call: [state]}) as served,
        pytest.raises(EndpointError, match=rf"{MODEL_URL}: .*(LOADING|gRPC).*retry_for=0\.5 s, so raise it"),
    ):
        methods(served, retry_for=0.5)

    assert time.monotonic() - began < 5


def test_an_older_model_takes_the_question_for_an_input_and_has_no_methods() -> None:
    with scripted(PostModelOutputs=[FAILURE]) as served:
        assert methods(served) == {}


@pytest.mark.parametrize("call", ["GetModel", "GetModelVersion", "PostModelOutputs"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (KEY_NOT_FOUND, CredentialsError),
        (grpc.StatusCode.UNAUTHENTICATED, CredentialsError),
        (grpc.StatusCode.PERMISSION_DENIED, CredentialsError),
        (NO_MODEL, ModelNotFoundError),
        (grpc.StatusCode.NOT_FOUND, ModelNotFoundError),
    ],
)
def test_what_will_never_work_is_told_at_once_and_without_the_key(
    monkeypatch: pytest.MonkeyPatch, call: str, answer: Any, error: type[Exception]
) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", "hidden-pat")
    script: dict[str, list[Any]] = {"PostModelOutputs": [SUCCESS], call: [answer]}

    with scripted(**script) as served, pytest.raises(error, match=r"\*\*\*.*check") as caught:
        methods(served)

    assert "hidden-pat" not in str(caught.value)
    assert served.seen.count(call) == 1


@pytest.mark.parametrize("name", ["CLARIFAI_PAT", "CLARIFAI_SESSION_TOKEN"])
def test_a_key_that_a_busy_server_repeats_is_masked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hidden-key")

    with (
        scripted(PostModelOutputs=[grpc.StatusCode.UNAVAILABLE]) as served,
        pytest.raises(EndpointError) as caught,
    ):
        methods(served, retry_for=0.01)

    assert "hidden-key" not in str(caught.value)


def test_a_key_may_come_from_a_mounted_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(" from-file \n")

    from_file = Credentials.from_environment({"CLARIFAI_PAT_FILE": str(file), "CLARIFAI_SESSION_TOKEN": "s"})
    both = Credentials.from_environment({"CLARIFAI_PAT_FILE": str(file), "CLARIFAI_PAT": "p"})

    assert from_file.metadata() == (("authorization", "Key from-file"),)
    assert both.metadata() == (("authorization", "Key p"),)


@pytest.mark.parametrize(
    ("content", "text"), [(None, "cannot be read"), (b"\n", "is empty"), (b"\xff\xfe", "cannot be")]
)
def test_a_key_file_that_holds_no_key_is_told(tmp_path: Path, content: bytes | None, text: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CredentialsError, match=f"CLARIFAI_PAT_FILE: .*key {text}.*write the key into it"):
        Credentials.from_environment({"CLARIFAI_PAT_FILE": str(file)})


def test_a_session_token_shows_nowhere_either() -> None:
    credentials = Credentials.from_environment({"CLARIFAI_SESSION_TOKEN": "hidden-token"})

    assert repr(credentials) == "Credentials(session_token=***)"
    assert credentials.mask("token hidden-token") == "token ***"
    assert repr(Credentials()) == "Credentials(none)"


def test_channels_take_answers_above_the_default_of_four_mebibytes() -> None:
    options = dict(channel_options(ServerAddress("127.0.0.1:1", tls=False)))

    assert options["grpc.max_receive_message_length"] >= 128 << 20
    assert options["grpc.max_send_message_length"] >= 128 << 20
    assert options["grpc.service_config_disable_resolution"] == 1
    assert "retryPolicy" not in options["grpc.service_config"]
