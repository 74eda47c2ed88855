"""A model server in the test process that keeps every request with its headers, and answers as a test says."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from google.protobuf.internal.encoder import _VarintBytes

__all__ = ["RecordingServer", "Seen", "field", "method", "recording_server"]

SUCCESS = 10000
_OUTPUTS = bytes([service_pb2.MultiOutputResponse.DESCRIPTOR.fields_by_name["outputs"].number << 3 | 2])
Answer = Callable[[Any], list[Any]]


@dataclasses.dataclass(frozen=True)
class Seen:
    """One call as the server saw it; a stream has several requests."""

    rpc: str
    headers: dict[str, str]
    requests: list[Any]

    @property
    def request(self) -> Any:
        """Its first request."""
        return self.requests[0]

    @property
    def texts(self) -> list[str]:
        """The first text of each input."""
        return [each.data.parts[0].data.string_value for each in self.request.inputs]


def field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """A parameter of a signature as JSON."""
    return {"name": name, "type": kind, "required": True, **more}


def method(kind: str, *inputs: dict[str, Any], output: str = "STR") -> dict[str, Any]:
    """A signature as JSON."""
    streams = {"iterator": True} if kind != "UNARY_UNARY" else {}
    return {
        "method_type": kind,
        "input_fields": list(inputs),
        "output_fields": [field("return", output, **streams)],
    }


def _echo(each: Any) -> list[Any]:
    """One output that repeats the input's first text, and tells tokens."""
    text = each.data.parts[0].data.string_value
    output = resources_pb2.Output(id=f"o-{text}", prompt_tokens=3, completion_tokens=2, cached_tokens=1)
    output.data.parts.add(id="return").data.string_value = f"re {text}"
    return [output]


@dataclasses.dataclass
class RecordingServer:
    """What a running server answers and has seen.

    Attributes:
        endpoint: its address.
        signatures: of its methods, as JSON; None for an older model, which has none.
        latest: the version that answers where a call names none.
        answer: the outputs for one input; of a stream, for one message. One may be the bytes of its message.
        seen: the calls of methods, without those that asked for signatures.
    """

    endpoint: str = ""
    signatures: dict[str, Any] | None = dataclasses.field(
        default_factory=lambda: {"predict": method("UNARY_UNARY", field("text", "STR"))}
    )
    latest: str = "v9"
    answer: Answer = _echo
    seen: list[Seen] = dataclasses.field(default_factory=list)

    def post(self, request: Any, context: Any) -> Any:
        """PostModelOutputs."""
        if request.inputs[0].data.metadata.fields["_method_name"].string_value == "_GET_SIGNATURES":
            if self.signatures is None:
                return _response([], code=10020)
            output = resources_pb2.Output()
            output.data.text.raw = json.dumps(self.signatures)
            return _response([output])
        self._see("post", [request], context)
        return _response([output for each in request.inputs for output in self.answer(each)])

    def generate(self, request: Any, context: Any) -> Iterator[Any]:
        """GenerateModelOutputs: a message an output."""
        self._see("generate", [request], context)
        for output in self.answer(request.inputs[0]):
            yield _response([output])

    def stream(self, requests: Any, context: Any) -> Iterator[Any]:
        """StreamModelOutputs: the outputs of each message."""
        seen = self._see("stream", [], context)
        for request in requests:
            seen.requests.append(request)
            for output in self.answer(request.inputs[0]):
                yield _response([output])

    def model(self, request: Any, context: Any) -> Any:
        """GetModel: the latest version, without its signatures."""
        response = service_pb2.SingleModelResponse()
        response.status.code = SUCCESS
        response.model.model_version.id = self.latest
        return response

    def version(self, request: Any, context: Any) -> Any:
        """GetModelVersion."""
        response = service_pb2.SingleModelVersionResponse()
        response.status.code = SUCCESS
        response.model_version.id = request.version_id or self.latest
        return response

    def _see(self, rpc: str, requests: list[Any], context: Any) -> Seen:
        seen = Seen(rpc, dict(context.invocation_metadata()), requests)
        self.seen.append(seen)
        return seen


def _response(outputs: list[Any], code: int = SUCCESS) -> bytes:
    """The message of these outputs; one that is given as bytes stands in it as it is."""
    response = service_pb2.MultiOutputResponse()
    response.status.code = code
    message: bytes = response.SerializeToString()
    for output in outputs:
        if not isinstance(output, bytes):
            output.status.code = output.status.code or SUCCESS
        data = output if isinstance(output, bytes) else output.SerializeToString()
        message += _OUTPUTS + _VarintBytes(len(data)) + data
    return message


@contextlib.contextmanager
def recording_server(**settings: Any) -> Iterator[RecordingServer]:
    """Serve on a free loopback port until the block ends."""
    served = RecordingServer(**settings)
    post = service_pb2.PostModelOutputsRequest
    codec = {"request_deserializer": post.FromString, "response_serializer": None}
    unary, streams, both = (
        grpc.unary_unary_rpc_method_handler,
        grpc.unary_stream_rpc_method_handler,
        grpc.stream_stream_rpc_method_handler,
    )
    handlers = {
        "PostModelOutputs": unary(served.post, **codec),
        "GenerateModelOutputs": streams(served.generate, **codec),
        "StreamModelOutputs": both(served.stream, **codec),
        "GetModel": unary(
            served.model,
            service_pb2.GetModelRequest.FromString,
            service_pb2.SingleModelResponse.SerializeToString,
        ),
        "GetModelVersion": unary(
            served.version,
            service_pb2.GetModelVersionRequest.FromString,
            service_pb2.SingleModelVersionResponse.SerializeToString,
        ),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("clarifai.api.V2", handlers),))
    served.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield served
    finally:
        server.stop(0.2).wait()
