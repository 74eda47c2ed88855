"""A model server with limited capacity in a process of its own, which answers with every fault asked for.

It works on at most `places` calls at a time, for `base_ms + per_item_ms * n` each, refuses calls above a rate limit,
and counts what it saw: calls, throttled calls, the fullest one-second window, and how often each input came.
Tests talk to it by two more RPCs that carry JSON: `/faults/Set` and `/faults/Stats`.

A fault is a dict with a `kind`:
    status   {code, details}        the whole call answers this API status and no outputs
    output   {code, details}        this input's output has this status; the call answers MIXED_STATUS
    grpc     {code, details, ...}   the call fails with this gRPC code; hints: `pushback_ms`, `retry_after`
    count    {extra}                so many outputs more (or fewer) than inputs
    hang     {seconds}              the answer comes so much later
    break    {after, code}          a stream fails after so many items, with this gRPC code, or {status}
    end      {after}                a stream ends after so many items as if all were well
    say      {after, text}          a stream's item is this text
and optionally `times`: only so often. Settings name faults by input text (`inputs`) or call number (`calls`).

Run as a server: python -m support.fault_server --port 0
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import contextlib
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from clarifai_grpc.grpc.api import resources_pb2, service_pb2

__all__ = ["FaultServer", "running"]

SUCCESS, MIXED, THROTTLED = 10000, 10010, 11005
#: A picture of 8 x 8 pixels whose upper left quarter is the mask, as `outline` answers it.
SQUARE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGElEQVR4nGP8z8DAwMjAwMDEAAWYDGIAAEjQAQgnz3ZHAAAAAElFTkSuQmCC"
)


def _field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": True, **more}


def _method(method_type: str, inputs: list[dict[str, Any]], output: dict[str, Any]) -> dict[str, Any]:
    return {"method_type": method_type, "input_fields": inputs, "output_fields": [output]}


SIGNATURES = {
    "predict": _method("UNARY_UNARY", [_field("text", "STR")], _field("return", "STR")),
    "measure": _method("UNARY_UNARY", [_field("image", "IMAGE")], _field("return", "INT")),
    "outline": _method(
        "UNARY_UNARY",
        [_field("text", "STR")],
        {"name": "return", "type": "LIST", "type_args": [{"name": "region", "type": "REGION"}]},
    ),
    "pieces": _method("UNARY_STREAMING", [_field("text", "STR")], _field("return", "STR", iterator=True)),
    "echo": _method(
        "STREAMING_STREAMING", [_field("text", "STR", iterator=True)], _field("return", "STR", iterator=True)
    ),
}


class Faults:
    """What the server does and has seen; everything runs on one event loop."""

    def __init__(self) -> None:
        self.set({})

    def set(self, settings: dict[str, Any]) -> None:
        """Start over with these settings."""
        self.settings = settings
        self.slots = asyncio.Semaphore(settings.get("places", 16))
        self.base = settings.get("base_ms", 0) / 1000
        self.per_item = settings.get("per_item_ms", 0) / 1000
        self.by_input: dict[str, dict[str, Any]] = settings.get("inputs", {})
        self.by_call: list[dict[str, Any]] = settings.get("calls", [])
        self.left: dict[int, int] = {}
        self.arrivals: list[float] = []
        self.refused: list[float] = []
        self.sizes: list[int] = []
        self.inputs: collections.Counter[str] = collections.Counter()
        self.peers: collections.Counter[str] = collections.Counter()
        self.answered: collections.Counter[str] = collections.Counter()
        self.accepted: collections.deque[float] = collections.deque()
        self.busy = self.peak = 0
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
            "sizes": self.sizes,
            "arrivals": self.arrivals,
            "refused": self.refused,
            "inputs": self.inputs,
            "peers": self.peers,
            "answered": self.answered,
            "seconds": (self.last_end - self.arrivals[0]) if self.arrivals else 0.0,
        }

    def over_limit(self, now: float) -> bool:
        """Whether this arrival exceeds the rate limit; a refused call does not count against it."""
        limit = self.settings.get("calls_per_second")
        for after, then in self.settings.get("limit_changes", []):
            if now - self.arrivals[0] >= after:
                limit = then
        if limit is None:
            return False
        while self.accepted and self.accepted[0] <= now - 1.0:
            self.accepted.popleft()
        if len(self.accepted) >= limit:
            self.refused.append(now)
            return True
        self.accepted.append(now)
        return False

    def take(self, fault: dict[str, Any] | None) -> dict[str, Any] | None:
        """The fault, if it is still to happen."""
        if fault is None or "times" not in fault:
            return fault
        left = self.left.setdefault(id(fault), fault["times"])
        self.left[id(fault)] = left - 1
        return fault if left > 0 else None

    def of_call(self, number: int) -> dict[str, Any] | None:
        """The fault scripted for the n-th call, from 0."""
        for fault in self.by_call:
            if fault.get("from", 0) <= number < fault.get("to", 1 << 60):
                return self.take(fault)
        return None


def _key(data: Any) -> str:
    for part in data.parts:
        if part.data.image.base64:
            return f"{len(part.data.image.base64)}:{zlib.crc32(part.data.image.base64[-64:])}"
        if part.data.string_value or part.data.text.raw:
            return str(part.data.string_value or part.data.text.raw)
    return ""


def _output(key: str, data: Any, code: int = SUCCESS) -> Any:
    output = resources_pb2.Output()
    output.status.code = code
    if code != SUCCESS:
        output.status.description = "scripted"
        return output
    part = output.data.parts.add()
    part.id = "return"
    if "_method_name" in data.metadata and data.metadata["_method_name"] == "outline":
        part.data.regions.add().region_info.mask.image.base64 = SQUARE
    elif data.parts and data.parts[0].data.image.base64:
        part.data.int_value = len(data.parts[0].data.image.base64)
    else:
        part.data.string_value = f"ok {key}"
    return output


async def _grpc_fault(fault: dict[str, Any], context: Any) -> None:
    trailing = []
    if "pushback_ms" in fault:
        trailing.append(("grpc-retry-pushback-ms", str(fault["pushback_ms"])))
    if "retry_after" in fault:
        trailing.append(("retry-after", str(fault["retry_after"])))
    code = getattr(grpc.StatusCode, fault.get("code", "UNAVAILABLE"))
    await context.abort(code, fault.get("details", "scripted"), tuple(trailing))


def _status(code: int, description: str = "scripted", details: str = "") -> Any:
    response = service_pb2.MultiOutputResponse()
    response.status.code = code
    response.status.description = description
    response.status.details = details
    response.status.req_id = f"request-{code}"
    return response


class Servicer:
    """The API's calls."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    async def _arrive(self, request: Any, context: Any) -> tuple[list[str], Any | None]:
        """Count a call; return its inputs' keys, and an answer if it is refused before it takes a slot."""
        faults, settings = self.faults, self.faults.settings
        if settings.get("key") is not None:
            given = dict(context.invocation_metadata()).get("authorization")
            if given != f"Key {settings['key']}":
                return [], _status(11008, "Invalid API key")
        if settings.get("model") not in (None, request.model_id):
            return [], _status(21200, "Model does not exist")
        now = time.monotonic()
        faults.arrivals.append(now)
        keys = [_key(each.data) for each in request.inputs]
        faults.sizes.append(len(keys))
        faults.last_end = now
        if faults.over_limit(now):
            if code := settings.get("throttle_code"):
                await context.abort(getattr(grpc.StatusCode, code), "")
            if hint := settings.get("throttle_hint"):
                context.set_trailing_metadata((("retry-after", str(hint)),))
            return keys, _status(THROTTLED, "Throttled")
        faults.inputs.update(keys)
        faults.peers[context.peer()] += len(keys)  # a worker process has one connection
        return keys, None

    @contextlib.asynccontextmanager
    async def _slot(self, count: int, fault: dict[str, Any] | None, context: Any) -> Any:
        faults = self.faults
        async with faults.slots:
            faults.busy += 1
            faults.peak = max(faults.peak, faults.busy)
            try:
                seconds = faults.base + faults.per_item * count
                if context.peer() == next(iter(faults.peers)):
                    seconds *= faults.settings.get("first_peer_times", 1)
                if fault is not None and fault["kind"] == "hang":
                    seconds += fault["seconds"]
                if seconds:
                    await asyncio.sleep(seconds)
                yield
            finally:
                faults.busy -= 1
                faults.last_end = time.monotonic()

    async def post(self, request: Any, context: Any) -> Any:
        """PostModelOutputs."""
        faults = self.faults
        if request.inputs and "_method_name" in request.inputs[0].data.metadata:
            name = request.inputs[0].data.metadata["_method_name"]
            if name == "_GET_SIGNATURES":
                return self._signatures(request, context)
            if name not in SIGNATURES:
                return _status(10020, "", f"Method {name} not found in model class")
        keys, refused = await self._arrive(request, context)
        if refused is not None:
            return refused
        fault = faults.of_call(len(faults.arrivals) - 1)
        of_inputs = [faults.take(faults.by_input.get(key)) for key in keys]
        fault = fault or next((each for each in of_inputs if each and each["kind"] != "output"), None)
        async with self._slot(len(keys), fault, context):
            if fault is not None and fault["kind"] == "grpc":
                await _grpc_fault(fault, context)
            if fault is not None and fault["kind"] == "status":
                return _status(fault["code"], details=fault.get("details", ""))
            response = service_pb2.MultiOutputResponse()
            codes = [each["code"] if each and each["kind"] == "output" else SUCCESS for each in of_inputs]
            if fault is not None and fault["kind"] == "output":
                codes[0] = fault["code"]
            outputs = [
                _output(key, each.data, code)
                for key, each, code in zip(keys, request.inputs, codes, strict=True)
            ]
            for each, output in zip(of_inputs, outputs, strict=True):
                output.status.details = (each or {}).get("details", "")
            if fault is not None and fault["kind"] == "count":
                extra = fault["extra"]
                outputs = outputs + outputs[:1] * extra if extra > 0 else outputs[:extra]
            else:
                faults.answered.update(k for k, code in zip(keys, codes, strict=True) if code == SUCCESS)
            good = all(code == SUCCESS for code in codes)
            response.status.code = SUCCESS if good or faults.settings.get("silent_mixed") else MIXED
            response.outputs.extend(outputs)
            return response

    async def generate(self, request: Any, context: Any) -> Any:
        """GenerateModelOutputs: the text's words, one item each."""
        keys, refused = await self._arrive(request, context)
        if refused is None and len(keys) != 1:
            refused = _status(10020, "", "Generate requires exactly one input")
        if refused is not None:
            yield refused
            return
        async for response in self._items(keys[0], keys[0].split(), context):
            yield response

    async def stream(self, requests: Any, context: Any) -> Any:
        """StreamModelOutputs: each item of the stream comes back."""
        items: list[str] = []
        async for request in requests:
            if not items:
                keys, refused = await self._arrive(request, context)
                if refused is not None:
                    yield refused
                    return
            items.append(_key(request.inputs[0].data))
        async for response in self._items(keys[0], items, context):
            yield response

    async def _items(self, key: str, items: list[str], context: Any) -> Any:
        faults = self.faults
        fault = faults.of_call(len(faults.arrivals) - 1) or faults.take(faults.by_input.get(key))
        async with self._slot(1, fault, context):
            if fault is not None and fault["kind"] == "grpc":
                await _grpc_fault(fault, context)
            if fault is not None and fault["kind"] == "status":
                yield _status(fault["code"])
                return
            for number, item in enumerate(items):
                if fault is not None and fault["kind"] in ("break", "end") and number == fault["after"]:
                    if fault["kind"] == "end":
                        return
                    if "status" in fault:
                        yield _status(fault["status"])
                        return
                    await _grpc_fault(fault, context)
                response = service_pb2.MultiOutputResponse()
                response.status.code = SUCCESS
                response.outputs.append(_output(item, resources_pb2.Data()))
                if fault is not None and fault["kind"] == "say" and number == fault["after"]:
                    response.outputs[0].data.parts[0].data.string_value = fault["text"]
                yield response
            faults.answered[key] += 1

    def _signatures(self, request: Any, context: Any) -> Any:
        settings = self.faults.settings
        given = dict(context.invocation_metadata()).get("authorization")
        if settings.get("key") is not None and given != f"Key {settings['key']}":
            return _status(11008, "Invalid API key")
        if settings.get("model") not in (None, request.model_id):
            return _status(21200, "Model does not exist")
        response = _status(SUCCESS)
        output = response.outputs.add()
        output.status.code = SUCCESS
        output.data.text.raw = json.dumps(SIGNATURES)
        return response


async def _serve(host: str, port: int, max_message: int, ready: Any) -> None:
    faults = Faults()
    servicer = Servicer(faults)
    request, response = service_pb2.PostModelOutputsRequest, service_pb2.MultiOutputResponse
    codec = {"request_deserializer": request.FromString, "response_serializer": response.SerializeToString}

    async def set_(body: bytes, context: Any) -> bytes:
        faults.set(json.loads(body))
        return b"{}"

    async def stats(body: bytes, context: Any) -> bytes:
        return json.dumps(faults.stats()).encode()

    api = grpc.method_handlers_generic_handler(
        "clarifai.api.V2",
        {
            "PostModelOutputs": grpc.unary_unary_rpc_method_handler(servicer.post, **codec),
            "GenerateModelOutputs": grpc.unary_stream_rpc_method_handler(servicer.generate, **codec),
            "StreamModelOutputs": grpc.stream_stream_rpc_method_handler(servicer.stream, **codec),
        },
    )
    control = grpc.method_handlers_generic_handler(
        "faults",
        {
            "Set": grpc.unary_unary_rpc_method_handler(set_),
            "Stats": grpc.unary_unary_rpc_method_handler(stats),
        },
    )
    options = [("grpc.max_receive_message_length", max_message), ("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=[*options, ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((api, control))
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    print(bound, file=ready, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # never outlive the test that started us
        await asyncio.sleep(0.5)


class FaultServer:
    """The running server, seen from a test."""

    def __init__(self, port: int, process: Any, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.process = process
        self._channel = grpc.insecure_channel(
            f"{host}:{port}", options=[("grpc.max_receive_message_length", -1)]
        )

    @property
    def endpoint(self) -> str:
        """Its address as a job file names it."""
        return f"http://{self.host}:{self.port}"

    def set(self, **settings: Any) -> None:
        """Forget everything and take these settings; see the module's text."""
        call = self._channel.unary_unary("/faults/Set")
        call(json.dumps(settings).encode(), timeout=10, wait_for_ready=True)

    def stats(self) -> dict[str, Any]:
        """What it saw since `set`."""
        stats: dict[str, Any] = json.loads(self._channel.unary_unary("/faults/Stats")(b"", timeout=30))
        return stats

    def close(self) -> None:
        """Stop the process."""
        self._channel.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def running(*, max_message: int = -1, port: int = 0, host: str = "127.0.0.1") -> Iterator[FaultServer]:
    """Start a server; it ends with the block."""
    tests = Path(__file__).resolve().parent.parent
    options = [f"--host={host}", f"--port={port}", f"--max-message={max_message}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "support.fault_server", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])},
    )
    assert process.stdout is not None
    server = None
    try:
        server = FaultServer(int(process.stdout.readline()), process, host)
        yield server
    finally:
        if server is not None:
            server.close()
        else:
            process.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--max-message", type=int, default=-1)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.host, arguments.port, arguments.max_message, sys.stdout))
