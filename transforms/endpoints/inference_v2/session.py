"""One connection to a server of the protocol: sends a batch as one tensor an input, and cuts the answer's tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from ...calls.endpoint import Fault, Reply, Verdict
from ..bearer import Token
from ..over_grpc.address import ServerAddress
from ..over_grpc.channel import connected, open_async_channel
from .inputs import EncodedInput, InputTensor
from .messages import SERVICE, message
from .statuses import fault_of_rpc, fault_of_stream, mismatch
from .tensors import TensorError, array_of, raw_field

__all__ = ["InferSession", "ModelCallSpec"]

_REQUEST, _RESPONSE, _STREAMED = (
    message("ModelInferRequest"),
    message("ModelInferResponse"),
    message("ModelStreamInferResponse"),
)


@dataclasses.dataclass(frozen=True)
class ModelCallSpec:
    """What is called; plain data.

    Attributes:
        name: of the model.
        version: asked for; "" for the server's own choice.
        inputs: the tensors of a call, in the order of an encoded input's rows.
        outputs: names of the tensors that are asked for; all where it is empty.
        streams: the model answers by a stream.
    """

    name: str
    version: str
    inputs: tuple[InputTensor, ...]
    outputs: tuple[str, ...] = ()
    streams: bool = False


class InferSession:
    """Sends inputs to one model on a channel of its own; lives on the engine's loop.

    Args:
        server: where the model is served.
        spec: what is called.
        token: for the server.
        timeout: seconds, the deadline of one call.
    """

    def __init__(self, server: ServerAddress, spec: ModelCallSpec, token: Token, timeout: float) -> None:
        self._server, self._spec, self._token = server, spec, token
        self._channel = open_async_channel(server)
        make = self._channel.stream_stream if spec.streams else self._channel.unary_unary
        self._call = make(
            f"{SERVICE}/{'ModelStreamInfer' if spec.streams else 'ModelInfer'}",
            request_serializer=None,
            response_deserializer=_streamed if spec.streams else _response,
        )
        self._options: dict[str, Any] = {"timeout": timeout, "metadata": tuple(token.headers().items())}

    async def connect(self) -> Fault | None:
        """Wait for the connection; the fault when there is none."""
        text = await connected(self._channel, self._server)
        return Fault(Verdict.TRANSPORT, "unavailable", text) if text else None

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close()

    async def send(self, batch: Sequence[EncodedInput]) -> Reply:
        """Send the inputs in one call and judge the answer."""
        if any(one.forms != batch[0].forms for one in batch):
            return Reply(
                Fault(Verdict.TOO_LARGE, "shapes", "inputs of different shapes do not fit into one call")
            )
        request = self._request(batch)
        reply = Reply(bytes_sent=len(request))
        try:
            await (
                self._stream(request, reply)
                if self._spec.streams
                else self._unary(request, reply, len(batch))
            )
        except grpc.aio.AioRpcError as error:
            reply.fault = fault_of_rpc(error)
        except TensorError as error:
            reply.fault = mismatch(f"the model's answer cannot be read: {error}")
        if reply.fault is not None:
            reply.fault = dataclasses.replace(reply.fault, message=self._token.mask(reply.fault.message))
        return reply

    def _request(self, batch: Sequence[EncodedInput]) -> bytes:
        spec = self._spec
        request = _REQUEST(model_name=spec.name, model_version=spec.version)
        pieces: list[bytes] = []
        for at, tensor in enumerate(spec.inputs):
            datatype, shape = batch[0].forms[at]
            whole = (len(batch), *shape) if tensor.batched else shape
            request.inputs.add(name=tensor.tensor.name, datatype=datatype, shape=whole)
            rows = [one.rows[at] for one in batch] if tensor.batched else [batch[0].rows[at]]
            pieces += raw_field(rows)
        for name in spec.outputs:
            request.outputs.add(name=name)
        return b"".join((request.SerializeToString(), *pieces))

    async def _unary(self, request: bytes, reply: Reply, count: int) -> None:
        response = await self._call(request, **self._options)
        if response is None:
            raise TensorError("it is no message of the protocol")
        reply.bytes_received = response.ByteSize()
        reply.request_id = response.id or None
        batched = any(tensor.batched for tensor in self._spec.inputs)
        arrays = _arrays(response)
        for name, array in arrays.items():
            if batched and (array.ndim == 0 or len(array) != count):
                reply.fault = mismatch(
                    f"the output {name!r} has the shape {list(array.shape)} for {count} inputs, so it cannot be cut "
                    "into theirs"
                )
                return
        reply.answers = [
            ({name: _row(array, at) if batched else array for name, array in arrays.items()},)
            for at in range(count)
        ]

    async def _stream(self, request: bytes, reply: Reply) -> None:
        async def once() -> AsyncIterator[bytes]:
            yield request

        pieces: list[Mapping[str, Any]] = []
        async for told in self._call(once(), **self._options):
            response = told
            if told is None:
                raise TensorError("it is no message of the protocol")
            reply.bytes_received += told.ByteSize()
            if isinstance(told, _STREAMED):
                if told.error_message:
                    reply.fault = fault_of_stream(told.error_message)
                    return
                response = told.infer_response
            reply.request_id = response.id or reply.request_id
            arrays = _arrays(response)
            if arrays:  # the last message of a stream may hold nothing but its end
                pieces.append({name: _alone(array) for name, array in arrays.items()})
                reply.partial = True
        if pieces:
            reply.answers = [tuple(pieces)]
        else:
            reply.fault = mismatch("the stream ended without an answer")


def _arrays(response: Any) -> dict[str, Any]:
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise TensorError(f"it has {len(response.outputs)} tensors and the raw values of {len(raw)}")
    return {
        tensor.name: array_of(tensor, raw[at] if raw else None) for at, tensor in enumerate(response.outputs)
    }


def _alone(array: Any) -> Any:
    """The values of the one input of a stream, without an axis of the batch."""
    return _row(array, 0) if array.ndim and len(array) == 1 else array


def _row(array: Any, at: int) -> Any:
    """One input's part of a tensor, an array of its own also where it is a single value."""
    return array[at : at + 1].reshape(array.shape[1:])


def _response(data: bytes) -> Any:
    try:
        return _RESPONSE.FromString(data)
    except DecodeError:
        return None  # gRPC would log a traceback, and then give None as well


def _streamed(data: bytes) -> Any:
    """Triton's message of a stream; or, as MLServer streams, the answer itself."""
    response = _response(data)
    if response is not None and response.outputs:
        return response
    try:
        return _STREAMED.FromString(data)
    except DecodeError:
        return None
