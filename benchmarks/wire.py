"""Measures request building: our framing around the content against protobuf's building and serializing.

    python benchmarks/wire.py

Prints one JSON line a case, after checking that both give equal messages.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from bulkinfer.transforms.endpoints.clarifai.addresses import ModelAddress
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind
from bulkinfer.transforms.endpoints.clarifai.request.wire import encode_input, frame_request, request_envelope
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method
from bulkinfer.transforms.records import Content, Reference
from clarifai_grpc.grpc.api import service_pb2

BATCH = 32
IMAGE = bytes(100_000)
METHOD = Method(
    "predict",
    "UNARY_UNARY",
    (
        Field("image", "IMAGE", required=True),
        Field("prompt", "STR", default=""),
        Field("regions", "LIST", type_args=(Field("item", "REGION"),)),
    ),
)
ENVELOPE = request_envelope(ModelAddress("user", "app", "model"))
COLUMNS = {"city": "Rome", "prompts": '[{"point": [0.5, 0.5], "concepts": [{"name": "1"}]}]'}
CONTENT = Content(Reference("id", "s3://bucket/image.jpg", "image", columns=COLUMNS), IMAGE)
CASES = {
    "image": {"image": "$content"},
    "image and template": {"image": "$content", "prompt": {"template": "What is in {city}?"}},
    "image and regions of a column": {"image": "$content", "regions": "$column.prompts"},
}


def built_by_protobuf() -> bytes:
    """Build a request of image inputs by protobuf's own classes."""
    request = service_pb2.PostModelOutputsRequest.FromString(ENVELOPE)
    for _ in range(BATCH):
        data = request.inputs.add().data
        data.metadata["_method_name"] = "predict"
        data.parts.add(id="image").data.image.base64 = IMAGE
    return bytes(request.SerializeToString())


def best_us(run: Callable[[], object], repeats: int) -> float:
    """Measure the microseconds of one run, the best of five trials."""
    trials = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        trials.append((time.perf_counter() - start) / repeats * 1e6)
    return min(trials)


def main() -> None:
    """Check, then time."""
    for case, arguments in CASES.items():
        binding = bind(METHOD, arguments, media_type="image", columns=COLUMNS)
        encode_us = best_us(lambda binding=binding: encode_input(binding, CONTENT), 2000)
        print(json.dumps({"case": f"encode {case}", "us_per_input": round(encode_us, 2)}))
    binding = bind(METHOD, CASES["image"], media_type="image")

    def framed() -> bytes:
        return frame_request(ENVELOPE, [encode_input(binding, CONTENT) for _ in range(BATCH)])

    ours, theirs = map(service_pb2.PostModelOutputsRequest.FromString, (framed(), built_by_protobuf()))
    for message in ours.inputs:
        message.ClearField("id")
    if ours != theirs:
        raise SystemExit("the framed request differs from protobuf's")
    for case, run in {"framed by hand": framed, "built by protobuf": built_by_protobuf}.items():
        us = best_us(run, 20)
        print(
            json.dumps({"case": f"request of {BATCH} x 100 kB, {case}", "ms_per_call": round(us / 1000, 3)})
        )


if __name__ == "__main__":
    main()
