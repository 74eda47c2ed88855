"""What both peers send and read: requests of the vendor's API, built and read by its own messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc.aio
from clarifai_grpc.grpc.api import service_pb2

__all__ = ["answers_of", "open_call", "request_of"]

_SUCCESS = 10000
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def open_call(endpoint: str) -> Any:
    """The call of a channel of its own, on the loop that runs."""
    channel = grpc.aio.insecure_channel(endpoint.removeprefix("http://"), options=_UNLIMITED)
    return channel.unary_unary(
        "/clarifai.api.V2/PostModelOutputs",
        request_serializer=service_pb2.PostModelOutputsRequest.SerializeToString,
        response_deserializer=service_pb2.MultiOutputResponse.FromString,
    )


def request_of(values: Sequence[str | bytes]) -> Any:
    """One call's request; texts and pictures are told apart by their type."""
    request = service_pb2.PostModelOutputsRequest(model_id="echo")
    request.user_app_id.user_id, request.user_app_id.app_id = "acme", "lab"
    for value in values:
        data = request.inputs.add().data
        data.metadata["_method_name"] = "measure" if isinstance(value, bytes) else "predict"
        part = data.parts.add()
        if isinstance(value, bytes):
            part.id, part.data.image.base64 = "image", value
        else:
            part.id, part.data.string_value = "text", value
    return request


def answers_of(response: Any) -> list[str]:
    """The answers of one call, as texts.

    Raises:
        RuntimeError: the call did not succeed.
    """
    if response.status.code != _SUCCESS:
        raise RuntimeError(response.status.description)
    return [_answer(output) for output in response.outputs]


def _answer(output: Any) -> str:
    data = output.data.parts[0].data if output.data.parts else output.data
    return str(data.int_value) if data.int_value else data.string_value or data.text.raw
