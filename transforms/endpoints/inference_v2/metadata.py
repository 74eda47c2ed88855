"""Asks a server for a model's tensors and versions, before a job sends anything."""

from __future__ import annotations

import dataclasses
import time

import grpc

from ...calls.backoff import Backoff
from ...calls.endpoint import Fault, Verdict, stopping_error
from ...errors import EndpointError
from ...job.config import CallsConfig, ModelConfig
from ..bearer import Token
from ..over_grpc.address import ServerAddress
from ..over_grpc.channel import open_channel
from ..over_grpc.proxies import proxy_variable
from .messages import SERVICE, message
from .statuses import fault_of_rpc
from .tensors import Tensor

__all__ = ["Metadata", "ask_metadata"]

CONNECT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A model as its server describes it.

    Attributes:
        name: of it.
        version: that answers: the one that was asked for, else the last that the server lists; "" for none.
        inputs: its tensors; empty where the server declares none.
        outputs: likewise.
    """

    name: str
    version: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def signature(self) -> str:
        """The model with its tensors, in a line."""
        inputs, outputs = (", ".join(map(str, side)) or "..." for side in (self.inputs, self.outputs))
        return f"{self.name}({inputs}) -> {outputs}"


def ask_metadata(server: ServerAddress, token: Token, model: ModelConfig, calls: CallsConfig) -> Metadata:
    """Ask for a model's metadata; one that is being loaded is waited for, within `calls.retry_for`.

    Raises:
        EndpointError: no server at the address, or it does not speak the protocol, or does not answer.
        CredentialsError: it refuses the token, or wants one.
        ModelNotFoundError: it does not know the model.
    """
    name, version = model.name or "", model.version or ""
    place = f"{server.url} inference_v2:{name}"
    request = message("ModelMetadataRequest")(name=name, version=version)
    backoff = Backoff(calls.retry_for)
    backoff.start()
    with open_channel(server) as channel:
        _connect(channel, server)
        call = channel.unary_unary(
            f"{SERVICE}/ModelMetadata",
            request_serializer=None,
            response_deserializer=message("ModelMetadataResponse").FromString,
        )
        while True:
            try:
                told = call(
                    request.SerializeToString(),
                    timeout=calls.timeout,
                    metadata=tuple(token.headers().items()),
                )
                break
            except grpc.RpcError as error:
                fault = fault_of_rpc(error)
            fault = dataclasses.replace(fault, message=token.mask(fault.message))
            if fault.verdict.stops_job:
                raise stopping_error(fault, place)
            _wait(fault, backoff, place)
    tensors = [
        tuple(Tensor(one.name, one.datatype, tuple(one.shape)) for one in side)
        for side in (told.inputs, told.outputs)
    ]
    versions = list(told.versions)
    return Metadata(name, version or (versions[-1] if versions else ""), *tensors)


def _wait(fault: Fault, backoff: Backoff, place: str) -> None:
    pause = backoff.next_pause(fault.verdict, fault.retry_after_s) if fault.verdict.retried else None
    if pause is None:
        ready = "; it was waited for" if fault.verdict is Verdict.WAIT else ""
        raise EndpointError(f"{place}: the server did not tell the model's metadata: {fault.message}{ready}")
    time.sleep(pause)


def _connect(channel: grpc.Channel, server: ServerAddress) -> None:
    try:
        grpc.channel_ready_future(channel).result(CONNECT_S)
    except grpc.FutureTimeoutError:
        proxy = proxy_variable(server)
        through = f" through the proxy of the variable {proxy}" if proxy else ""
        raise EndpointError(
            f"model.endpoint: no gRPC server answers at {server.url}{through} within {CONNECT_S:g} s; check the "
            "address (servers of the protocol often have another port for HTTP) and whether it speaks TLS"
        ) from None
