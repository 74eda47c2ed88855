"""Builds requests as bytes: an envelope, and one length-delimited field per input around its untouched content.

Building and serializing messages copies every image several times; framing by hand copies it once, in the
join that makes the call's message. What comes out parses equal to what protobuf builds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from clarifai_grpc.grpc.api import resources_pb2, service_pb2

from ....errors import MethodError
from ....job.config import DeploymentConfig, NodepoolConfig
from ....records import Content
from ..addresses import ModelAddress
from .binding import Binding
from .framing import tag, varint

__all__ = [
    "EncodedInput",
    "encode_input",
    "frame_request",
    "request_envelope",
    "signatures_request",
    "stream_requests",
]

_INPUTS = tag(service_pb2.PostModelOutputsRequest, "inputs")
_ID = tag(resources_pb2.Input, "id")
_DATA = tag(resources_pb2.Input, "data")
# Unique among any 16 million inputs of a process, hence in a batch, and always six bytes long.
_numbers = itertools.count()


@dataclasses.dataclass(slots=True)
class EncodedInput:
    """One input of a request, serialized and length-delimited.

    Attributes:
        segments: the bytes in order; the content is one of them, uncopied. Once a large message is made of them, the
            message holds them alone.
        nbytes: their sum, which is what the input adds to a request.
    """

    segments: tuple[bytes, ...]
    nbytes: int


def request_envelope(
    address: ModelAddress,
    *,
    deployment: DeploymentConfig | None = None,
    nodepool: NodepoolConfig | None = None,
    binding: Binding | None = None,
) -> bytes:
    """Everything of a request but its inputs.

    Args:
        address: the model; without a version the server takes the latest.
        deployment: the dedicated deployment to send to.
        nodepool: the dedicated nodepool to send to.
        binding: gives the parameters of a model without signatures, which travel here; others add nothing.
    """
    request = service_pb2.PostModelOutputsRequest(
        user_app_id=resources_pb2.UserAppIDSet(user_id=address.user_id, app_id=address.app_id),
        model_id=address.model_id,
        version_id=address.version_id or "",
        model=resources_pb2.Model(id=address.model_id, user_id=address.user_id, app_id=address.app_id),
    )
    if address.version_id:
        request.model.model_version.id = address.version_id
    if deployment is not None:
        request.runner_selector.deployment.id = deployment.id
        request.runner_selector.deployment.user_id = deployment.user_id
    if nodepool is not None:
        request.runner_selector.nodepool.id = nodepool.id
        request.runner_selector.nodepool.compute_cluster.id = nodepool.compute_cluster_id
        request.runner_selector.nodepool.compute_cluster.user_id = nodepool.user_id
    # Protobuf merges a message field that stands twice, so the parameters can follow.
    return bytes(request.SerializeToString()) + (binding.params if binding is not None else b"")


def signatures_request(envelope: bytes) -> bytes:
    """The request that a model answers with the JSON of its signatures, in `outputs[0].data.text.raw`.

    The empty part keeps the server from taking the input for one of the format before signatures, which it
    would try to convert (`DataConverter.is_old_format` in `clarifai/runners/utils/data_utils.py`).
    """
    request = service_pb2.PostModelOutputsRequest()
    data = request.inputs.add().data
    data.parts.add()
    data.metadata.update({"_method_name": "_GET_SIGNATURES"})
    return envelope + bytes(request.SerializeToString())


def encode_input(binding: Binding, content: Content) -> EncodedInput:
    """One input of a unary request.

    Raises:
        EncodeError: the content or a column does not fit the method's parameter.
    """
    data: list[bytes] = []
    for step in binding.plan:
        if isinstance(step, bytes):
            data.append(step)
        else:
            data += step.segments(content)
    return _input(data)


def frame_request(envelope: bytes, inputs: Sequence[EncodedInput]) -> bytes:
    """A request with these inputs: the one copy of their bytes."""
    return b"".join([envelope, *[segment for encoded in inputs for segment in encoded.segments]])


def stream_requests(binding: Binding, envelope: bytes, content: Content) -> list[bytes]:
    """The messages of one STREAMING_STREAMING call.

    The first carries every argument and the first item of the stream, the later ones the stream's argument
    alone. All carry the envelope and the method's name, as the vendor's client does it (`_req_iterator` in
    `model_client.py`).

    Raises:
        EncodeError: the content or a column does not fit, or gives nothing to stream.
        MethodError: the method takes no stream.
    """
    streaming = binding.streaming_argument
    if streaming is None:
        raise MethodError(
            f"{binding.method.name} has no argument that streams; call it as {binding.method.type}"
        )
    items = streaming.items(content, binding.stream)
    first: list[bytes] = []
    for step in binding.plan:
        if isinstance(step, bytes):
            first.append(step)
        else:
            first += items[0] if step.field.iterator else step.segments(content)
    later = [[binding.header, *item] for item in items[1:]]
    return [frame_request(envelope, [_input(data)]) for data in (first, *later)]


def _input(data: list[bytes]) -> EncodedInput:
    size = sum(map(len, data))
    inner = _ID + b"\x06" + b"%06x" % (next(_numbers) & 0xFFFFFF) + _DATA + varint(size)
    head = _INPUTS + varint(size + len(inner)) + inner
    return EncodedInput((head, *data), len(head) + size)
