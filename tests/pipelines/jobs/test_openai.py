"""Jobs of `kind: openai` by the command line, against the embedded server's API with faults around it."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.content.media import read_picture
from support.jobs import COMMAND, Ran, photo, rows, run_cli, write_job
from support.openai_server import OpenAIServer, running

SCHEMA = {
    "type": "object",
    "properties": {"language": {"type": "string"}, "sure": {"type": "boolean"}},
    "required": ["language", "sure"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA}}


@pytest.fixture(scope="module")
def started() -> Iterator[OpenAIServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(started: OpenAIServer) -> OpenAIServer:
    started.set()
    return started


def job(folder: Path, server: OpenAIServer | None, name: str, texts: list[str], **sections: Any) -> Path:
    """A job over texts with a column `city`."""
    lines = "".join(
        json.dumps({"text": text, "city": "Bern", "n": at}) + "\n" for at, text in enumerate(texts)
    )
    (folder / "texts.jsonl").write_text(lines)
    model = {
        "kind": "openai",
        "endpoint": server.endpoint if server else "embedded",
        "name": name,
        **sections.pop("model", {}),
    }
    source = {"manifest": "texts.jsonl", "media": "text", "columns": {"content": "text", "id": "text"}}
    return write_job(folder, source=source, model=model, **sections)


def run(folder: Path, *options: str) -> Ran:
    return run_cli("run", "job.yaml", "--json", *options, cwd=folder)


def found(folder: Path, table: str = "predictions") -> dict[str, dict[str, Any]]:
    return {row["input_id"]: row for row in rows(folder / "out", table)}


def test_texts_are_asked_and_their_tokens_counted(tmp_path: Path) -> None:
    job(tmp_path, None, "echo", ["one", "two"], output={"uri": "out", "raw": True})
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    row = found(tmp_path)["two"]
    assert (row["text"], row["finish_reason"], row["model_url"], row["status_code"]) == (
        "two",
        "stop",
        "echo",
        200,
    )
    assert row["prompt_tokens"] > 0 < row["completion_tokens"]
    assert abs(row["created_at"].timestamp() - time.time()) < 60
    assert json.loads(row["raw"])["id"] == row["output_id"]
    assert ran.json["calls"] == 2


def test_messages_are_built_of_system_prompt_and_pictures(tmp_path: Path, server: OpenAIServer) -> None:
    server.set(keep_bodies=True)
    (tmp_path / "a.jpg").write_bytes(photo(1))
    write_job(
        tmp_path,
        source={"files": "*.jpg"},
        model={
            "kind": "openai",
            "endpoint": server.endpoint,
            "name": "describe",
            "arguments": {
                "system": "You label photographs.",
                "prompt": "What is it?",
                "image": "$content",
                "top_p": 1,
            },
        },
    )
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    (body,) = server.stats()["bodies"]
    assert body["messages"][0] == {"role": "system", "content": "You label photographs."}
    text, picture = body["messages"][1]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    head, _, data = picture["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/jpeg;base64", (tmp_path / "a.jpg").read_bytes())
    assert (body["model"], body["top_p"]) == ("describe", 1)
    assert "pixels" in rows(tmp_path / "out", "predictions")[0]["text"]


def test_whole_messages_take_values_of_the_input_anywhere_inside(
    tmp_path: Path, server: OpenAIServer
) -> None:
    server.set(keep_bodies=True)
    messages = [
        {"role": "system", "content": {"template": "You know {city}."}},
        {
            "role": "user",
            "content": [{"type": "text", "text": "$content"}, {"type": "text", "text": "$column.city"}],
        },
    ]
    job(
        tmp_path,
        server,
        "echo",
        ["hello"],
        model={"arguments": {"messages": messages, "metadata": {"row": "$column.n"}}},
    )
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    (body,) = server.stats()["bodies"]
    assert body["messages"] == [
        {"role": "system", "content": "You know Bern."},
        {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "Bern"}]},
    ]
    assert body["metadata"] == {"row": 0}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("method", ["chat", "responses"])
def test_tools_reasons_and_texts_have_columns(
    tmp_path: Path, server: OpenAIServer, method: str, stream: bool
) -> None:
    function = {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    tool = (
        {"type": "function", "function": function} if method == "chat" else {"type": "function", **function}
    )
    job(
        tmp_path,
        server,
        "echo",
        ["Bern?"],
        model={"method": method, "arguments": {"prompt": "$content", "tools": [tool], "stream": stream}},
    )
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    row = found(tmp_path)["Bern?"]
    (call,) = json.loads(row["tool_calls"])
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert (row["finish_reason"], row["text"]) == ("tool_calls", None)
    assert row["prompt_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("method", ["chat", "responses"])
def test_an_answer_that_was_cut_says_so(
    tmp_path: Path, server: OpenAIServer, method: str, stream: bool
) -> None:
    limit = {"max_tokens" if method == "chat" else "max_output_tokens": 2}
    arguments = {"prompt": "$content", "stream": stream, **limit}
    job(tmp_path, server, "echo", ["one two three four"], model={"method": method, "arguments": arguments})

    assert run(tmp_path).code == 0
    row = found(tmp_path)["one two three four"]
    assert (row["finish_reason"], row["completion_tokens"]) == ("length", 2)
    assert "one two three four".startswith(row["text"])


def test_embeddings_go_out_in_full_calls(tmp_path: Path, server: OpenAIServer) -> None:
    texts = [f"text {n}" for n in range(300)]
    model = {"method": "embeddings", "arguments": {"input": "$content", "dimensions": 16}}
    job(tmp_path, server, "embed_text", texts, model=model, calls={"batch_size": 100})
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    assert sorted(server.stats()["sizes"]) == [100, 100, 100]
    by_text = found(tmp_path)
    server.set(inputs={texts[0]: {"kind": "reverse"}})
    job(
        tmp_path, server, "embed_text", texts, model=model, calls={"batch_size": 100}, output={"uri": "again"}
    )
    assert run(tmp_path).code == 0
    again = {row["input_id"]: row["embedding"] for row in rows(tmp_path / "again", "predictions")}
    assert {len(vector) for vector in again.values()} == {16}
    assert {name: row["embedding"] for name, row in by_text.items()} == again
    assert len({tuple(vector) for vector in again.values()}) == 300


def test_structured_answers_are_checked_and_asked_for_once_more(tmp_path: Path, server: OpenAIServer) -> None:
    server.set(
        inputs={
            "Guten Tag": {"kind": "say", "text": '{"language": 3, "sure": true}', "times": 1},
            "Bonjour": {"kind": "say", "text": "It is French, I think."},
        }
    )
    arguments = {"prompt": "$content", "response_format": FORM}
    job(tmp_path, server, "classify", ["Guten Tag", "Bonjour", "Good day"], model={"arguments": arguments})
    ran = run(tmp_path)

    assert ran.code == 3, ran.err
    assert {name: json.loads(row["json"]).keys() for name, row in found(tmp_path).items()} == {
        "Guten Tag": {"language", "sure"},
        "Good day": {"language", "sure"},
    }
    assert found(tmp_path)["Guten Tag"]["attempts"] == 2
    error = found(tmp_path, "errors")["Bonjour"]
    assert (error["error_type"], error["attempts"], error["retryable"]) == ("unfit_answer", 2, False)
    assert "It is French, I think." in error["message"]


@pytest.mark.parametrize(
    ("fault", "error_type", "told"),
    [
        (
            {"kind": "status", "code": 400, "error_code": "context_length_exceeded"},
            "context_length_exceeded",
            "400",
        ),
        (
            {"kind": "merge", "body": {"choices": [{"finish_reason": "content_filter"}]}},
            "content_filter",
            "filter",
        ),
        (
            {"kind": "merge", "body": {"choices": [{"message": {"refusal": "I cannot."}}]}},
            "refused",
            "I cannot.",
        ),
        (
            {"kind": "status", "code": 200, "type": "invalid_request_error"},
            "invalid_request_error",
            "scripted",
        ),
        ({"kind": "status", "code": 500, "message": "CUDA error"}, "server_error", "CUDA error"),
        ({"kind": "merge", "body": {"choices": []}}, "unexpected_answer", "choices"),
    ],
    ids=["too long", "filtered", "refused", "error dressed as an answer", "500", "no choices"],
)
def test_one_bad_input_is_a_row_of_its_own(
    tmp_path: Path, server: OpenAIServer, fault: dict[str, Any], error_type: str, told: str
) -> None:
    server.set(inputs={"bad": fault})
    job(tmp_path, server, "echo", ["bad", "good", "better"])
    ran = run(tmp_path)

    assert ran.code == 3, ran.err
    assert set(found(tmp_path)) == {"good", "better"}
    error = found(tmp_path, "errors")["bad"]
    assert error["error_type"] == error_type
    assert told in error["message"]


ODD = [
    {"usage": [1]},
    {"usage": {"prompt_tokens": "many", "completion_tokens": {}}},
    {"id": 7, "created": "soon"},
    {"choices": ["x"]},
    {"choices": {"0": 1}},
    {"choices": [{"message": 5, "delta": 5}]},
    {"choices": [{"message": {"content": [1, {"text": 2}]}, "delta": {"tool_calls": 5}}]},
    {"choices": [{"message": {"tool_calls": {"a": 1}}, "delta": {"content": {}, "tool_calls": [5]}}]},
    {"error": ["odd", 5]},
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_of_any_other_shape_cost_their_input_alone(
    tmp_path: Path, server: OpenAIServer, stream: bool
) -> None:
    server.set(inputs={f"odd {n}": {"kind": "merge", "body": body} for n, body in enumerate(ODD)})
    texts = [*(f"odd {n}" for n in range(len(ODD))), *(f"good {n}" for n in range(30))]
    arguments = {"prompt": "$content", "stream": stream}
    job(tmp_path, server, "echo", texts, model={"arguments": arguments}, stop={"error_ratio": 1})
    ran = run(tmp_path)

    assert ran.code in (0, 3), ran.err
    done, failed = found(tmp_path), found(tmp_path, "errors")
    assert sorted([*done, *failed]) == sorted(texts)
    assert not any(name.startswith("good") for name in failed)
    assert all(row["message"] for row in failed.values())


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "body", "text": "<html>Please log in</html>"},
        {"kind": "status", "code": 502},
        {"kind": "status", "code": 429, "headers": {"retry-after": "0.2"}},
        {"kind": "status", "code": 429, "retry_date": 1},
        {"kind": "status", "code": 503, "headers": {"retry-after-ms": "200"}},
        {"kind": "cut", "after": 40},
        {"kind": "end", "after": 2},
        {
            "kind": "event",
            "after": 2,
            "data": {"error": {"message": "overloaded", "type": "overloaded_error"}},
        },
    ],
    ids=["page", "gateway", "seconds", "date", "milliseconds", "cut", "ended", "error event"],
)
def test_what_passes_is_asked_again(tmp_path: Path, server: OpenAIServer, fault: dict[str, Any]) -> None:
    server.set(inputs={"slow": {**fault, "times": 1}})
    stream = fault["kind"] in ("end", "event")
    job(
        tmp_path,
        server,
        "echo",
        ["slow", "good"],
        model={"arguments": {"prompt": "$content", "stream": stream}},
    )
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    assert {name: row["text"] for name, row in found(tmp_path).items()} == {"slow": "slow", "good": "good"}
    assert found(tmp_path)["slow"]["attempts"] == 2


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"name": "ecko"}, "no model 'ecko'; did you mean 'echo'?"),
        ({"endpoint": "http://127.0.0.1:9/v1"}, "nothing answers at http://127.0.0.1:9/v1"),
        ({"endpoint": "127.0.0.1/v1"}, "is no address of an HTTP API"),
        ({"endpoint": "http://h/v1/chat/completions"}, "write http://h/v1"),
        ({"method": "predict"}, "write chat, responses or embeddings"),
        ({"arguments": {"prompt": "always the same"}}, "nothing in it comes from the input"),
        ({"arguments": {"prompt": "$content", "n": 2}}, "an input has one answer"),
        ({"arguments": {"image": "$content"}}, "$content is text, not an image"),
        ({"arguments": {"prompt": "$column.town"}}, "names the column 'town'"),
        (
            {
                "arguments": {
                    "prompt": "$content",
                    "response_format": {"type": "json_schema", "json_schema": {}},
                }
            },
            "no schema stands in it",
        ),
        (
            {
                "arguments": {
                    "prompt": "$content",
                    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "text"}}},
                }
            },
            "the schema is none",
        ),
        (
            {"method": "embeddings", "arguments": {"input": "$content", "user": "$column.city"}},
            "write a constant",
        ),
        ({"endpoint": "http://192.0.2.1/v1", "key_env": "HOME"}, "is not encrypted"),
        ({"endpoint": "https://192.0.2.1/v1", "key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set"),
    ],
    ids=str,
)
def test_what_can_never_work_is_told_before_anything_is_sent(
    tmp_path: Path, server: OpenAIServer, model: dict[str, Any], told: str
) -> None:
    job(tmp_path, server, "echo", ["one"], model=model)
    ran = run_cli("plan", "job.yaml", cwd=tmp_path)

    assert ran.code == 2
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert server.stats()["calls"] == 0


@pytest.mark.parametrize("image", ["$content", "$uri"])
def test_pictures_are_made_smaller_unless_the_server_fetches_them(
    tmp_path: Path, server: OpenAIServer, image: str
) -> None:
    server.set(keep_bodies=True)
    (tmp_path / "a.jpg").write_bytes(photo(1, (96, 72)))
    write_job(
        tmp_path,
        source={"files": "*.jpg", "image": {"max_side": 48}},
        model={
            "kind": "openai",
            "endpoint": server.endpoint,
            "name": "describe",
            "arguments": {"image": image},
        },
    )
    ran = run(tmp_path)

    if image == "$uri":
        assert ran.code == 2
        assert "source.image.max_side shrinks pictures before they are sent" in ran.err
        return
    (row,) = rows(tmp_path / "out", "predictions")
    assert (row["width"], row["height"]) == (48, 36)
    (body,) = server.stats()["bodies"]
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    assert read_picture(base64.b64decode(url.partition(",")[2]))[:2] == (48, 36)


def test_a_key_is_sent_and_a_wrong_one_stops_the_job(tmp_path: Path, server: OpenAIServer) -> None:
    server.set(key="sesame")
    job(tmp_path, server, "echo", ["one"], model={"key_env": "OWN_KEY"})

    wrong = run_cli("run", "job.yaml", cwd=tmp_path, env={"OWN_KEY": "mellon-1234"})
    right = run_cli("run", "job.yaml", cwd=tmp_path, env={"OWN_KEY": "sesame"})

    assert (wrong.code, right.code) == (2, 0), (wrong.err, right.err)
    assert "check the key in the variable that model.key_env names" in wrong.err
    assert "mellon-1234" not in wrong.err


@pytest.mark.parametrize(
    "budget", [{"tokens": 300}, {"cost": 3.0, "prices": {"prompt_tokens": 0.01, "completion_tokens": 0.01}}]
)
def test_a_budget_ends_a_run_within_one_call_and_the_next_one_goes_on(
    tmp_path: Path, server: OpenAIServer, budget: dict[str, Any]
) -> None:
    server.set(base_ms=20)
    texts = [f"text number {n:03}" for n in range(60)]
    job(tmp_path, server, "echo", texts, stop=budget, calls={"in_flight": 8})
    first = run(tmp_path)
    tokens = server.stats()["tokens"]
    second = run(tmp_path, "--set", "stop.tokens=100000", "--set", "stop.cost=null")

    assert (first.code, second.code) == (4, 0), (first.err, second.err)
    a_call = tokens / first.json["calls"]
    assert 300 <= tokens < 300 + a_call
    assert (first.json["tokens"], first.json["predictions"]) == (tokens, first.json["calls"])
    if "cost" in budget:
        assert first.json["cost"] == pytest.approx(tokens / 100)
    assert f"stop.{next(iter(budget))} is" in first.json["stopped"]
    assert server.stats()["calls"] == 60
    assert sorted(found(tmp_path)) == texts


def test_plan_estimates_tokens_and_cost(tmp_path: Path, server: OpenAIServer) -> None:
    (tmp_path / "a.txt").write_text("four letters a token " * 20)
    prices = {"call": 1, "prompt_tokens": 0.1, "completion_tokens": 0.01}
    write_job(
        tmp_path,
        source={"files": "*.txt"},
        model={
            "kind": "openai",
            "endpoint": server.endpoint,
            "name": "echo",
            "arguments": {"prompt": "$content", "max_tokens": 100},
        },
        stop={"prices": prices},
    )
    plan = run_cli("plan", "job.yaml", "--json", cwd=tmp_path).json

    assert plan["tokens"] == 420 // 4 + 100
    assert plan["cost"] == pytest.approx(1 + 10.5 + 1)
    assert "\ncost      about 12.5" in run_cli("plan", "job.yaml", cwd=tmp_path).out


def test_a_killed_job_pays_nothing_twice_but_what_was_in_flight(tmp_path: Path, server: OpenAIServer) -> None:
    server.set(base_ms=100, places=64)
    texts = [f"text {n}" for n in range(300)]
    job(tmp_path, server, "echo", texts, calls={"in_flight": 8})
    process = subprocess.Popen(
        [*COMMAND, "run", "job.yaml"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while server.stats()["calls"] < 120 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    assert sorted(found(tmp_path)) == sorted(texts)
    # In flight, and what came home in the last two seconds at 80 a second.
    assert server.stats()["calls"] <= 300 + 8 + 2.5 * 80
