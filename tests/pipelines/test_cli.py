"""The command line: one call, the methods, the schema, and the messages for wrong arguments."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess

import httpx
import pytest
from support.jobs import COMMAND, photo, run_cli

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"


def test_methods_lists_parameters_types_and_defaults(tmp_path, endpoint):
    ran = run_cli("methods", "--endpoint", endpoint, "--model", MODEL, cwd=tmp_path)

    assert ran.code == 0, ran.err
    assert "segment_anything(image: Image) -> List[Region]" in ran.out
    assert "multimask_output: bool = False" in ran.out
    assert {line.split("# ")[1] for line in ran.out.splitlines()} == {
        "UNARY_UNARY",
        "UNARY_STREAMING",
        "STREAMING_STREAMING",
    }


def test_methods_as_json_has_one_object_a_method(tmp_path, endpoint):
    ran = run_cli("methods", "--endpoint", endpoint, "--json", cwd=tmp_path)

    names = {method["name"] for method in ran.json}
    assert {"segment_anything", "predict", "generate", "classify"} <= names


def test_call_prints_the_answer_as_json(tmp_path, endpoint):
    ran = run_cli(
        "call",
        "--endpoint",
        endpoint,
        "--method",
        "classify",
        "--inputs",
        '{"text": "guten Morgen, wie geht es dir heute?"}',
        cwd=tmp_path,
    )

    assert ran.code == 0, ran.err
    assert ran.json[0]["name"] == "German"


def test_call_takes_a_file_as_an_argument(tmp_path, endpoint):
    (tmp_path / "a.jpg").write_bytes(photo())

    ran = run_cli(
        "call", "--endpoint", endpoint, "--method", "segment_anything", "--file", "image=a.jpg", cwd=tmp_path
    )

    assert ran.code == 0, ran.err
    assert isinstance(ran.json, list)
    assert ran.json


def test_call_joins_a_stream(tmp_path, endpoint):
    text = "Cats sleep a lot. Dogs bark at cats. The weather is fine. Cats and dogs are animals. Nobody knows why."

    ran = run_cli(
        "call",
        "--endpoint",
        endpoint,
        "--method",
        "summarize",
        "--inputs",
        json.dumps({"text": text, "sentences": 2}),
        cwd=tmp_path,
    )

    assert ran.code == 0, ran.err
    assert "ats" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inputs", "{"], "--inputs: not valid JSON at character 1"),
        (["--inputs", "[1]"], "--inputs: '[1]' is no JSON object"),
        (["--file", "image"], "--file image: expected ARG=PATH"),
        (["--file", "image=gone.jpg"], "--file image=gone.jpg: cannot be read (No such file or directory)"),
        (["--inputs", '{"txt": "a"}'], "txt"),
        (["--method", "clasify"], "classify"),
        (["--model", "https://example.com/x"], "https://clarifai.com/USER/APP/models/MODEL"),
        (["--deployment", "d"], "--deployment d: expected USER_ID/ID"),
    ],
)
def test_a_wrong_call_is_told_what_to_write(tmp_path, endpoint, arguments, message):
    defaults = [] if "--method" in arguments else ["--method", "classify"]

    ran = run_cli("call", "--endpoint", endpoint, *defaults, *arguments, cwd=tmp_path)

    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_serve_tells_the_ports_of_both_apis_and_ends_by_an_interrupt(tmp_path):
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # Tests that run in the background have it ignored, and so would the server.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as server:
        assert server.stderr is not None
        grpc, http = server.stderr.readline(), server.stderr.readline()
        url = re.fullmatch(r"the OpenAI-compatible API is on (http://127.0.0.1:\d+/v1)\n", http)
        assert re.fullmatch(r"serving on http://127.0.0.1:\d+; stop with Ctrl-C\n", grpc)
        assert url is not None
        body = {"model": "classify", "messages": [{"role": "user", "content": "Guten Morgen euch allen"}]}
        answer = httpx.post(f"{url[1]}/chat/completions", json=body, timeout=60).json()
        server.send_signal(signal.SIGINT)

        assert answer["choices"][0]["message"]["content"] == "German"
        assert server.wait(30) == 0
        assert server.stderr.read() == ""


def test_the_second_port_is_the_next_one_and_must_be_free(tmp_path):
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            pytest.skip("another process has the next port")
        second.listen()
        first.close()
        ran = run_cli("serve", "--port", port, cwd=tmp_path)

    assert ran.code == 2
    assert f"cannot listen on 127.0.0.1:{port + 1} for HTTP: the port is taken" in ran.err
    assert "--http-port" in ran.err


def test_schema_prints_json_schema(tmp_path):
    ran = run_cli("schema", cwd=tmp_path)

    assert ran.json["$schema"].startswith("https://json-schema.org/")
    assert "calls" in ran.json["properties"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "gone.yaml"], "gone.yaml: there is no such job file"),
        (["run"], "Missing argument 'JOB'"),
        (["rum"], "No such command 'rum'"),
        (["serve", "--port", "99999"], "99999"),
        (["run", "job.yaml", "--retry-failed", "--force"], "contradict each other"),
        (["run", "job.yaml", "--error-type", "empty"], "add --retry-failed"),
    ],
)
def test_a_wrong_command_line_exits_2(tmp_path, arguments, message):
    (tmp_path / "job.yaml").write_text("source: {files: a}\nmodel: {endpoint: embedded}\noutput: {uri: o}\n")

    ran = run_cli(*arguments, cwd=tmp_path)

    assert ran.code == 2
    assert message in ran.err
