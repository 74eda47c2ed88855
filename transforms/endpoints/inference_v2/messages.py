"""The messages of the Open Inference Protocol, made from a table when this module is imported.

They are those of `open_inference_grpc.proto` (https://github.com/kserve/open-inference-protocol), as far as calls need
them, with Triton's message of a stream. Generated code would be tied to the release of protobuf that made it, and would
clash with that of a server's or a client's package in the same process; these stand in a pool of their own.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["SERVICE", "message"]

SERVICE = "/inference.GRPCInferenceService"
_FILE = "bulkinfer/open_inference_grpc.proto"

_TENSOR = """string name = 1; string datatype = 2; repeated int64 shape = 3"""
_MESSAGES = {
    "ModelReadyRequest": "string name = 1; string version = 2",
    "ModelReadyResponse": "bool ready = 1",
    "ModelMetadataRequest": "string name = 1; string version = 2",
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": """
        string name = 1; repeated string versions = 2; string platform = 3;
        repeated TensorMetadata inputs = 4; repeated TensorMetadata outputs = 5""",
    "InferTensorContents": """
        repeated bool bool_contents = 1; repeated int32 int_contents = 2; repeated int64 int64_contents = 3;
        repeated uint32 uint_contents = 4; repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6;
        repeated double fp64_contents = 7; repeated bytes bytes_contents = 8""",
    "InferTensor": _TENSOR + "; InferTensorContents contents = 5",
    "InferRequestedOutputTensor": "string name = 1",
    "ModelInferRequest": """
        string model_name = 1; string model_version = 2; string id = 3; repeated InferTensor inputs = 5;
        repeated InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7""",
    "ModelInferResponse": """
        string model_name = 1; string model_version = 2; string id = 3; repeated InferTensor outputs = 5;
        repeated bytes raw_output_contents = 6""",
    "ModelStreamInferResponse": "string error_message = 1; ModelInferResponse infer_response = 2",
}
_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+)")


def _pool() -> Any:
    proto = descriptor_pb2.FileDescriptorProto(name=_FILE, package="inference", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, text in _MESSAGES.items():
        described = proto.message_type.add(name=name)
        for repeated, kind, field, number in _FIELD.findall(text):
            added = described.field.add(name=field, number=int(number))
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".inference.{kind}"
            else:
                added.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(proto.SerializeToString())
    return pool


_POOL = _pool()


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"inference.{name}"))
