"""Calls a model synchronously: asks for its methods and version, and sends one input at a time."""

from __future__ import annotations

import dataclasses
import time
from types import TracebackType
from typing import Any

import grpc
from clarifai_grpc.grpc.api import resources_pb2, service_pb2

from ...calls.backoff import Backoff
from ...calls.endpoint import Fault, Verdict, stopping_error
from ...errors import BulkinferError, CallError, CredentialsError, EndpointError
from ...job.config import DeploymentConfig, NodepoolConfig
from ...records import Content
from ..over_grpc.address import ServerAddress
from ..over_grpc.channel import open_channel
from ..over_grpc.proxies import proxy_variable
from .addresses import ModelAddress
from .client import Credentials, check_plaintext, stub
from .request.binding import Binding
from .request.wire import encode_input, frame_request, request_envelope, signatures_request, stream_requests
from .signatures import Method, methods_from_json, methods_from_messages
from .statuses import fault_of_rpc, fault_of_status
from .text_faults import text_fault

__all__ = ["ModelClient"]

CONNECT_S = 5.0
_GET_VERSION = "/clarifai.api.V2/GetModelVersion"
_GET_MODEL = "/clarifai.api.V2/GetModel"


class ModelClient:
    """Calls one model; used before a job and by `bulkinfer call`.

    Args:
        endpoint: where the API is served.
        address: the model, with or without a version.
        deployment: the dedicated deployment to send to.
        nodepool: the dedicated nodepool to send to.
        allow_plaintext: send a key unencrypted to another machine.
        timeout: seconds, the deadline of one call.
        retry_for: seconds that a starting or busy model is waited for.

    Raises:
        CredentialsError: the key would travel unencrypted.
    """

    def __init__(
        self,
        endpoint: ServerAddress,
        address: ModelAddress,
        *,
        deployment: DeploymentConfig | None = None,
        nodepool: NodepoolConfig | None = None,
        allow_plaintext: bool = False,
        timeout: float = 60.0,
        retry_for: float = 60.0,
    ) -> None:
        self._credentials = Credentials.from_environment()
        check_plaintext(endpoint, self._credentials, allow_plaintext=allow_plaintext)
        self._endpoint = endpoint
        self._address = address
        self._deployment = deployment
        self._nodepool = nodepool
        self._timeout = timeout
        self._retry_for = retry_for
        self._channel = open_channel(endpoint)
        self._connected = False
        self._version: str | None = None

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def methods(self) -> dict[str, Method]:
        """The model's methods by name; empty for an older model that declares none.

        Raises:
            EndpointError: no server answers, or it does not speak the API.
            CredentialsError: the server refuses the key, or wants one.
            ModelNotFoundError: the server does not know the model.
        """
        version = self._model_version_message()
        if version is not None:
            self._version = version.id
            if version.method_signatures:
                return methods_from_messages(version.method_signatures)
        return self._asked_methods()

    def model_version(self) -> str:
        """The version that answers; "" when none was asked for and the server names none."""
        if self._version is None:
            message = self._model_version_message()
            self._version = message.id if message is not None else ""
        return self._version or self._address.version_id or ""

    def call_one(self, binding: Binding, content: Content) -> list[Any]:
        """Send one input; the `Output` messages of the answer, one for a unary method.

        Raises:
            EncodeError: the content does not fit the method's parameter.
            CallError: the model refused the input, or did not answer within `retry_for`.
            JobError: nothing that is sent to this model with this key would work.
        """
        envelope = request_envelope(
            self._address, deployment=self._deployment, nodepool=self._nodepool, binding=binding
        )
        kind = binding.method.type
        if kind == "STREAMING_STREAMING":
            messages = stream_requests(binding, envelope, content)
        else:
            messages = [frame_request(envelope, [encode_input(binding, content)])]
        answers = self._retried(kind, messages)
        outputs = [output for answer in answers for output in answer.outputs]
        if kind == "UNARY_UNARY" and len(outputs) != 1:
            raise CallError("mismatch", f"{self._place}: the model gave {len(outputs)} outputs for one input")
        return outputs

    @property
    def _place(self) -> str:
        return f"{self._endpoint.url} {self._address.url}"

    def _retried(self, kind: str, messages: list[bytes]) -> list[Any]:
        answers, fault = self._with_retries(kind, messages)
        if fault is not None:
            raise self._error(fault)
        return answers

    def _with_retries(self, kind: str, messages: list[bytes]) -> tuple[list[Any], Fault | None]:
        backoff = Backoff(self._retry_for)
        backoff.start()
        while True:
            answers, fault = self._once(kind, messages)
            if fault is None:
                return answers, None
            pause = backoff.next_pause(fault.verdict, fault.retry_after_s) if fault.verdict.retried else None
            if pause is None:
                return [], fault
            time.sleep(pause)

    def _once(self, kind: str, messages: list[bytes]) -> tuple[list[Any], Fault | None]:
        self._connect()
        call = stub(self._channel, kind)
        options = {"timeout": self._timeout, "metadata": self._credentials.metadata()}
        try:
            if kind == "UNARY_UNARY":
                answers = [call(messages[0], **options)]
            elif kind == "UNARY_STREAMING":
                answers = list(call(messages[0], **options))
            else:
                answers = list(call(iter(messages), **options))
        except grpc.RpcError as error:
            return [], fault_of_rpc(error)
        for answer in answers:
            # An output's status says what happened; the call's own says only that something did.
            for status in (*(output.status for output in answer.outputs), answer.status):
                if status.code and (fault := fault_of_status(status)).verdict is not Verdict.OK:
                    return [], fault
            for output in answer.outputs:
                if (told := text_fault(output)) is not None:
                    return [], told
        return answers, None

    def _connect(self) -> None:
        if self._connected:
            return
        try:
            grpc.channel_ready_future(self._channel).result(timeout=CONNECT_S)
        except grpc.FutureTimeoutError:
            proxy = proxy_variable(self._endpoint)
            through = f" through the proxy of the variable {proxy}" if proxy else ""
            raise EndpointError(
                f"no server answers at {self._endpoint.url}{through} within {CONNECT_S:g} s; check model.endpoint "
                "(or CLARIFAI_API_BASE), that the server runs, and whether it wants https:// or http://"
            ) from None
        self._connected = True

    def _model_version_message(self) -> Any | None:
        """The server's record of the version; None where the server has no such call, like the vendor's local one."""
        owner = resources_pb2.UserAppIDSet(user_id=self._address.user_id, app_id=self._address.app_id)
        latest = None
        version_id = self._address.version_id
        if version_id is None:
            ask = service_pb2.GetModelRequest(user_app_id=owner, model_id=self._address.model_id)
            answer = self._get(_GET_MODEL, ask, service_pb2.SingleModelResponse)
            latest = answer.model.model_version if answer is not None else None
            version_id = latest.id if latest is not None else ""
            if latest is not None and (latest.method_signatures or not version_id):
                return latest
        request = service_pb2.GetModelVersionRequest(
            user_app_id=owner, model_id=self._address.model_id, version_id=version_id
        )
        answer = self._get(_GET_VERSION, request, service_pb2.SingleModelVersionResponse)
        return answer.model_version if answer is not None else latest

    def _get(self, path: str, request: Any, answer_type: Any) -> Any | None:
        self._connect()
        call = self._channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer_type.FromString,
        )
        backoff = Backoff(self._retry_for)
        backoff.start()
        while True:
            try:
                answer = call(request, timeout=self._timeout, metadata=self._credentials.metadata())
                fault = fault_of_status(answer.status)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return None
                fault = fault_of_rpc(error)
            if fault.verdict is Verdict.OK:
                return answer
            if fault.verdict is Verdict.NO_METHOD:
                return None
            if not fault.verdict.retried:
                raise self._error(fault)
            pause = backoff.next_pause(fault.verdict, fault.retry_after_s)
            if pause is None:
                raise self._unanswered(fault)
            time.sleep(pause)

    def _asked_methods(self) -> dict[str, Method]:
        envelope = request_envelope(self._address, deployment=self._deployment, nodepool=self._nodepool)
        answers, fault = self._with_retries("UNARY_UNARY", [signatures_request(envelope)])
        if fault is not None:
            if fault.verdict.retried:
                raise self._unanswered(fault)
            if fault.verdict.stops_job and fault.verdict is not Verdict.NO_METHOD:
                raise self._error(fault)
            return {}  # an older model takes the question for an input that it cannot use
        text = answers[0].outputs[0].data.text.raw if answers[0].outputs else ""
        return methods_from_json(text) if text else {}

    def _unanswered(self, fault: Fault) -> BulkinferError:
        # A model that still starts must not be taken for an older one, nor must the job's first batch meet it.
        message = self._credentials.mask(f"{self._place}: {fault.message}")
        return EndpointError(
            f"{message}; no other answer came within calls.retry_for={self._retry_for:g} s, so raise it, or try again "
            "later; check model.endpoint, and that the server and the model's deployment run"
        )

    def _error(self, fault: Fault) -> BulkinferError:
        place = self._place
        # A server may repeat the key, and the error repeats what the server said.
        fault = dataclasses.replace(fault, message=self._credentials.mask(fault.message))
        if fault.verdict.stops_job:
            error = stopping_error(fault, place)
            if isinstance(error, CredentialsError) and not self._credentials:
                return CredentialsError(
                    f"{place}: the endpoint wants credentials ({fault.message}); set CLARIFAI_PAT in the "
                    "environment"
                )
            return error
        message = f"{place}: {fault.message}"
        if fault.grpc_code == "UNAVAILABLE":
            return EndpointError(f"{message}; check model.endpoint and that the server runs")
        return CallError(fault.error_type, message)
