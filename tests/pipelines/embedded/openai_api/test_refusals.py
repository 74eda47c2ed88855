"""What is refused, with which status, and with an error object that names the parameter."""

from __future__ import annotations

import concurrent.futures
import json
from typing import Any

import httpx
import openai
import pytest
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve, serve_http
from bulkinfer.transforms.errors import EndpointError
from openai import OpenAI
from support.embedded import request_of, stub_of

CHAT, EMBED, RESPOND = "chat/completions", "embeddings", "responses"
HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strange"}}}
PATTERN = {"type": "string", "pattern": "^[0-9]{5}$"}
UNMADE = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"properties": {"zip": PATTERN}, "required": ["zip"]}},
}
LISTING = {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}
NAMED = {"type": "function", "function": {"name": "gone"}}


def _content(*parts: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": list(parts)}]}


def _image(url: Any) -> dict[str, Any]:
    return _content({"type": "image_url", "image_url": url})


@pytest.mark.parametrize(
    ("path", "body", "param", "code", "message"),
    [
        (CHAT, {}, "model", "missing_required_parameter", "Missing required parameter: 'model'."),
        (CHAT, {"model": "echo"}, "messages", "missing_required_parameter", "Missing required parameter"),
        (CHAT, {"model": 1}, "model", "invalid_type", "expected a string, but got an integer instead"),
        (CHAT, {"model": "echo", "messages": "x"}, "messages", "invalid_type", "expected an array"),
        (CHAT, {"model": "echo", "messages": []}, "messages", "empty_array", "minimum length 1"),
        (CHAT, {"model": "echo", "messages": ["x"]}, "messages[0]", "invalid_type", "expected an object"),
        (CHAT, {"model": "echo", "messages": [{"role": "x"}]}, None, "invalid_value", "Supported values are"),
        (CHAT, {"model": "echo", "messages": [{"role": "user"}]}, "messages[0].content", None, "Missing"),
        (CHAT, _content({"type": "video"}), None, "invalid_value", "'text', 'image_url', 'input_audio'"),
        (CHAT, _content({"type": "text"}), "messages[0].content[0].text", None, "Missing required"),
        (CHAT, _image("x"), "messages[0].content[0].image_url", "invalid_type", "expected an object"),
        (CHAT, _image({"url": "x"}), "messages[0].content[0].image_url.url", "invalid_image_url", "data URL"),
        (CHAT, _image({"url": "data:image/png;base64,?"}), None, "invalid_base64", "Invalid base64 data"),
        (CHAT, _image({"url": "data:image/png;base64,AAAA"}), None, "invalid_content", "cannot identify"),
        (CHAT, {"model": "echo", "messages": HELLO, "n": 2}, "n", "invalid_value", "'n' must be 1"),
        (CHAT, {"model": "echo", "messages": HELLO, "max_tokens": 0}, "max_tokens", None, "below minimum"),
        (CHAT, {"model": "echo", "messages": HELLO, "stream": 1}, "stream", "invalid_type", "a boolean"),
        (CHAT, {"model": "describe", "messages": HELLO}, "messages", "unsupported_content", "takes image"),
        (CHAT, {"model": "embed_text", "messages": HELLO}, "model", "unsupported_model", "not a chat model"),
        (CHAT, {"model": "classify", "messages": [{"role": "user", "content": " "}]}, None, None, "empty"),
        (
            CHAT,
            {"model": "echo", "messages": HELLO, "tool_choice": "required"},
            "tool_choice",
            None,
            "no 'tools'",
        ),
        (
            CHAT,
            {"model": "echo", "messages": HELLO, "response_format": SCHEMA},
            "response_format.json_schema.schema",
            "invalid_json_schema",
            "Invalid schema",
        ),
        (
            CHAT,
            {"model": "echo", "messages": HELLO, "response_format": UNMADE},
            "response_format.json_schema.schema",
            "invalid_value",
            "no text for the pattern",
        ),
        (
            CHAT,
            {"model": "echo", "messages": [{"role": "user", "content": "a " * 128_000}]},
            "messages",
            "context_length_exceeded",
            "maximum context length is 128000 tokens",
        ),
        (CHAT, {"model": "echo", "messages": HELLO, "tools": [LISTING]}, None, None, "type must be 'object'"),
        (
            CHAT,
            {"model": "echo", "messages": HELLO, "tools": [{}]},
            "tools[0].type",
            None,
            "Missing required",
        ),
        (CHAT, {"model": "echo", "messages": HELLO, "tool_choice": "x"}, "tool_choice", None, "'required'"),
        (
            CHAT,
            {"model": "echo", "messages": HELLO, "tool_choice": NAMED},
            "tool_choice",
            None,
            "not found in",
        ),
        (EMBED, {"model": "embed_text", "input": ""}, "input", None, "cannot be an empty string"),
        (EMBED, {"model": "embed_text", "input": ["a", 1]}, "input[1]", "invalid_type", "takes texts"),
        (EMBED, {"model": "embed_text", "input": ["a"] * 2049}, "input", "array_above_max_length", "2049"),
        (
            EMBED,
            {"model": "embed_text", "input": "a", "dimensions": 9999},
            "dimensions",
            None,
            "from 1 to 4096",
        ),
        (EMBED, {"model": "embed_image", "input": "a"}, "input", "invalid_image_url", "data URL"),
        (EMBED, {"model": "echo", "input": "a"}, "model", "unsupported_model", "not an embedding model"),
        (EMBED, {"model": "embed_text", "input": "a " * 9000}, None, "context_length_exceeded", "9001"),
        (
            EMBED,
            {"model": "embed_text", "input": "a", "encoding_format": "x"},
            None,
            "invalid_value",
            "'base64'",
        ),
        (EMBED, {"model": "embed_text", "input": "\ud800"}, "input", "invalid_value", "surrogates"),
        (RESPOND, {"model": "echo"}, "input", "missing_required_parameter", "Missing required"),
        (
            RESPOND,
            {"model": "echo", "input": [{"role": "user"}]},
            "input[0].content",
            None,
            "Missing required",
        ),
        (
            RESPOND,
            {"model": "echo", "input": "a", "previous_response_id": "r"},
            None,
            None,
            "keeps no responses",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_parameter(
    http: httpx.Client, path: str, body: Any, param: str | None, code: str | None, message: str
) -> None:
    answer = http.post(path, content=json.dumps(body))

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]
    assert param in (None, error["param"])
    assert code in (None, error["code"])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"[1]", b'{"n": NaN}'])
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post(CHAT, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert "JSON body" in answer.json()["error"]["message"] or "object" in answer.json()["error"]["message"]


def test_an_unknown_model_path_and_method_are_not_found(client: OpenAI, http: httpx.Client) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-99")

    assert error.value.code == "model_not_found"
    assert "The model `gpt-99` does not exist" in str(error.value)
    assert http.post("audio/speech").status_code == 404
    assert "Invalid URL (POST /v1/audio/speech)" in http.post("audio/speech").json()["error"]["message"]
    wrong = http.get(CHAT)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert http.post("models").headers["allow"] == "GET"


def test_every_answer_names_its_request(http: httpx.Client) -> None:
    names = {
        answer.headers["x-request-id"] for answer in (http.get("models"), http.get("gone"), http.post(CHAT))
    }

    assert len(names) == 3


def test_a_request_that_is_too_large_is_refused(http: httpx.Client) -> None:
    answer = http.post(CHAT, content=b" " * (64 * 1024**2 + 1))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_both_apis_serve_one_model_with_one_key_and_tell_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TEST", "right")
    url = "https://clarifai.com/u/a/models/m"
    with serve(http_port=0, model_url=url, required_key_env="KEY_OF_TEST", workers=1) as server:
        assert server.http_endpoint is not None
        right = OpenAI(base_url=server.http_endpoint, api_key="right", max_retries=0)
        wrong = OpenAI(base_url=server.http_endpoint, api_key="wrong", max_retries=0)
        with stub_of(server) as stub:
            assert stub.PostModelOutputs(request_of("classify")).status.description
        with pytest.raises(openai.AuthenticationError) as error:
            wrong.models.list()
        nameless = httpx.get(f"{server.http_endpoint}/models")
        with pytest.raises(openai.NotFoundError):
            right.chat.completions.create(model="classify", messages=[{"role": "user", "content": "One."}])
        names = [model.id for model in right.models.list()]
        found = [
            right.chat.completions.create(model=name, messages=[{"role": "user", "content": "One. Two."}])
            for name in (url, "m")
        ]
        vectors = right.embeddings.create(model=url, input="a")

    assert (error.value.code, error.value.status_code) == ("invalid_api_key", 401)
    assert nameless.status_code == 401
    assert "didn't provide" in nameless.json()["error"]["message"]
    assert names == [url]
    assert [one.choices[0].message.content for one in found] == ["One. Two."] * 2
    assert len(vectors.data[0].embedding) == 512


def test_what_goes_beyond_the_limits_is_refused_with_the_time_to_wait() -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two"}], "max_tokens": 10}
    with serve_http(workers=1, requests_per_minute=3, tokens_per_minute=100) as server:
        first, second, third, fourth = (httpx.post(f"{server.endpoint}/{CHAT}", json=body) for _ in range(4))
        # Too many for what is left of the minute's, and for the minute itself.
        huge = httpx.post(f"{server.endpoint}/{CHAT}", json={**body, "max_tokens": 1000})
        models = httpx.get(f"{server.endpoint}/models")

    assert [answer.status_code for answer in (first, second, third, fourth)] == [200, 200, 200, 429]
    assert first.headers["x-ratelimit-limit-requests"] == "3"
    assert [one.headers["x-ratelimit-remaining-requests"] for one in (first, second, third)] == [
        "2",
        "1",
        "0",
    ]
    # 6 of the prompt and 2 of the answer, and none of the 10 that were not used.
    assert first.headers["x-ratelimit-remaining-tokens"] == "92"
    assert first.headers["x-ratelimit-reset-requests"].startswith(("20", "19"))
    assert 0 < int(fourth.headers["retry-after-ms"]) <= 20_000
    assert 1 <= int(fourth.headers["retry-after"]) <= 20
    error = fourth.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in" in error["message"]
    assert huge.status_code == 429
    assert models.status_code == 200


def test_a_taken_http_port_is_named_with_the_way_out(server: EmbeddedServer) -> None:
    port = int(server.endpoint.removesuffix("/v1").rsplit(":", 1)[1])
    with pytest.raises(
        EndpointError, match=f"cannot listen on 127.0.0.1:{port} for HTTP: .*or 0 for a free one"
    ):
        serve_http(port=port, workers=1)


def test_many_clients_at_once_get_their_own_answers(client: OpenAI) -> None:
    def ask(number: int) -> str | None:
        found = client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": f"number {number}"}]
        )
        return found.choices[0].message.content

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(100))) == [f"number {number}" for number in range(100)]


def test_half_an_emoji_comes_back_as_it_went(http: httpx.Client) -> None:
    raw = b'{"model": "echo", "messages": [{"role": "user", "content": "a \\ud83d b"}]}'
    answer = http.post(CHAT, content=raw)

    assert answer.json()["choices"][0]["message"]["content"] == "a \ud83d b"
