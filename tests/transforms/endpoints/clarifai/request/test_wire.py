"""Requests: equal to what the vendor's client builds, with the content uncopied."""

from __future__ import annotations

from bulkinfer.transforms.endpoints.clarifai.addresses import ModelAddress
from bulkinfer.transforms.endpoints.clarifai.answer.answers import output_value
from bulkinfer.transforms.endpoints.clarifai.request.framing import varint
from bulkinfer.transforms.endpoints.clarifai.request.wire import (
    encode_input,
    frame_request,
    request_envelope,
    signatures_request,
)
from bulkinfer.transforms.endpoints.clarifai.signatures import legacy_method, methods_from_json
from bulkinfer.transforms.job.config import DeploymentConfig, NodepoolConfig
from clarifai.runners.utils.data_types import Image
from clarifai.runners.utils.method_signatures import serialize
from clarifai_grpc.grpc.api import resources_pb2, service_pb2
from hypothesis import given
from hypothesis import strategies as st
from support.vendor import EchoModel, signatures
from support.wire import ADDRESS, ENVELOPE, METHODS, bound, content_of, request_of

VENDOR = signatures()


def vendor_input(method: str, **values):
    """An Input as the vendor's client builds it (`ModelClient._predict`)."""
    proto = resources_pb2.Input()
    serialize(values, VENDOR[method].input_fields, proto.data)
    proto.data.metadata["_method_name"] = method
    return proto


@given(st.integers(0, 2**63 - 1))
def test_varints_are_protobufs(number):
    expected = resources_pb2.Data(int_value=number).SerializeToString()[2:] if number else b"\0"

    assert varint(number) == expected


@given(
    st.lists(st.binary(min_size=1, max_size=70_000), min_size=1, max_size=4),
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)
def test_a_framed_request_parses_equal_to_the_vendors(images, prompt, max_tokens, factor):
    arguments = {"image": "$content", "prompt": "$column.a", "max_tokens": max_tokens, "factor": factor}
    binding = bound("predict", arguments)

    request = request_of(binding, *[content_of(image, {"a": prompt}) for image in images])

    ids = [message.id for message in request.inputs]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    for message in request.inputs:
        message.id = ""
    expected = service_pb2.PostModelOutputsRequest.FromString(ENVELOPE)
    expected.inputs.extend(
        vendor_input("predict", image=Image(bytes=image), prompt=prompt, max_tokens=max_tokens, factor=factor)
        for image in images
    )
    assert request == expected


def test_the_content_is_a_segment_of_its_own_and_not_copied():
    data = bytes(100_000)

    encoded = encode_input(bound("predict", {}), content_of(data))

    assert any(segment is data for segment in encoded.segments)
    assert encoded.nbytes == sum(map(len, encoded.segments))


def test_the_envelope_names_the_model_twice_and_its_version():
    request = service_pb2.PostModelOutputsRequest.FromString(ENVELOPE)

    assert (request.user_app_id.user_id, request.user_app_id.app_id) == ("meta", "sam")
    assert (request.model_id, request.version_id) == ("sam2", "v1")
    assert (request.model.id, request.model.user_id, request.model.app_id) == ("sam2", "meta", "sam")
    assert request.model.model_version.id == "v1"
    assert not request.HasField("runner_selector")


def test_without_a_version_none_is_sent():
    request = service_pb2.PostModelOutputsRequest.FromString(request_envelope(ModelAddress("u", "a", "m")))

    assert request.version_id == ""
    assert not request.model.HasField("model_version")


def test_a_deployment_or_a_nodepool_is_selected():
    deployment = service_pb2.PostModelOutputsRequest.FromString(
        request_envelope(ADDRESS, deployment=DeploymentConfig(id="d", user_id="u"))
    ).runner_selector.deployment
    nodepool = service_pb2.PostModelOutputsRequest.FromString(
        request_envelope(ADDRESS, nodepool=NodepoolConfig(id="n", compute_cluster_id="c", user_id="u"))
    ).runner_selector.nodepool

    assert (deployment.id, deployment.user_id) == ("d", "u")
    assert (nodepool.id, nodepool.compute_cluster.id, nodepool.compute_cluster.user_id) == ("n", "c", "u")


def test_the_vendors_server_answers_the_signature_request():
    request = service_pb2.PostModelOutputsRequest.FromString(signatures_request(ENVELOPE))

    response = EchoModel().predict_wrapper(request)

    assert request.model_id == "sam2"
    assert methods_from_json(response.outputs[0].data.text.raw) == METHODS


def test_a_unary_streaming_request_reads_as_one_input():
    binding = bound("track", {"video": "$content", "frames": "$column.a"}, "video")
    frames = [{"index": 2, "regions": [{"box": [0, 0, 1, 1], "track_id": "1"}]}]

    responses = list(EchoModel().generate_wrapper(request_of(binding, content_of(columns={"a": frames}))))

    values = [output_value(response.outputs[0], binding.method) for response in responses]
    assert values == [{"index": 2, "number": 0, "time_ms": 0, "regions": frames[0]["regions"]}]


def test_a_model_without_signatures_gets_plain_data_and_params():
    binding = bound(legacy_method("image"), {"image": "$content", "threshold": 0.5, "tags": ["a"]})
    envelope = request_envelope(ADDRESS, binding=binding)

    request = service_pb2.PostModelOutputsRequest.FromString(
        frame_request(envelope, [encode_input(binding, content_of(b"png"))])
    )

    data = request.inputs[0].data
    assert data.image.base64 == b"png"
    assert [field.name for field, _ in data.ListFields()] == ["image"]
    assert dict(request.model.model_version.output_info.params) == {"threshold": 0.5, "tags": ["a"]}
    assert request.model.model_version.id == "v1"
