"""The embedded server's OpenAI-compatible API in a process of its own, with limited capacity and every fault asked for.

Answers, usage and error objects are the embedded server's own; its model `echo` answers with what it is asked. Around
them this server works on at most `places` calls at a time for `base_ms + per_item_ms * n` each, keeps limits, and
counts what it saw: calls, refusals, tokens, the fullest one-second window, and how often each input came. Tests talk
to it by two more paths that take and give JSON: `/faults/set` and `/faults/stats`.

Settings:
    places            so many calls at a time, others wait (16)
    refuse_above      so many calls at a time, others get 429
    base_ms, per_item_ms, per_event_ms       how long a call takes, and each event of a stream
    calls_per_second  others get 429, in any window of a second
    throttle          {code, headers} of these two refusals (429, none)
    requests_per_minute, tokens_per_minute, burst_seconds    the embedded server's own limits, told in headers
    context_tokens    of prompt and answer (128,000)
    key               the bearer token that calls must carry
    keep_bodies       keep what was sent, for `stats()["bodies"]`
    inputs, calls     faults by an input's text, or by the calls' numbers from 0: a list of {from, to, ...}

A fault is a dict with a `kind`:
    status   {code, message, type, error_code, param, headers, retry_date}    an error object; code 200 dresses it as an
             answer; retry_date is a Retry-After of so many seconds as a date
    body     {code, text, content_type}      anything, such as a proxy's page
    merge    {body}                          the answer, or each event of a stream, with these members in place
    say      {text}                          a chat's answer is this text
    count    {extra}                         so many embeddings more or fewer than inputs
    reverse  {}                              the embeddings in reverse order, each with its index
    hang     {seconds}                       the answer comes so much later
    cut      {after}                         the connection is cut after so many bytes, or events of a stream
    end      {after}                         the stream ends after so many events as if all were well
    event    {after, data, name}             the stream ends with this in place of the event of that number
and optionally `times`: only so often.

Run as a server: python -m support.openai_server --port 0
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import email.utils
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from bulkinfer.pipelines.embedded.openai_api.api_error import ApiError
from bulkinfer.pipelines.embedded.openai_api.catalogue import Catalogue
from bulkinfer.pipelines.embedded.openai_api.limits import RateLimits
from bulkinfer.pipelines.embedded.openai_api.service import CONTEXT_TOKENS, Reply, Service, written_event
from bulkinfer.pipelines.embedded.workers import Workers

__all__ = ["OpenAIServer", "running"]

Fault = Mapping[str, Any]


@dataclasses.dataclass
class BrokenReply(Reply):
    """A reply whose way out a fault breaks."""

    fault: Fault = dataclasses.field(default_factory=dict)


class FaultyService(Service):
    """The embedded server's answers, with limits, latency and faults around them; everything runs on one loop."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.set({})

    def set(self, settings: dict[str, Any]) -> None:
        """Start over with these settings."""
        self.settings = settings
        self.key = settings.get("key")
        self.context_tokens = settings.get("context_tokens", CONTEXT_TOKENS)
        self.limits = RateLimits(
            settings.get("requests_per_minute"),
            settings.get("tokens_per_minute"),
            burst_seconds=settings.get("burst_seconds", 60),
        )
        self.slots = asyncio.Semaphore(settings.get("places", 16))
        self.left: dict[int, int] = {}
        self.arrivals: list[float] = []
        self.refused: list[float] = []
        self.sizes: list[int] = []
        self.bodies: list[Any] = []
        self.inputs: collections.Counter[str] = collections.Counter()
        self.answered: collections.Counter[str] = collections.Counter()
        self.peers: collections.Counter[str] = collections.Counter()
        self.accepted: collections.deque[float] = collections.deque()
        self.busy = self.peak = self.tokens = 0
        self.last_end = 0.0

    def stats(self) -> dict[str, Any]:
        """What was seen since `set`."""
        fullest, start = 0, 0
        for end, at in enumerate(self.arrivals):
            while self.arrivals[start] <= at - 1.0:
                start += 1
            fullest = max(fullest, end - start + 1)
        return {
            "calls": len(self.arrivals),
            "throttled": len(self.refused),
            "fullest_second": fullest,
            "peak": self.peak,
            "tokens": self.tokens,
            "sizes": self.sizes,
            "arrivals": self.arrivals,
            "refused": self.refused,
            "inputs": self.inputs,
            "answered": self.answered,
            "peers": self.peers,
            "bodies": self.bodies,
            "seconds": (self.last_end - self.arrivals[0]) if self.arrivals else 0.0,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/faults/set":
            self.set(json.loads(await request.read()))
            return web.json_response({})
        if request.path == "/faults/stats":
            return web.json_response(self.stats())
        return await super().handle(request)

    async def answer(self, path: str, body: dict[str, Any]) -> Reply:
        keys = _keys(body)
        self._arrive(keys, body)
        fault = self._of_call(len(self.arrivals) - 1) or next(
            (fault for key in keys if (fault := self._take(self.settings.get("inputs", {}).get(key)))), None
        )
        kind = fault["kind"] if fault is not None else ""
        try:
            async with self._slot(len(keys), fault):
                if fault is not None and kind in ("status", "body"):
                    return _refusal(fault)
                reply = await super().answer(
                    path, _saying(body, fault["text"]) if fault and kind == "say" else body
                )
        except ApiError as error:
            if error.status == 429:
                self.refused.append(time.monotonic())
            raise
        finally:
            self.last_end = time.monotonic()
        self.tokens += reply.tokens
        if fault is not None:
            _alter(reply, fault)
        if kind not in ("count", "cut", "end", "event"):
            self.answered.update(keys)
        return BrokenReply(**vars(reply), fault=fault) if fault and kind in ("cut", "end", "event") else reply

    async def send(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        self.peers[str(request.transport.get_extra_info("peername") if request.transport else "")] += 1
        fault = reply.fault if isinstance(reply, BrokenReply) else None
        if fault is None and not self.settings.get("per_event_ms"):
            if isinstance(reply.body, bytes):
                content_type = reply.headers.pop("content-type")
                return web.Response(
                    body=reply.body, status=reply.status, headers=reply.headers, content_type=content_type
                )
            return await super().send(request, reply)
        return await self._send_badly(request, reply, fault or {"kind": ""})

    async def _send_badly(self, request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
        response = web.StreamResponse(headers=reply.headers)
        after = fault.get("after", 0)
        if reply.events is None:
            body = json.dumps(reply.body).encode()
            response.content_type, response.content_length = "application/json", len(body)
            pieces = [body[:after]] if after else []
        else:
            response.content_type = "text/event-stream"
            pieces = [written_event(name, value) for name, value in reply.events]
        if fault["kind"] != "cut" or pieces:
            await response.prepare(request)
        for number, piece in enumerate(pieces):
            if fault["kind"] and reply.events is not None and number == after:
                break
            await asyncio.sleep(self.settings.get("per_event_ms", 0) / 1000)
            await response.write(piece)
        if fault["kind"] == "event":
            await response.write(written_event(fault.get("name", ""), fault["data"]))
        if fault["kind"] == "cut":
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write_eof()
        return response

    def _arrive(self, keys: list[str], body: dict[str, Any]) -> None:
        """Count a call; ApiError if a limit of this server refuses it."""
        now = self.last_end = time.monotonic()
        self.arrivals.append(now)
        self.sizes.append(len(keys))
        if self.settings.get("keep_bodies"):
            self.bodies.append(body)
        above = self.settings.get("refuse_above")
        if self._over_limit(now) or (above is not None and self.busy >= above):
            self.refused.append(now)
            throttle = self.settings.get("throttle", {})
            headers = throttle.get("headers")
            raise ApiError(throttle.get("code", 429), "Too many requests.", kind="requests", headers=headers)
        self.inputs.update(keys)

    def _over_limit(self, now: float) -> bool:
        """Whether this arrival exceeds the rate limit; a refused call does not count against it."""
        limit = self.settings.get("calls_per_second")
        if limit is None:
            return False
        while self.accepted and self.accepted[0] <= now - 1.0:
            self.accepted.popleft()
        if len(self.accepted) >= limit:
            return True
        self.accepted.append(now)
        return False

    @contextlib.asynccontextmanager
    async def _slot(self, count: int, fault: Fault | None) -> Any:
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            async with self.slots:
                seconds = (
                    self.settings.get("base_ms", 0) + self.settings.get("per_item_ms", 0) * count
                ) / 1000
                if fault is not None and fault["kind"] == "hang":
                    seconds += fault["seconds"]
                if seconds:
                    await asyncio.sleep(seconds)
                yield
        finally:
            self.busy -= 1

    def _take(self, fault: Fault | None) -> Fault | None:
        """The fault, if it is still to happen."""
        if fault is None or "times" not in fault:
            return fault
        left = self.left.setdefault(id(fault), fault["times"])
        self.left[id(fault)] = left - 1
        return fault if left > 0 else None

    def _of_call(self, number: int) -> Fault | None:
        """The fault scripted for the n-th call, from 0."""
        for fault in self.settings.get("calls", []):
            if fault.get("from", 0) <= number < fault.get("to", 1 << 60):
                return self._take(fault)
        return None


def _keys(body: dict[str, Any]) -> list[str]:
    """What a call's inputs are known by: their texts, the last message's in a chat; a picture's size and checksum."""
    given = body.get("messages") or body.get("input")
    if isinstance(given, list) and given and isinstance(given[-1], dict):
        content = given[-1].get("content")
        if isinstance(content, list):
            urls = [
                part.get("image_url") for part in content if isinstance(part, dict) and "image_url" in part
            ]
            texts = [part["text"] for part in content if isinstance(part, dict) and "text" in part]
            url = urls[0]["url"] if urls and isinstance(urls[0], dict) else urls[0] if urls else ""
            return [f"{len(url)}:{zlib.crc32(url[-64:].encode())}" if url else " ".join(texts)]
        return [str(content)]
    return [str(one) for one in given] if isinstance(given, list) else [str(given)]


def _saying(body: dict[str, Any], text: str) -> dict[str, Any]:
    changed = {
        key: value for key, value in body.items() if key not in ("tools", "tool_choice", "response_format")
    }
    asked = {"input": text} if "input" in body else {"messages": [{"role": "user", "content": text}]}
    return {**changed, **asked, "model": "echo"}


def _refusal(fault: Fault) -> Reply:
    headers = dict(fault.get("headers", {}))
    if fault["kind"] == "body":
        headers["content-type"] = fault.get("content_type", "text/html")
        return Reply(fault.get("code", 200), fault["text"].encode(), headers=headers)
    if "retry_date" in fault:
        headers["retry-after"] = email.utils.formatdate(time.time() + fault["retry_date"], usegmt=True)
    error = ApiError(
        fault["code"],
        fault.get("message", "scripted"),
        kind=fault.get("type", "server_error" if fault["code"] >= 500 else "invalid_request_error"),
        code=fault.get("error_code"),
        param=fault.get("param"),
    )
    return Reply(fault["code"], error.body(), headers=headers)


def _alter(reply: Reply, fault: Fault) -> None:
    kind = fault["kind"]
    if kind == "merge":
        if reply.events is None:
            reply.body = _merged(reply.body, fault["body"])
        else:
            reply.events = [
                (n, e if isinstance(e, str) else _merged(e, fault["body"])) for n, e in reply.events
            ]
    elif kind == "count":
        data = reply.body["data"]
        reply.body["data"] = (
            data + data[:1] * fault["extra"] if fault["extra"] > 0 else data[: fault["extra"]]
        )
    elif kind == "reverse":
        reply.body["data"].reverse()


def _merged(value: Any, other: Any) -> Any:
    """Members of `other` in place of those of `value`; in lists, of each element the first of `other`."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {**value, **{key: _merged(value.get(key), inner) for key, inner in other.items()}}
    if isinstance(value, list) and isinstance(other, list) and other and isinstance(other[0], dict):
        return [_merged(one, other[0]) for one in value]
    return other


class OpenAIServer:
    """The running server, seen from a test."""

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port, self.process = port, process

    @property
    def endpoint(self) -> str:
        """Its address as a job file names it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def set(self, **settings: Any) -> None:
        """Forget everything and take these settings; see the module's text."""
        self._call("set", settings)

    def stats(self) -> dict[str, Any]:
        """What it saw since `set`."""
        return self._call("stats", {})

    def _call(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/faults/{name}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, json.dumps(body).encode(), timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def close(self) -> None:
        """Stop the process."""
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def running(port: int = 0) -> Iterator[OpenAIServer]:
    """Start a server; it ends with the block."""
    tests = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "support.openai_server", f"--port={port}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])},
    )
    assert process.stdout is not None
    try:
        server = OpenAIServer(int(process.stdout.readline()), process)
    except BaseException:
        process.kill()
        raise
    try:
        yield server
    finally:
        server.close()


async def _serve(port: int) -> None:
    from bulkinfer.pipelines.embedded.models.demo import METHODS

    pool = Workers(1)
    service = FaultyService(Catalogue(METHODS, pool))
    runner = web.AppRunner(service.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    stop, parent = asyncio.Event(), os.getppid()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    while os.getppid() == parent and not stop.is_set():  # never outlive the test that started us
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)
    await runner.cleanup()
    pool.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().port))
