"""The embedded server's answers on the wire, its faults on request, and its life and death as a process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bulkinfer.pipelines.embedded.running import Addresses, run_forever
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve
from bulkinfer.pipelines.embedded.settings import Settings
from bulkinfer.transforms.errors import ConfigError, EndpointError, JobError
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2
from support.embedded import port_of, request_of, running_server, stub_of
from support.paths import PHOTOS

COINS = (PHOTOS / "coins.jpg").read_bytes()


server_fixture = pytest.fixture(scope="module", name="server")(running_server)


def _text(text: str, name: str = "text") -> resources_pb2.Data:
    data = resources_pb2.Data()
    data.parts.add(id=name).data.string_value = text
    return data


def _image(content: bytes = b"", url: str = "") -> resources_pb2.Data:
    data = resources_pb2.Data()
    data.parts.add(id="image").data.image.CopyFrom(resources_pb2.Image(base64=content, url=url))
    return data


def test_the_model_version_names_every_method_as_get_signatures_does(server: EmbeddedServer) -> None:
    with stub_of(server) as stub:
        version = stub.GetModelVersion(
            service_pb2.GetModelVersionRequest(
                user_app_id=resources_pb2.UserAppIDSet(user_id="u", app_id="a"), model_id="m"
            )
        )
        empty = resources_pb2.Data()
        empty.parts.add()
        asked = stub.PostModelOutputs(request_of("_GET_SIGNATURES", empty))

    assert version.status.code == status_code_pb2.SUCCESS
    assert version.model_version.status.code == status_code_pb2.MODEL_TRAINED
    assert version.model_version.id == "embedded"
    by_name = json.loads(asked.outputs[0].data.text.raw)
    assert {s.name for s in version.model_version.method_signatures} == set(by_name)
    assert {"segment_anything", "predict", "generate", "classify", "summarize", "classify_lines"} <= set(
        by_name
    )
    assert by_name["predict"]["inputFields"][4]["default"] == "all"


def test_a_batch_is_answered_in_order(server: EmbeddedServer) -> None:
    texts = ["good morning to all of you", "guten Morgen euch allen", "bonjour à vous tous, mes amis"]
    with stub_of(server) as stub:
        response = stub.PostModelOutputs(request_of("classify", *map(_text, texts)))

    assert [output.data.parts[0].id for output in response.outputs] == ["return"] * 3
    best = [output.data.parts[0].data.concepts[0].id for output in response.outputs]
    assert best == ["en", "de", "fr"]


def test_one_bad_input_fails_the_whole_call_without_outputs(server: EmbeddedServer) -> None:
    with stub_of(server) as stub:
        response = stub.PostModelOutputs(request_of("picture_size", _image(COINS), _image(b"no picture")))

    assert response.status.code == status_code_pb2.FAILURE
    assert response.status.details.startswith("cannot identify image file")
    assert not response.outputs


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("segment", "Method segment not found in model class"),
        ("summarize", "Method summarize is UNARY_STREAMING and this call is for UNARY_UNARY methods"),
    ],
)
def test_a_method_that_does_not_fit_the_call_fails(
    server: EmbeddedServer,
    method: str,
    message: str,
) -> None:
    with stub_of(server) as stub:
        response = stub.PostModelOutputs(request_of(method, _text("x")))

    assert (response.status.code, response.status.details) == (status_code_pb2.FAILURE, message)


def test_without_a_method_name_predict_is_called_by_the_first_argument_inline(
    server: EmbeddedServer,
) -> None:
    inline = resources_pb2.Data(image=resources_pb2.Image(base64=COINS))
    with stub_of(server) as stub:
        response = stub.PostModelOutputs(request_of(None, inline))

    assert response.status.code == status_code_pb2.SUCCESS
    # A client that sends no parts gets none back.
    assert not response.outputs[0].data.parts
    assert len(response.outputs[0].data.regions) >= 24


def test_a_missing_argument_fails_the_call(server: EmbeddedServer) -> None:
    with stub_of(server) as stub:
        response = stub.PostModelOutputs(request_of("classify", _text("x", name="sentence")))

    assert response.status.details == "Missing required field: text"


def test_generate_takes_exactly_one_input(server: EmbeddedServer) -> None:
    with stub_of(server) as stub:
        (response,) = stub.GenerateModelOutputs(request_of("summarize", _text("One."), _text("Two.")))

    assert response.status.details == "Generate requires exactly one input"


def test_a_stream_is_answered_item_by_item_while_it_goes_on(server: EmbeddedServer) -> None:
    answered = threading.Event()

    def requests() -> Iterator[Any]:
        yield request_of("classify_lines", _text("good morning to all of you", "lines"))
        assert answered.wait(20), "the first answer did not come before the second line"
        yield request_of("classify_lines", _text("guten Morgen euch allen", "lines"))

    best = []
    with stub_of(server) as stub:
        for response in stub.StreamModelOutputs(requests()):
            best.append(response.outputs[0].data.parts[0].data.concepts[0].id)
            answered.set()

    assert best == ["en", "de"]


def test_a_picture_is_fetched_from_its_url(server: EmbeddedServer) -> None:
    with stub_of(server) as stub:
        response = stub.PostModelOutputs(request_of("picture_size", _image(url=str(PHOTOS / "coins.jpg"))))
        missing = stub.PostModelOutputs(request_of("picture_size", _image(url="/nowhere/coins.jpg")))

    assert [part.data.int_value for part in response.outputs[0].data.parts[0].data.parts] == [384, 303]
    assert missing.status.code == status_code_pb2.FAILURE


def test_a_server_open_to_others_reads_no_local_files() -> None:
    with serve(host="0.0.0.0", workers=1) as server, stub_of(server) as stub:
        request = request_of("picture_size", _image(url=(PHOTOS / "coins.jpg").as_uri()))
        response = stub.PostModelOutputs(request)

    assert response.status.code == status_code_pb2.FAILURE
    assert response.status.details.startswith("the URL names a file of the server's machine")


def test_only_the_named_model_and_the_right_key_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TEST", "right")
    model_url = "https://clarifai.com/u/a/models/m"
    right, wrong = (("authorization", "Key right"),), (("authorization", "Key wrong"),)
    with (
        serve(model_url=model_url, required_key_env="KEY_OF_TEST", workers=1) as server,
        stub_of(server) as stub,
    ):
        mine, other = (
            request_of("classify", _text("hello")),
            request_of("classify", _text("hello"), model="x"),
        )
        codes = [
            stub.PostModelOutputs(mine, metadata=right).status.code,
            stub.PostModelOutputs(mine, metadata=(("x-clarifai-session-token", "right"),)).status.code,
            stub.PostModelOutputs(mine, metadata=wrong).status.code,
            stub.PostModelOutputs(mine).status.code,
            stub.PostModelOutputs(other, metadata=right).status.code,
            next(stub.GenerateModelOutputs(other, metadata=right)).status.code,
            next(stub.StreamModelOutputs(iter([mine]), metadata=wrong)).status.code,
        ]

    assert codes == [
        status_code_pb2.SUCCESS,
        status_code_pb2.SUCCESS,
        status_code_pb2.CONN_KEY_INVALID,
        status_code_pb2.CONN_KEY_INVALID,
        status_code_pb2.MODEL_DOES_NOT_EXIST,
        status_code_pb2.MODEL_DOES_NOT_EXIST,
        status_code_pb2.CONN_KEY_INVALID,
    ]


def test_a_taken_port_is_named_with_the_way_out(server: EmbeddedServer) -> None:
    port = port_of(server)
    with pytest.raises(
        EndpointError, match=f"cannot listen on 127.0.0.1:{port}: the port is taken.*or 0 for a free one"
    ):
        serve(port=port)


def test_a_key_variable_that_is_not_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="the environment variable NO_SUCH_KEY holds no key"):
        serve(required_key_env="NO_SUCH_KEY")


@pytest.mark.parametrize(
    "url",
    [
        "https://clarifai.com/u/a/models/m",
        "https://www.Clarifai.com/u/a/models/m/",
        " https://clarifai.com/u/a/models/%6D?tab=api",
    ],
)
def test_a_model_is_named_by_its_url(url: str) -> None:
    assert Settings(model_url=url).model() == ("u", "a", "m")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "m",
        "http://clarifai.com/u/a/models/m",
        "https://example.com/u/a/models/m",
        "https://clarifai.com/u/a/models",
        "https://clarifai.com/u//models/m",
        "https://clarifai.com/u/a/workflows/w",
        "https://clarifai.com/u/a/models/m/versions/v",
        "https://clarifai.com/u/a/models/m/methods/predict",
        "https://user:secret@clarifai.com/u/a/models/m",
    ],
)
def test_a_url_that_names_no_model_is_refused_with_its_right_form(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"is not the URL of a model; write https://clarifai.com/USER/APP/models/MODEL"
    ) as error:
        serve(model_url=url)

    assert "secret" not in str(error.value)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cv2" else find(name))

    with pytest.raises(
        JobError, match=r"not installed \(cv2\); install them with: pip install 'bulkinfer\[demo\]'"
    ):
        serve()


def test_it_serves_in_this_process_until_it_is_told_to_stop() -> None:
    told: list[Addresses] = []
    ready, stop = threading.Event(), threading.Event()

    def on_ready(addresses: Addresses) -> None:
        told.append(addresses)
        ready.set()

    options = {"on_ready": on_ready, "stop": stop}
    thread = threading.Thread(target=run_forever, args=(Settings(workers=1),), kwargs=options)
    thread.start()
    assert ready.wait(30)
    assert told[0].grpc is not None and told[0].http is None
    port = int(told[0].grpc.rsplit(":", 1)[1])
    assert _listens(port)
    stop.set()
    thread.join(30)

    assert not thread.is_alive()
    assert not _listens(port)


def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "import sys, time\nfrom bulkinfer.pipelines.embedded.server import serve\n"
        "server = serve()\nprint(server.endpoint, flush=True)\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rsplit(":", 1)[1])
        assert _listens(port)
        parent.kill()

    assert _comes_true(lambda: not _listens(port), seconds=15)


def test_a_worker_that_dies_fails_its_calls_and_is_replaced() -> None:
    with serve(workers=1) as server, stub_of(server) as stub:
        request = request_of("picture_size", _image(COINS))
        assert stub.PostModelOutputs(request).status.code == status_code_pb2.SUCCESS
        for worker in _workers_of(server.pid):
            os.kill(worker, signal.SIGKILL)

        assert _comes_true(
            lambda: stub.PostModelOutputs(request).status.code == status_code_pb2.SUCCESS, seconds=30
        )


def _workers_of(pid: int) -> list[int]:
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            command = path.with_name("cmdline").read_bytes()
            if int(fields[1]) == pid and b"spawn_main" in command:
                found.append(int(path.parent.name))
    assert found
    return found


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _comes_true(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False
