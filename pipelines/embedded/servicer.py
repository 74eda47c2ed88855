"""What the embedded server answers to each call of the model API: the three predict calls, the model, its version.

It answers as the vendor's local model server does: any exception in a method, and any argument that does not
fit, is a response with status FAILURE and no outputs, whatever else was in the batch.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec
import grpc
from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

from .methods import ModelMethod, signatures_json
from .workers import Workers

__all__ = ["ModelServicer"]

logger = logging.getLogger(__name__)

_METHOD_NAME = "_method_name"
_SUCCESS = status_pb2.Status(code=status_code_pb2.SUCCESS)
_MEDIA = {"image": "base64", "video": "base64", "audio": "base64", "text": "raw"}


class ModelServicer(service_pb2_grpc.V2Servicer):
    """Serves one model under any name, or under one name alone.

    Args:
        methods: the model's methods by name.
        workers: runs the heavy ones.
        model: (user id, app id, model id) to answer for; None answers for any.
        version_id: the model version's id.
        key: the key that every call must bring; None asks for none.
        local_files: whether an input's URL may name a file of this machine.
    """

    def __init__(
        self,
        methods: Mapping[str, ModelMethod],
        workers: Workers,
        *,
        model: tuple[str, str, str] | None,
        version_id: str,
        key: str | None,
        local_files: bool,
    ) -> None:
        self._methods, self._workers = methods, workers
        self._model, self._version_id = model, version_id
        self._key, self._local_files = key, local_files

    def GetModelVersion(  # noqa: N802 (the API's name)
        self, request: service_pb2.GetModelVersionRequest, context: grpc.ServicerContext
    ) -> service_pb2.SingleModelVersionResponse:
        """The model's version with the signatures of its methods."""
        refused = self._refused(request, context)
        if refused is not None:
            return service_pb2.SingleModelVersionResponse(status=refused)
        return service_pb2.SingleModelVersionResponse(status=_SUCCESS, model_version=self._version(request))

    def GetModel(  # noqa: N802
        self, request: service_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> service_pb2.SingleModelResponse:
        """The model with its latest version, which is what the vendor's `Model` client asks for first."""
        refused = self._refused(request, context)
        if refused is not None:
            return service_pb2.SingleModelResponse(status=refused)
        model = resources_pb2.Model(
            id=request.model_id,
            name=request.model_id,
            user_id=request.user_app_id.user_id,
            app_id=request.user_app_id.app_id,
            model_type_id="any-to-any",
            model_version=self._version(request),
        )
        return service_pb2.SingleModelResponse(status=_SUCCESS, model=model)

    def PostModelOutputs(  # noqa: N802
        self, request: service_pb2.PostModelOutputsRequest, context: grpc.ServicerContext
    ) -> service_pb2.MultiOutputResponse:
        """A unary method, once for each input; or `_GET_SIGNATURES`."""
        refused = self._refused(request, context)
        if refused is not None:
            return service_pb2.MultiOutputResponse(status=refused)
        try:
            return self._unary(request, context)
        except Exception as error:  # noqa: BLE001 (a model's fault is an answer, as in the vendor's server)
            return _failure(error)

    def GenerateModelOutputs(  # noqa: N802
        self, request: service_pb2.PostModelOutputsRequest, context: grpc.ServicerContext
    ) -> Iterator[service_pb2.MultiOutputResponse]:
        """A method that answers with a stream."""
        refused = self._refused(request, context)
        if refused is not None:
            yield service_pb2.MultiOutputResponse(status=refused)
            return
        try:
            data = self._fetched(_only_input(request, "Generate"))
            method = self._method(request, "generate", "UNARY_STREAMING")
            for answer in method.call_streaming(data):
                yield _response([answer])
        except Exception as error:  # noqa: BLE001
            yield _failure(error)

    def StreamModelOutputs(  # noqa: N802
        self, requests: Iterator[service_pb2.PostModelOutputsRequest], context: grpc.ServicerContext
    ) -> Iterator[service_pb2.MultiOutputResponse]:
        """A method that listens to a stream and answers with one."""
        first = next(requests, None)
        refused = self._refused(first, context) if first is not None else None
        if first is None or refused is not None:
            status = refused or status_pb2.Status(code=status_code_pb2.FAILURE, details="the stream is empty")
            yield service_pb2.MultiOutputResponse(status=status)
            return
        try:
            data = self._fetched(_only_input(first, "Streaming"))
            method = self._method(first, "stream", "STREAMING_STREAMING")
            later = (self._fetched(_only_input(request, "Streaming")) for request in requests)
            for answer in method.call_bidirectional(data, later):
                yield _response([answer])
        except Exception as error:  # noqa: BLE001
            yield _failure(error)

    def _unary(
        self, request: service_pb2.PostModelOutputsRequest, context: grpc.ServicerContext
    ) -> service_pb2.MultiOutputResponse:
        if _method_name(request, "predict") == "_GET_SIGNATURES":
            data = resources_pb2.Data(text=resources_pb2.Text(raw=signatures_json(self._methods.values())))
            return _response([data])
        method = self._method(request, "predict", "UNARY_UNARY")
        inputs = [self._fetched(item.data) for item in request.inputs]
        if not method.heavy:
            return _response([method.call(data) for data in inputs])
        name = method.signature.name
        under_way = [self._workers.submit(name, data.SerializeToString()) for data in inputs]
        # A caller that has gone away, as after its deadline, must not keep the cores from those who wait.
        context.add_callback(lambda: [future.cancel() for future in under_way])
        try:
            return _response([resources_pb2.Data.FromString(future.result()) for future in under_way])
        finally:
            for future in under_way:
                future.cancel()

    def _version(self, request: Any) -> resources_pb2.ModelVersion:
        return resources_pb2.ModelVersion(
            id=request.version_id or self._version_id,
            user_id=request.user_app_id.user_id,
            app_id=request.user_app_id.app_id,
            status=status_pb2.Status(code=status_code_pb2.MODEL_TRAINED, description="Model is trained"),
            method_signatures=[method.signature for method in self._methods.values()],
        )

    def _method(self, request: service_pb2.PostModelOutputsRequest, default: str, kind: str) -> ModelMethod:
        name = _method_name(request, default)
        method = self._methods.get(name)
        if method is None:
            raise ValueError(f"Method {name} not found in model class")
        if method.kind != kind:
            raise TypeError(f"Method {name} is {method.kind} and this call is for {kind} methods")
        return method

    def _refused(self, request: Any, context: grpc.ServicerContext) -> status_pb2.Status | None:
        """The status that turns a call away before anything is done; None when it may go on."""
        if self._key is not None:
            sent = dict(context.invocation_metadata())
            if self._key not in (
                sent.get("authorization", "").removeprefix("Key "),
                sent.get("x-clarifai-session-token"),
            ):
                return status_pb2.Status(
                    code=status_code_pb2.CONN_KEY_INVALID,
                    description="API key or session token is missing or invalid",
                )
        user_app = request.user_app_id
        named = (user_app.user_id, user_app.app_id, request.model_id)
        if self._model is not None and (
            named != self._model or request.version_id not in ("", self._version_id)
        ):
            return status_pb2.Status(
                code=status_code_pb2.MODEL_DOES_NOT_EXIST,
                description="Model does not exist",
                details=f"Model '{'/'.join(named)}' does not exist.",
            )
        return None

    def _fetched(self, data: resources_pb2.Data) -> resources_pb2.Data:
        """The message with the content of every URL that came without its content."""
        for holder in (data, *(part.data for part in data.parts)):
            for medium, field in _MEDIA.items():
                if not holder.HasField(medium):
                    continue
                message = getattr(holder, medium)
                if message.url and not getattr(message, field):
                    content = self._fetch(message.url)
                    setattr(message, field, content.decode() if field == "raw" else content)
        return data

    def _fetch(self, url: str) -> bytes:
        if not self._local_files and ("://" not in url or "::" in url or url.startswith(("file:", "local:"))):
            raise PermissionError("the URL names a file of the server's machine; send the content itself")
        with fsspec.open(url, "rb") as file:
            return bytes(file.read())


def _only_input(request: service_pb2.PostModelOutputsRequest, call: str) -> resources_pb2.Data:
    if len(request.inputs) != 1:
        raise ValueError(f"{call} requires exactly one input")
    return request.inputs[0].data


def _method_name(request: service_pb2.PostModelOutputsRequest, default: str) -> str:
    metadata = request.inputs[0].data.metadata if request.inputs else {}
    return str(metadata[_METHOD_NAME]) if _METHOD_NAME in metadata else default


def _response(answers: list[resources_pb2.Data]) -> service_pb2.MultiOutputResponse:
    response = service_pb2.MultiOutputResponse(status=_SUCCESS)
    for answer in answers:
        output = response.outputs.add(status=_SUCCESS)
        output.data.CopyFrom(answer)
    return response


def _failure(error: Exception) -> service_pb2.MultiOutputResponse:
    # The error's type only: its text may quote an input.
    logger.warning("a call failed: error=%s", type(error).__name__)
    return service_pb2.MultiOutputResponse(
        status=status_pb2.Status(
            code=status_code_pb2.FAILURE,
            details=str(error),
            stack_trace=traceback.format_exception(error),
        )
    )
