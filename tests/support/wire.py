"""Builds requests with our code, and lets the vendor's own server answer them."""

from __future__ import annotations

from bulkinfer.transforms.endpoints.clarifai.addresses import ModelAddress
from bulkinfer.transforms.endpoints.clarifai.answer.answers import output_value
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind
from bulkinfer.transforms.endpoints.clarifai.request.wire import (
    encode_input,
    frame_request,
    request_envelope,
    stream_requests,
)
from bulkinfer.transforms.endpoints.clarifai.signatures import methods_from_json
from bulkinfer.transforms.records import Content, Reference
from clarifai_grpc.grpc.api import service_pb2
from clarifai_grpc.grpc.api.status import status_code_pb2

from .vendor import EchoModel, signature_json

__all__ = ["ADDRESS", "ENVELOPE", "METHODS", "answered", "bound", "content_of", "request_of", "streamed"]

METHODS = methods_from_json(signature_json())
ADDRESS = ModelAddress("meta", "sam", "sam2", "v1")
ENVELOPE = request_envelope(ADDRESS)


def content_of(
    data: bytes | None = b"data", columns=None, fetched=None, media_type="image", **options
) -> Content:
    reference = Reference(
        "id", options.pop("uri", "https://h/x"), media_type, columns=columns or {}, **options
    )
    return Content(reference, data, columns=fetched or {})


def bound(method, arguments, media_type="image", columns=("a", "b"), **options):
    method = METHODS[method] if isinstance(method, str) else method
    return bind(method, arguments, media_type=media_type, columns=columns, **options)


def request_of(binding, *contents: Content):
    framed = frame_request(ENVELOPE, [encode_input(binding, content) for content in contents])
    return service_pb2.PostModelOutputsRequest.FromString(framed)


def answered(binding, *contents: Content):
    """The values that the vendor's own server answers."""
    response = EchoModel().predict_wrapper(request_of(binding, *contents))
    assert response.status.code == status_code_pb2.SUCCESS, response.status.details
    return [output_value(output, binding.method) for output in response.outputs]


def streamed(binding, content: Content, envelope: bytes = ENVELOPE):
    requests = [
        service_pb2.PostModelOutputsRequest.FromString(message)
        for message in stream_requests(binding, envelope, content)
    ]
    responses = list(EchoModel().stream_wrapper(iter(requests)))
    assert all(response.status.code == status_code_pb2.SUCCESS for response in responses), responses
    return [output_value(response.outputs[0], binding.method) for response in responses]
