"""A server of the Open Inference Protocol for tests: models are functions of arrays, and calls fail as told."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
import numpy as np
from bulkinfer.transforms.endpoints.inference_v2.messages import message
from bulkinfer.transforms.endpoints.inference_v2.tensors import DTYPES, array_of, packed_bytes

__all__ = ["InferenceServer", "Model", "Spec", "running"]

SERVICE = "inference.GRPCInferenceService"
Arrays = Mapping[str, Any]


class Spec(NamedTuple):
    """A tensor that a model declares."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Model(NamedTuple):
    """A model: what it declares, and what it answers. A stream's function yields its pieces."""

    function: Callable[[Arrays], Any]
    inputs: Sequence[Spec] = ()
    outputs: Sequence[Spec] = ()
    versions: Sequence[str] = ("1",)
    decoupled: bool = False


class Refused(Exception):
    """Ends a call with a code."""

    def __init__(self, code: str, details: str = "as it was told", metadata: Any = ()) -> None:
        super().__init__(code, details)
        self.code, self.details, self.metadata = grpc.StatusCode[code], details, metadata


class InferenceServer:
    """Answers by models; `before` sees each call's arrays first, and may raise `Refused`.

    Args:
        models: by name.
        raw: values travel beside their tensors, as Triton answers those who send so; else inside of them.
        token: of the header `authorization`, if one is wanted.
        wraps: a stream's answers stand inside of Triton's message; else they are the answers, as MLServer sends them.
    """

    def __init__(
        self, models: Mapping[str, Model], *, raw: bool = True, token: str | None = None, wraps: bool = True
    ) -> None:
        self.models, self.raw, self.token, self.wraps = dict(models), raw, token, wraps
        self.before: Callable[[str, Arrays], None] = lambda name, arrays: None
        self.damage: Callable[[Any], Any] = lambda response: response
        self.unready = 0  # so many requests for metadata find a model that is still loading
        self.requests: list[Any] = []
        self.endpoint = ""

    def handlers(self) -> Any:
        """The RPCs that it answers."""
        unary = grpc.unary_unary_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "ModelMetadata": unary(
                    self._metadata, message("ModelMetadataRequest").FromString, _serialized
                ),
                "ModelInfer": unary(self._infer, message("ModelInferRequest").FromString, _serialized),
                "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                    self._stream, message("ModelInferRequest").FromString, _serialized
                ),
            },
        )

    def _metadata(self, request: Any, context: Any) -> Any:
        model = self._model(request.name, context)
        if self.unready:
            self.unready -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, f"model '{request.name}' is not ready")
        told = message("ModelMetadataResponse")(name=request.name, versions=model.versions, platform="test")
        for side, tensors in ((told.inputs, model.inputs), (told.outputs, model.outputs)):
            for tensor in tensors:
                side.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return told

    def _infer(self, request: Any, context: Any) -> Any:
        model = self._model(request.model_name, context)
        if model.decoupled:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                "ModelInfer RPC doesn't support models with decoupled transaction policy",
            )
        arrays = self._arrays(request, context)
        try:
            return self.damage(self._response(request, model.function(arrays)))
        except Refused as refused:
            _abort(context, refused)

    def _stream(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            model = self._model(request.model_name, context)
            arrays = self._arrays(request, context)
            try:
                for piece in model.function(arrays):
                    response = self._response(request, piece)
                    yield (
                        message("ModelStreamInferResponse")(infer_response=response)
                        if self.wraps
                        else response
                    )
            except Refused as refused:
                if self.wraps and refused.code is grpc.StatusCode.UNKNOWN:
                    yield message("ModelStreamInferResponse")(error_message=refused.details)
                    return
                _abort(context, refused)

    def _model(self, name: str, context: Any) -> Model:
        headers = dict(context.invocation_metadata())
        if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no such token: {headers.get('authorization')}")
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found")
        return self.models[name]

    def _arrays(self, request: Any, context: Any) -> Arrays:
        self.requests.append(request)
        raw = request.raw_input_contents
        arrays = {one.name: array_of(one, raw[at] if raw else None) for at, one in enumerate(request.inputs)}
        try:
            self.before(request.model_name, arrays)
        except Refused as refused:
            _abort(context, refused)
        return arrays

    def _response(self, request: Any, outputs: Arrays) -> Any:
        response = message("ModelInferResponse")(
            model_name=request.model_name, model_version="1", id="call-7"
        )
        wanted = [one.name for one in request.outputs] or list(outputs)
        for name in wanted:
            array = outputs[name]
            datatype = _datatype(array)
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if self.raw:
                values = packed_bytes(array.reshape(-1)) if datatype == "BYTES" else array.tobytes()
                response.raw_output_contents.append(values)
            else:
                getattr(tensor.contents, _CONTENTS[datatype]).extend(array.reshape(-1).tolist())
        return response


_CONTENTS = {
    "BYTES": "bytes_contents",
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
}


def _datatype(array: Any) -> str:
    if array.dtype == object:
        return "BYTES"
    return next(name for name, dtype in DTYPES.items() if dtype == array.dtype)


def _serialized(response: Any) -> bytes:
    return response if isinstance(response, bytes) else bytes(response.SerializeToString())


def _abort(context: Any, refused: Refused) -> None:
    context.set_trailing_metadata(refused.metadata)
    context.abort(refused.code, refused.details)


@contextlib.contextmanager
def running(
    server: InferenceServer, *, max_message: int | None = None, credentials: Any = None
) -> Iterator[InferenceServer]:
    """The server on a free port of this machine."""
    options = [("grpc.max_receive_message_length", max_message)] if max_message else []
    own = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=options)
    own.add_generic_rpc_handlers((server.handlers(),))
    if credentials is None:
        server.endpoint = f"grpc://127.0.0.1:{own.add_insecure_port('127.0.0.1:0')}"
    else:
        server.endpoint = f"grpcs://localhost:{own.add_secure_port('127.0.0.1:0', credentials)}"
    own.start()
    try:
        yield server
    finally:
        own.stop(None).wait()


class Playing:
    """What `before` of a played server does, and what it saw."""

    def __init__(self, **how: Any) -> None:
        self.first: Refused | None = how.get("first")
        self.bad: Mapping[str, Refused | str] = how.get("bad", {})
        self.breaks, self.seconds, self.rate = how.get("breaks", 0), how.get("seconds", 0.0), how.get("rate")
        self.seen: collections.Counter[str] = collections.Counter()
        self.count = 0
        self._accepted: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, name: str, arrays: Arrays) -> None:
        texts = [text.decode() for text in arrays["text"].reshape(-1)]
        with self._lock:
            now = time.monotonic()
            self.count += 1
            number = self.count
            if self.rate is not None:
                self._accepted = [at for at in self._accepted if at > now - 1]
                if len(self._accepted) >= self.rate:
                    raise Refused("RESOURCE_EXHAUSTED", "too many calls")
                self._accepted.append(now)
            self.seen.update(texts)
        time.sleep(self.seconds)
        if self.first is not None and number == 1:
            raise self.first
        for text in texts:
            if isinstance(refused := self.bad.get(text), Refused):
                raise refused


def texts_of(items: Sequence[str]) -> Any:
    """An array of BYTES."""
    array = np.empty(len(items), object)
    array[:] = [item.encode() for item in items]
    return array
