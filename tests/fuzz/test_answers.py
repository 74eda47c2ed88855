"""Whatever a model answers, each input is in one table once, and no answer ends a job.

A failing seed is played again by `python -m pytest tests/fuzz -k SEED`.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from support.fuzz import MODEL, ROUNDS, check_once, command, examples
from support.jobs import photo
from support.recording_server import field, method, recording_server

#: Seeds that once found a fault.
FOUND: list[int] = []
ANSWERS = 120

_PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x08\x00\x00\x00\x08\x08\x00\x00\x00\x00d\xe1\x64\x57\x00\x00\x00\x18"
    b"IDATx\x9cc\xfc\xcf\xc0\xc0\xc8\xc0\xc0\xc4\x80\x05\x98\x0cb\x00\x00H\xd0\x01\x08'\xcfv\xc7\x00\x00\x00\x00IEND\xaeB`\x82"
)
_BLOBS = (
    _PNG,
    _PNG[:40],
    photo(),
    photo()[:300],
    b"GIF89a\xff\xff\xff\xff\x00\x00\x00",
    b"RIFF",
    b"\x00" * 32,
)

_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-9, 99),
    FieldDescriptor.CPPTYPE_INT64: st.sampled_from([2**63 - 1, -(2**63), 2**53 + 1]) | st.integers(-9, 99),
    FieldDescriptor.CPPTYPE_UINT32: st.sampled_from([2**32 - 1, 2**31]) | st.integers(0, 99),
    FieldDescriptor.CPPTYPE_UINT64: st.sampled_from([2**64 - 1, 2**63]) | st.integers(0, 99),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32) | st.floats(0, 1, width=32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats() | st.floats(0, 1),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\0", "return", "0", "true", "NaN", "{}", "<f4", "float32", "object", "O", "U3"]
)
_TEXT |= st.sampled_from(
    [
        '{"code": 21313, "description": "x", "details": null}',
        '{"tool_calls":' * 20_000,
        '{"object": "chat.completion.chunk", "choices": {"a": 1}}',
        '{"choices": [{"message": {"tool_calls": [{"function": {"name": "f"}}]}}]}',
        "[" * 70_000 + '"function"',
        "\U0010ffff" * 500,
    ]
)
_BYTES = st.binary(max_size=64) | st.sampled_from(_BLOBS)
_TYPES = ["STR", "INT", "FLOAT", "BOOL", "BYTES", "TEXT", "IMAGE", "VIDEO", "AUDIO", "NDARRAY", "JSON_DATA"]
_TYPES += ["REGION", "CONCEPT", "FRAME"]


def value_of(descriptor: Any) -> st.SearchStrategy[Any]:
    """Values of a scalar field."""
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _BYTES if descriptor.type == FieldDescriptor.TYPE_BYTES else _TEXT
    if descriptor.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([value.number for value in descriptor.enum_type.values] + [9999])
    return _NUMBERS[descriptor.cpp_type]


def fill(draw: Any, message: Any, depth: int) -> None:
    """Set some fields of a message, and of those inside it."""
    fields = list(message.DESCRIPTOR.fields)
    for descriptor in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda one: one.name)):
        one = descriptor.message_type
        if one is not None and one.GetOptions().map_entry:
            continue
        if one is not None and depth == 0:
            continue
        if not descriptor.is_repeated:
            if one is not None:
                getattr(message, descriptor.name).SetInParent()
                fill(draw, getattr(message, descriptor.name), depth - 1)
            else:
                setattr(message, descriptor.name, draw(value_of(descriptor)))
        elif one is not None:
            for _ in range(draw(st.integers(0, 3))):
                fill(draw, getattr(message, descriptor.name).add(), depth - 1)
        else:
            getattr(message, descriptor.name).extend(draw(st.lists(value_of(descriptor), max_size=6)))


@st.composite
def outputs(draw: Any) -> Any:
    """Any Output message."""
    output = resources_pb2.Output()
    fill(draw, output, 1)
    output.ClearField("status")
    data = output.data
    if draw(st.booleans()):
        data = output.data.parts.add(id=draw(st.sampled_from(["return", "0", "", "x"]))).data
    fill(draw, data, 5)
    if draw(st.booleans()):
        add_region(draw, data.regions.add())
    if draw(st.integers(0, 3)) == 0:
        data.ndarray.buffer = draw(_BYTES)
        data.ndarray.dtype = draw(_TEXT)
        data.ndarray.shape.extend(draw(st.lists(st.sampled_from([0, 1, 2, 8, 2**31]), max_size=4)))
    if draw(st.integers(0, 29)) == 0:
        nested = data.struct_value
        for _ in range(draw(st.sampled_from([5, 28, 40]))):  # protobuf itself reads 32 of them
            nested = nested.fields["a"].struct_value
        nested.fields["b"].number_value = draw(st.floats())
    return output


@st.composite
def wires(draw: Any) -> bytes:
    """The bytes of an Output of status success, which may be damaged."""
    output = draw(outputs())
    output.status.code = 10000
    data: bytes = output.SerializeToString()
    if draw(st.integers(0, 19)) == 0:
        at = draw(st.integers(0, len(data)))
        data = draw(
            st.sampled_from([data[:at], data[:at] + b"\xff\xfe" + data[at + 2 :], b"\n\x02\xc3\x28" + data])
        )
    return data


def add_region(draw: Any, region: Any) -> None:
    """Fill a region as models do, with numbers and pictures that may be wrong."""
    fill(draw, region, 3)
    info = region.region_info
    if draw(st.booleans()):
        info.mask.image.base64 = draw(_BYTES)
    if draw(st.booleans()):
        info.mask.image.image_info.width = draw(_NUMBERS[FieldDescriptor.CPPTYPE_INT32])
        info.mask.image.image_info.height = draw(_NUMBERS[FieldDescriptor.CPPTYPE_INT32])
    for _ in range(draw(st.integers(0, 5))):
        info.polygon.points.add(row=draw(st.floats(width=32)), col=draw(st.floats(width=32)))


def results(kind: str, item: str) -> dict[str, Any]:
    """What a method declares that it returns."""
    if kind == "LIST":
        return {"name": "return", "type": "LIST", "type_args": [field("item", item)]}
    if kind in ("TUPLE", "NAMED_FIELDS"):
        return {"name": "return", "type": kind, "type_args": [field("a", item), field("b", "STR")]}
    return field("return", kind)


def play(seed: int) -> None:
    """One run over many answers."""
    dice = random.Random(seed)
    answers = examples(wires(), ANSWERS, seed)
    streams = dice.random() < 0.3
    signature = method("UNARY_STREAMING" if streams else "UNARY_UNARY", field("text", "STR"))
    signature["output_fields"] = [
        {
            **results(dice.choice([*_TYPES, "LIST", "TUPLE", "NAMED_FIELDS"]), dice.choice(_TYPES)),
            "iterator": streams,
        }
    ]

    def answer(each: Any) -> list[Any]:
        number = int(each.data.parts[0].data.string_value)
        return answers[number : number + 1 + number % 3] if streams else [answers[number]]

    with (
        tempfile.TemporaryDirectory() as temporary,
        recording_server(signatures={"predict": signature}, answer=answer) as server,
    ):
        folder = Path(temporary)
        lines = [json.dumps({"id": f"i{number}", "t": str(number)}) for number in range(len(answers))]
        (folder / "refs.jsonl").write_text("\n".join(lines))
        job = {
            "source": {
                "manifest": str(folder / "refs.jsonl"),
                "media": "text",
                "columns": {"content": "t", "id": "id"},
            },
            "model": {"url": MODEL, "endpoint": server.endpoint},
            "calls": {"retry_for": "2s", "timeout": "20s", "batch_size": dice.choice([1, 8, 32])},
            "output": {
                "uri": str(folder / "out"),
                "masks": dice.choice(["rle", "png", "both", "none"]),
                "raw": dice.random() < 0.5,
                "pieces": dice.random() < 0.5,
                "partition_by": dice.choice([[], ["date"]]),
            },
            "stop": {"error_ratio": 1},
        }
        check_once(folder / "out", command("run", folder, job), len(answers))


@pytest.mark.parametrize("seed", [*FOUND, *range(ROUNDS)])
def test_no_answer_ends_a_job(seed):
    play(seed)
