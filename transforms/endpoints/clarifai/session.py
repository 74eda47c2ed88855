"""One connection to the API: sends a few inputs in one call and judges the answer. Nothing is retried here."""

from __future__ import annotations

import copyreg
import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import grpc
import grpc.aio
from clarifai_grpc.grpc.api import resources_pb2

from ...calls.endpoint import Fault, Reply, Verdict
from ..over_grpc.address import ServerAddress
from ..over_grpc.channel import connected, open_async_channel
from ..over_grpc.retry_hints import retry_hint
from .client import Credentials, check_plaintext, stub
from .request.wire import EncodedInput, frame_request
from .statuses import fault_of_grpc, fault_of_rpc, fault_of_status
from .text_faults import text_fault

__all__ = ["GrpcSession"]

#: Bytes of a message above which contents are not held a second time, beside the message that carries them.
LARGE_MESSAGE = 256 * 1024
_SUCCESS = 10000


def _parse_output(data: bytes) -> Any:
    return resources_pb2.Output.FromString(data)


# The generated class names a module that does not exist, so pickle cannot find it; Beam pickles samples of
# all elements.
copyreg.pickle(resources_pb2.Output, lambda output: (_parse_output, (output.SerializeToString(),)))


class GrpcSession:
    """Sends inputs to one model on a channel of its own; lives on the engine's loop.

    Args:
        server: where the API is served.
        envelope: everything of a request but its inputs.
        method_type: of the model's method.
        timeout: seconds, the deadline of one call.
        allow_plaintext: send a key unencrypted to another machine.

    Raises:
        CredentialsError: the key would travel unencrypted.
    """

    def __init__(
        self,
        server: ServerAddress,
        envelope: bytes,
        method_type: str,
        timeout: float,
        *,
        allow_plaintext: bool,
    ) -> None:
        self._credentials = Credentials.from_environment()
        check_plaintext(server, self._credentials, allow_plaintext=allow_plaintext)
        self._server = server
        self._envelope = envelope
        self._type = method_type
        self._channel = open_async_channel(server)
        self._stub = stub(self._channel, method_type)
        self._options = {"timeout": timeout, "metadata": self._credentials.metadata() or None}

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    async def connect(self) -> Fault | None:
        """Wait for the connection, so that a call starts when it is told to and its attempt is a real one."""
        text = await connected(self._channel, self._server)
        return fault_of_grpc(grpc.StatusCode.UNAVAILABLE, text) if text else None

    async def send(self, batch: Sequence[EncodedInput]) -> Reply:
        """Send the inputs in one call and judge the answer."""
        reply = await (self._unary(batch) if self._type == "UNARY_UNARY" else self._stream(batch[0]))
        if reply.fault is not None:
            reply.fault = self._masked(reply.fault)
        elif any(isinstance(answer, Fault) for answer in reply.answers):
            reply.answers = [
                self._masked(answer) if isinstance(answer, Fault) else answer for answer in reply.answers
            ]
        return reply

    def _masked(self, fault: Fault) -> Fault:
        """The fault without the key, which a server may repeat in its message."""
        return dataclasses.replace(fault, message=self._credentials.mask(fault.message))

    async def _unary(self, batch: Sequence[EncodedInput]) -> Reply:
        message = frame_request(self._envelope, batch)
        size = len(message)
        if size > LARGE_MESSAGE:
            _keep_only(message, batch)
        call = self._stub(message, **self._options)
        del message
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            return Reply(fault_of_rpc(error), bytes_sent=size)
        if response is None:
            return Reply(_unreadable(), bytes_sent=size)
        reply = _judge(response, len(batch))
        reply.bytes_sent = size
        _count(response, reply)
        if reply.fault is not None and reply.fault.verdict.retried:
            hint = retry_hint(await call.trailing_metadata())
            reply.fault = dataclasses.replace(reply.fault, retry_after_s=hint)
        return reply

    async def _stream(self, encoded: EncodedInput) -> Reply:
        reply = Reply()
        if self._type == "UNARY_STREAMING":
            message = frame_request(self._envelope, [encoded])
            reply.bytes_sent = len(message)
            call = self._stub(message, **self._options)
        else:
            reply.bytes_sent = encoded.nbytes
            call = self._stub(iter(encoded.segments), **self._options)
        outputs: list[Any] = []
        try:
            async for response in call:
                if response is None:
                    call.cancel()
                    reply.fault = _unreadable(reply.request_id)
                    return reply
                _count(response, reply)
                reply.request_id = response.status.req_id or reply.request_id
                for status in (*(output.status for output in response.outputs), response.status):
                    if status.code not in (0, _SUCCESS):
                        call.cancel()
                        reply.fault = fault_of_status(status, reply.request_id)
                        reply.partial = bool(outputs)
                        return reply
                for output in response.outputs:
                    if fault := text_fault(output, reply.request_id):
                        call.cancel()
                        reply.fault, reply.partial = fault, bool(outputs)
                        return reply
                    outputs.append(output)
        except grpc.aio.AioRpcError as error:
            reply.fault, reply.partial = fault_of_rpc(error), bool(outputs)
            return reply
        if outputs:
            reply.answers = [tuple(outputs)]
        else:
            reply.fault = _mismatch(0, 1, reply.request_id)
        return reply


def _count(response: Any, reply: Reply) -> None:
    reply.bytes_received += response.ByteSize()
    for output in response.outputs:
        reply.prompt_tokens += output.prompt_tokens
        reply.completion_tokens += output.completion_tokens


def _keep_only(message: bytes, batch: Sequence[EncodedInput]) -> None:
    """Free the inputs' own bytes: the message holds them, and they can be sent again from it."""
    view, end = memoryview(message), len(message)
    for encoded in reversed(batch):
        encoded.segments = (cast(bytes, view[end - encoded.nbytes : end]),)
        end -= encoded.nbytes


def _judge(response: Any, count: int) -> Reply:
    status, outputs = response.status, response.outputs
    whole = fault_of_status(status) if status.code not in (0, _SUCCESS) else None
    request_id = status.req_id or None
    if whole is None or whole.verdict is Verdict.MIXED:
        if len(outputs) != count:
            return Reply(_mismatch(len(outputs), count, request_id))
    elif len(outputs) != count or not any(output.status.code for output in outputs):
        return Reply(whole, request_id=request_id)
    # Servers answer a plain FAILURE even when each output has a status of its own.
    silent_success = (0, _SUCCESS) if whole is None else (_SUCCESS,)
    paired: list[tuple[Any, ...] | Fault] = [
        (text_fault(output, request_id) or (output,))
        if output.status.code in silent_success
        else fault_of_status(output.status, request_id)
        for output in outputs
    ]
    failed = any(isinstance(output, Fault) for output in paired)
    if whole is not None and whole.verdict is not Verdict.MIXED and not failed:
        return Reply(whole, request_id=request_id)
    return Reply(answers=paired, request_id=request_id)


def _unreadable(request_id: str | None = None) -> Fault:
    """One input's answer is enough to make the whole message unreadable."""
    return Fault(
        Verdict.MISMATCH,
        "unreadable_answer",
        "the model's answer is no message of the API: a text in it is not UTF-8, it is nested too deeply, or its bytes "
        "are damaged",
        request_id=request_id,
    )


def _mismatch(received: int, sent: int, request_id: str | None) -> Fault:
    return Fault(
        Verdict.MISMATCH,
        "output_count",
        f"the model answered {received} outputs where {sent} were asked for, so they cannot be paired",
        request_id=request_id,
    )
