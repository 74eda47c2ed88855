"""One call: a few inputs in, one judged reply out. Nothing is retried here."""

from __future__ import annotations

import asyncio
import copyreg
import dataclasses
import time
from collections.abc import Sequence
from typing import Any, cast

import grpc
import grpc.aio
from clarifai_grpc.grpc.api import resources_pb2

from ...calls.model_call import ModelCall
from ...calls.retry import retry_hint
from ...metrics import Metrics
from ...records import Content
from .client import Credentials, check_plaintext, open_async_channel, stub
from .request.wire import EncodedInput, encode_input, frame_request, request_envelope, stream_requests
from .statuses import Fault, Verdict, fault_of_grpc, fault_of_status

__all__ = ["Caller", "Item", "Reply", "encoder"]

CONNECT_S = 20.0
#: From here on it matters that contents are not held twice, beside the message that carries them.
LARGE_MESSAGE = 256 * 1024
_SUCCESS = 10000


def _parse_output(data: bytes) -> Any:
    return resources_pb2.Output.FromString(data)


# The generated class names a module that does not exist, so pickle cannot find it; Beam pickles samples of
# all elements.
copyreg.pickle(resources_pb2.Output, lambda output: (_parse_output, (output.SerializeToString(),)))


@dataclasses.dataclass(slots=True, eq=False)
class Item:
    """One input on its way through the engine.

    Attributes:
        content: the input.
        encoded: its part of a unary request, or all messages of a stream's call.
        token: the caller's own; comes back with the result.
        attempts: calls in which it was sent.
        settled: it has a result.
    """

    content: Content
    encoded: EncodedInput
    token: Any = None
    attempts: int = 0
    settled: bool = False


@dataclasses.dataclass(slots=True)
class Reply:
    """What came back for the inputs of one call.

    Attributes:
        fault: of the call as a whole; then there are no outputs.
        outputs: one entry an input, in order: its outputs, or its own fault.
        latency_ms: from send to last byte.
        request_id: the server's name for the call.
        sent: False when the call never left, so that it is no attempt.
        partial: a stream had begun to answer before it failed.
    """

    fault: Fault | None = None
    outputs: Sequence[tuple[Any, ...] | Fault] = ()
    latency_ms: float = 0.0
    request_id: str | None = None
    sent: bool = True
    partial: bool = False


def encoder(call: ModelCall) -> Any:
    """The function that turns a `Content` into what a `Caller` of the same call sends.

    It raises EncodeError when the content does not fit the method.
    """
    binding = call.binding
    if binding.method.type != "STREAMING_STREAMING":
        return lambda content: encode_input(binding, content)
    envelope = _envelope(call)

    def encode_stream(content: Content) -> EncodedInput:
        messages = stream_requests(binding, envelope, content)
        return EncodedInput(tuple(messages), sum(map(len, messages)))

    return encode_stream


def _envelope(call: ModelCall) -> bytes:
    return request_envelope(
        call.address, deployment=call.deployment, nodepool=call.nodepool, binding=call.binding
    )


class Caller:
    """Sends inputs to one model on a channel of its own; lives on the engine's loop.

    Raises:
        CredentialsError: the key would travel unencrypted.
    """

    def __init__(self, call: ModelCall, metrics: Metrics) -> None:
        self.credentials = Credentials.from_environment()
        check_plaintext(call.endpoint, self.credentials, allow_plaintext=call.allow_plaintext)
        self._call = call
        self._metrics = metrics
        self._envelope = _envelope(call)
        self._type = call.binding.method.type
        self._channel = open_async_channel(call.endpoint)
        self._stub = stub(self._channel, self._type)
        self._options = {"timeout": call.calls.timeout, "metadata": self.credentials.metadata() or None}
        self._largest = 1 << 62  # bytes of a message that the server has not refused yet

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    async def connect(self) -> Fault | None:
        """Wait for the connection, so that a call starts when it is told to and its attempt is a real one."""
        deadline = time.monotonic() + CONNECT_S
        pause = 0.005
        while self._channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY:
            if time.monotonic() > deadline:
                text = f"no connection to {self._call.endpoint.url} within {CONNECT_S:g} s"
                return fault_of_grpc(grpc.StatusCode.UNAVAILABLE, text)
            await asyncio.sleep(pause)
            pause = min(0.1, pause * 1.5)
        return None

    def refuses(self, items: Sequence[Item]) -> Fault | None:
        """The fault that the server would answer for the size of these inputs' message, as it did before."""
        size = len(self._envelope) + sum(item.encoded.nbytes for item in items)
        if len(items) == 1 or size <= self._largest or self._type == "STREAMING_STREAMING":
            return None
        text = f"message larger than max ({size} vs. {self._largest})"
        return fault_of_grpc(grpc.StatusCode.RESOURCE_EXHAUSTED, text)

    async def send(self, items: Sequence[Item]) -> Reply:
        """Send the inputs in one call and judge the answer."""
        started = time.monotonic()
        self._metrics.add(calls=1, in_flight=1)
        try:
            if self._type == "UNARY_UNARY":
                reply = await self._unary(items)
            else:
                reply = await self._stream(items[0])
        finally:
            elapsed_ms = (time.monotonic() - started) * 1000
            self._metrics.add(in_flight=-1, call_ms=int(elapsed_ms))
        reply.latency_ms = elapsed_ms
        if reply.fault is not None and reply.fault.max_message_bytes is not None:
            self._learn(reply.fault.max_message_bytes)
        return reply

    async def _unary(self, items: Sequence[Item]) -> Reply:
        message = frame_request(self._envelope, [item.encoded for item in items])
        if len(message) > LARGE_MESSAGE:
            _keep_only(message, items)
        self._metrics.add(bytes_sent=len(message))
        call = self._stub(message, **self._options)
        del message
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            return Reply(_rpc_fault(error))
        self._count(response)
        reply = _judge(response, len(items))
        if reply.fault is not None and reply.fault.verdict.retried:
            hint = retry_hint(await call.trailing_metadata())
            reply.fault = dataclasses.replace(reply.fault, retry_after_s=hint)
        return reply

    async def _stream(self, item: Item) -> Reply:
        if self._type == "UNARY_STREAMING":
            message = frame_request(self._envelope, [item.encoded])
            self._metrics.add(bytes_sent=len(message))
            call = self._stub(message, **self._options)
        else:
            self._metrics.add(bytes_sent=item.encoded.nbytes)
            call = self._stub(iter(item.encoded.segments), **self._options)
        outputs: list[Any] = []
        request_id: str | None = None
        try:
            async for response in call:
                self._count(response)
                request_id = response.status.req_id or request_id
                for status in (*(output.status for output in response.outputs), response.status):
                    if status.code not in (0, _SUCCESS):
                        call.cancel()
                        return Reply(fault_of_status(status, request_id), partial=bool(outputs))
                outputs.extend(response.outputs)
        except grpc.aio.AioRpcError as error:
            return Reply(_rpc_fault(error), partial=bool(outputs))
        if not outputs:
            return Reply(_mismatch(0, 1, request_id))
        return Reply(outputs=[tuple(outputs)], request_id=request_id)

    def _count(self, response: Any) -> None:
        prompt = completion = 0
        for output in response.outputs:
            prompt += output.prompt_tokens
            completion += output.completion_tokens
        self._metrics.add(
            bytes_received=response.ByteSize(), prompt_tokens=prompt, completion_tokens=completion
        )

    def _learn(self, limit: int) -> None:
        # A limit as large as our own is that of responses, which says nothing about what we send.
        if limit < 200_000_000:
            self._largest = min(self._largest, limit)


def _keep_only(message: bytes, items: Sequence[Item]) -> None:
    """Let the items' own contents go: the call holds the message, and they can be sent again from it."""
    view, end = memoryview(message), len(message)
    for item in reversed(items):
        size, content = item.encoded.nbytes, item.content
        item.encoded = EncodedInput((cast(bytes, view[end - size : end]),), size)
        item.content = Content(content.reference, None, {}, content.width, content.height)
        end -= size


def _judge(response: Any, count: int) -> Reply:
    status, outputs = response.status, response.outputs
    whole = fault_of_status(status) if status.code not in (0, _SUCCESS) else None
    request_id = status.req_id or None
    if whole is None or whole.verdict is Verdict.MIXED:
        if len(outputs) != count:
            return Reply(_mismatch(len(outputs), count, request_id))
    elif len(outputs) != count or not any(output.status.code for output in outputs):
        return Reply(whole, request_id=request_id)
    # Servers answer a plain FAILURE also when each output says for itself what happened to it.
    silent_success = (0, _SUCCESS) if whole is None else (_SUCCESS,)
    paired: list[tuple[Any, ...] | Fault] = [
        (output,) if output.status.code in silent_success else fault_of_status(output.status, request_id)
        for output in outputs
    ]
    failed = any(isinstance(output, Fault) for output in paired)
    if whole is not None and whole.verdict is not Verdict.MIXED and not failed:
        return Reply(whole, request_id=request_id)
    return Reply(outputs=paired, request_id=request_id)


def _mismatch(received: int, sent: int, request_id: str | None) -> Fault:
    return Fault(
        Verdict.MISMATCH,
        "output_count",
        f"the model answered {received} outputs where {sent} were asked for, so they cannot be paired",
        request_id=request_id,
    )


def _rpc_fault(error: grpc.aio.AioRpcError) -> Fault:
    metadata = error.trailing_metadata() or ()
    return fault_of_grpc(error.code(), error.details(), retry_after_s=retry_hint(metadata))
