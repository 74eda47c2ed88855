"""The embedded model server for tests: running servers, and calls to them by nothing but gRPC."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve
from clarifai_grpc.grpc.api import resources_pb2, service_pb2

__all__ = ["ApiStub", "port_of", "request_of", "running_server", "stub_of"]


def running_server() -> Iterator[EmbeddedServer]:
    """A server that answers for any model and asks for no key; wrap it as a module's fixture."""
    with serve() as server:
        yield server


def port_of(server: EmbeddedServer) -> int:
    """The port in its address."""
    return int(server.endpoint.rsplit(":", 1)[1])


class ApiStub:
    """The calls that models answer; the vendor's own stub needs its whole client to be set up."""

    def __init__(self, channel: grpc.Channel) -> None:
        ask = service_pb2.PostModelOutputsRequest.SerializeToString
        answer = service_pb2.MultiOutputResponse.FromString
        self.PostModelOutputs = channel.unary_unary("/clarifai.api.V2/PostModelOutputs", ask, answer)
        self.GenerateModelOutputs = channel.unary_stream("/clarifai.api.V2/GenerateModelOutputs", ask, answer)
        self.StreamModelOutputs = channel.stream_stream("/clarifai.api.V2/StreamModelOutputs", ask, answer)
        self.GetModelVersion = channel.unary_unary(
            "/clarifai.api.V2/GetModelVersion",
            service_pb2.GetModelVersionRequest.SerializeToString,
            service_pb2.SingleModelVersionResponse.FromString,
        )


@contextlib.contextmanager
def stub_of(server: EmbeddedServer) -> Iterator[ApiStub]:
    """A channel to a server for as long as the block runs."""
    with grpc.insecure_channel(f"127.0.0.1:{port_of(server)}") as channel:
        yield ApiStub(channel)


def request_of(method: str | None, *inputs: resources_pb2.Data, model: str = "m") -> Any:
    """A request for a method, with an input for each message."""
    request = service_pb2.PostModelOutputsRequest(
        user_app_id=resources_pb2.UserAppIDSet(user_id="u", app_id="a"), model_id=model
    )
    for data in inputs:
        request.inputs.add(data=data)
        if method is not None:
            request.inputs[-1].data.metadata["_method_name"] = method
    return request
