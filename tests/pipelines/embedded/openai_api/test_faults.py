"""The server of the tests does to its answers what it is asked to, so that a client's tests mean something."""

from __future__ import annotations

import concurrent.futures
import email.utils
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.openai_server import OpenAIServer, running


@pytest.fixture(scope="module", name="server")
def server_fixture() -> Iterator[OpenAIServer]:
    with running() as server:
        yield server


@pytest.fixture(name="post", scope="module")
def post_fixture(server: OpenAIServer) -> Iterator[Any]:
    with httpx.Client(base_url=server.endpoint, timeout=30) as client:

        def post(text: str = "one two", **more: Any) -> httpx.Response:
            messages = [{"role": "user", "content": text}]
            return client.post("chat/completions", json={"model": "echo", "messages": messages, **more})

        yield post


def _text(answer: httpx.Response) -> Any:
    return answer.json()["choices"][0]["message"]["content"]


def test_it_counts_what_it_saw(server: OpenAIServer, post: Any) -> None:
    server.set(keep_bodies=True, inputs={"bad": {"kind": "status", "code": 500}})
    answers = [post("a"), post("a"), post("bad"), post("b", model="none")]
    embedded = httpx.post(f"{server.endpoint}/embeddings", json={"model": "embed_text", "input": ["x", "y"]})

    stats = server.stats()
    assert [answer.status_code for answer in (*answers, embedded)] == [200, 200, 500, 404, 200]
    assert (stats["calls"], stats["fullest_second"], stats["peak"], stats["throttled"]) == (5, 5, 1, 0)
    assert stats["sizes"] == [1, 1, 1, 1, 2]
    assert stats["inputs"] == {"a": 2, "bad": 1, "b": 1, "x": 1, "y": 1}
    assert stats["answered"] == {"a": 2, "x": 1, "y": 1}
    assert stats["tokens"] == 2 * 6 + 2
    assert len(stats["bodies"]) == 5 and len(stats["peers"]) == 2
    server.set()
    assert server.stats()["calls"] == 0


def test_a_fault_comes_as_often_and_where_it_is_scripted(server: OpenAIServer, post: Any) -> None:
    fault = {"kind": "status", "code": 503, "headers": {"retry-after": "2"}}
    server.set(calls=[{**fault, "from": 1, "to": 3}], inputs={"x": {**fault, "times": 1}})

    assert [post(text).status_code for text in ("a", "a", "a", "a", "x", "x")] == [
        200,
        503,
        503,
        200,
        503,
        200,
    ]
    server.set(calls=[fault])
    assert post().headers["retry-after"] == "2"


@pytest.mark.parametrize("code", [200, 400, 429, 500])
def test_an_error_object_comes_with_any_status(server: OpenAIServer, post: Any, code: int) -> None:
    server.set(calls=[{"kind": "status", "code": code, "message": "no", "error_code": "c", "retry_date": 60}])
    answer = post()

    assert answer.status_code == code
    kind = "server_error" if code == 500 else "invalid_request_error"
    assert answer.json() == {"error": {"message": "no", "type": kind, "param": None, "code": "c"}}
    assert email.utils.parsedate_to_datetime(answer.headers["retry-after"]).tzinfo is not None


def test_a_page_of_a_proxy_comes_in_place_of_the_answer(server: OpenAIServer, post: Any) -> None:
    server.set(calls=[{"kind": "body", "text": "<html>", "code": 502}])
    answer = post()

    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (502, "<html>", "text/html")


def test_members_of_an_answer_are_replaced(server: OpenAIServer, post: Any) -> None:
    usage = {"prompt_tokens_details": {"cached_tokens": 4}}
    choices = [{"finish_reason": "content_filter", "message": {"reasoning_content": "hm"}}]
    server.set(calls=[{"kind": "merge", "body": {"usage": usage, "choices": choices}}])
    answer = post().json()

    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "audio_tokens": 0}
    (choice,) = answer["choices"]
    assert (choice["finish_reason"], choice["message"]["reasoning_content"]) == ("content_filter", "hm")
    assert choice["message"]["content"] == "one two"
    server.set(calls=[{"kind": "say", "text": "no JSON"}])
    assert _text(post(response_format={"type": "json_object"})) == "no JSON"


def test_embeddings_come_in_other_numbers_and_orders(server: OpenAIServer) -> None:
    def indexes(**fault: Any) -> list[int]:
        server.set(calls=[fault])
        answer = httpx.post(
            f"{server.endpoint}/embeddings", json={"model": "embed_text", "input": ["a", "b"]}
        )
        return [one["index"] for one in answer.json()["data"]]

    assert indexes(kind="count", extra=1) == [0, 1, 0]
    assert indexes(kind="count", extra=-1) == [0]
    assert indexes(kind="reverse") == [1, 0]


@pytest.mark.parametrize(("after", "stream"), [(0, False), (20, False), (0, True), (2, True)])
def test_a_connection_is_cut(server: OpenAIServer, post: Any, after: int, stream: bool) -> None:
    server.set(calls=[{"kind": "cut", "after": after}])

    with pytest.raises(httpx.RemoteProtocolError):
        post(stream=stream)
    assert server.stats()["answered"] == {}


def test_a_stream_ends_early_or_with_an_error(server: OpenAIServer, post: Any) -> None:
    server.set(calls=[{"kind": "end", "after": 2}])
    ended = post(stream=True)
    server.set(calls=[{"kind": "event", "after": 1, "name": "error", "data": {"error": {"message": "no"}}}])
    failed = post(stream=True)
    server.set(per_event_ms=1)
    slow = post(stream=True)

    assert [line[:5] for line in ended.text.split("\n\n")] == ["data:", "data:", ""]
    assert failed.text.split("\n\n")[1] == 'event: error\ndata: {"error": {"message": "no"}}'
    assert slow.text.endswith("data: [DONE]\n\n")


def test_calls_above_its_limits_are_refused(server: OpenAIServer, post: Any) -> None:
    server.set(calls_per_second=0, throttle={"code": 503, "headers": {"retry-after": "1"}})
    assert (post().status_code, post().headers["retry-after"]) == (503, "1")
    assert server.stats()["throttled"] == 2
    server.set(requests_per_minute=2)
    assert [post().status_code for _ in range(3)] == [200, 200, 429]
    assert (server.stats()["throttled"], server.stats()["calls"]) == (1, 3)


def test_calls_at_the_same_time_wait_or_are_refused(server: OpenAIServer, post: Any) -> None:
    hanging = {"kind": "hang", "seconds": 60, "times": 1}
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "one"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    server.set(refuse_above=1, calls=[hanging])
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head + body)
        while not server.stats()["peak"]:
            time.sleep(0.02)
        assert post().status_code == 429
    server.set(places=2, base_ms=10)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: post(), range(8))} == {200}


def test_it_asks_for_a_key_and_keeps_to_its_context(server: OpenAIServer, post: Any) -> None:
    server.set(key="k")
    assert post().status_code == 401
    server.set(context_tokens=10)
    assert json.loads(post("a " * 10).text)["error"]["code"] == "context_length_exceeded"
    assert post("a").status_code == 200
