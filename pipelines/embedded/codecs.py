"""Writes Python values into the API's `Data` messages and reads them back: one codec a type.

The layout is that of the API: plain values in their own field, lists of regions, concepts or frames in the
repeated field, every other list, tuple and named-field type as nested parts.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf import json_format, struct_pb2

from .types import Audio, Concept, Frame, Image, Region, Text, Video

__all__ = ["Codec", "codec_of"]

Data: TypeAlias = resources_pb2.Data
TypeField: TypeAlias = resources_pb2.ModelTypeField


class Codec(Protocol):
    """Writes values of one type into a `Data` message, reads them back and names the type in a signature."""

    def describe(self, field: TypeField) -> None:
        """Set the type, and the inner types, in a signature's field whose name is set."""

    def write(self, data: Data, value: Any) -> None:
        """Put a value into an empty message; TypeError or ValueError when it is not of the type."""

    def read(self, data: Data) -> Any:
        """The value in a message; None when the message holds none and the type can tell."""


class _Scalar:
    def __init__(self, type_id: int, field: str) -> None:
        self.type_id, self.field = type_id, field

    def describe(self, field: TypeField) -> None:
        field.type = self.type_id

    def write(self, data: Data, value: Any) -> None:
        setattr(data, self.field, value)

    def read(self, data: Data) -> Any:
        # Older clients put a text into `text`, whatever the signature says.
        if self.field == "string_value" and not data.string_value and data.HasField("text"):
            return data.text.raw
        return getattr(data, self.field)


class _Message:
    """A type with a message of its own, alone or repeated."""

    def __init__(self, type_id: int, field: str, python_type: Any, *, repeated: bool = False) -> None:
        self.type_id, self.field, self.python_type, self.repeated = type_id, field, python_type, repeated

    def describe(self, field: TypeField) -> None:
        field.type = self.type_id

    def write(self, data: Data, value: Any) -> None:
        if not isinstance(value, self.python_type):
            raise TypeError(f"expected {self.python_type.__name__}, got {type(value).__name__}")
        if self.repeated:
            getattr(data, self.field).append(value.to_message())
        else:
            getattr(data, self.field).CopyFrom(value.to_message())

    def read(self, data: Data) -> Any:
        if not self.repeated:
            return (
                self.python_type.from_message(getattr(data, self.field))
                if data.HasField(self.field)
                else None
            )
        found = getattr(data, self.field)
        return self.python_type.from_message(found[0]) if found else None

    def write_all(self, data: Data, values: Sequence[Any]) -> None:
        for value in values:
            self.write(data, value)

    def read_all(self, data: Data) -> list[Any]:
        return [self.python_type.from_message(item) for item in getattr(data, self.field)]


class _Json:
    def describe(self, field: TypeField) -> None:
        field.type = TypeField.JSON_DATA

    def write(self, data: Data, value: Any) -> None:
        struct = struct_pb2.Struct()
        # A Struct holds an object only; the vendor's client looks for a bare list under this name.
        struct.update({"_list": value} if isinstance(value, list) else value)
        data.struct_value.CopyFrom(struct)

    def read(self, data: Data) -> Any:
        if not data.HasField("struct_value"):
            return None
        value = json_format.MessageToDict(data.struct_value)
        return value["_list"] if set(value) == {"_list"} else value


class _Array:
    def describe(self, field: TypeField) -> None:
        field.type = TypeField.NDARRAY

    def write(self, data: Data, value: Any) -> None:
        array = np.ascontiguousarray(value)
        if not np.issubdtype(array.dtype, np.number):
            raise TypeError(f"expected an array of numbers, got {array.dtype}")
        data.ndarray.buffer, data.ndarray.dtype = array.tobytes(), str(array.dtype)
        data.ndarray.shape.extend(array.shape)

    def read(self, data: Data) -> Any:
        if not data.ndarray.buffer:
            return None
        return np.frombuffer(data.ndarray.buffer, np.dtype(data.ndarray.dtype)).reshape(data.ndarray.shape)


class _List:
    def __init__(self, inner: Codec) -> None:
        self.inner = inner

    def describe(self, field: TypeField) -> None:
        field.type = TypeField.LIST
        self.inner.describe(field.type_args.add(name=f"{field.name}_item"))

    def write(self, data: Data, value: Any) -> None:
        if isinstance(self.inner, _Message) and self.inner.repeated:
            self.inner.write_all(data, value)
            return
        for item in value:
            self.inner.write(data.parts.add().data, item)

    def read(self, data: Data) -> Any:
        if isinstance(self.inner, _Message) and self.inner.repeated:
            return self.inner.read_all(data)
        return [self.inner.read(part.data) for part in data.parts]


class _Fields:
    """A tuple, whose parts are named "0", "1", ..., or a NamedTuple, whose parts bear its names."""

    def __init__(self, inner: dict[str, Codec], build: Callable[..., Any], *, named: bool) -> None:
        self.inner, self.build, self.named = inner, build, named

    def describe(self, field: TypeField) -> None:
        field.type = TypeField.NAMED_FIELDS if self.named else TypeField.TUPLE
        for name, codec in self.inner.items():
            codec.describe(field.type_args.add(name=name if self.named else f"{field.name}_item"))

    def write(self, data: Data, value: Any) -> None:
        if len(value) != len(self.inner):
            raise ValueError(f"expected {len(self.inner)} values, got {len(value)}")
        for (name, codec), item in zip(self.inner.items(), value, strict=True):
            codec.write(data.parts.add(id=name).data, item)

    def read(self, data: Data) -> Any:
        parts = {part.id: part for part in data.parts}
        if not parts:
            return None
        missing = [name for name in self.inner if name not in parts]
        if missing:
            raise ValueError(f"missing part {', '.join(missing)}")
        return self.build(*(codec.read(parts[name].data) for name, codec in self.inner.items()))


_PLAIN: dict[Any, Codec] = {
    str: _Scalar(TypeField.STR, "string_value"),
    bytes: _Scalar(TypeField.BYTES, "bytes_value"),
    int: _Scalar(TypeField.INT, "int_value"),
    float: _Scalar(TypeField.FLOAT, "float_value"),
    bool: _Scalar(TypeField.BOOL, "bool_value"),
    np.ndarray: _Array(),
    dict: _Json(),
    list: _Json(),
    Text: _Message(TypeField.TEXT, "text", Text),
    Image: _Message(TypeField.IMAGE, "image", Image),
    Video: _Message(TypeField.VIDEO, "video", Video),
    Audio: _Message(TypeField.AUDIO, "audio", Audio),
    Concept: _Message(TypeField.CONCEPT, "concepts", Concept, repeated=True),
    Region: _Message(TypeField.REGION, "regions", Region, repeated=True),
    Frame: _Message(TypeField.FRAME, "frames", Frame, repeated=True),
}


def codec_of(annotation: Any) -> Codec:
    """The codec of a method's annotation; TypeError when the API has no type for it.

    `X | None` is X: whether a parameter may be left out is told by its default.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        (annotation,) = (choice for choice in arguments if choice is not type(None))
        return codec_of(annotation)
    if origin in (dict, np.ndarray):
        return _PLAIN[origin]
    if origin is list:
        return _List(codec_of(arguments[0]))
    if origin is tuple:
        return _Fields({str(i): codec_of(a) for i, a in enumerate(arguments)}, lambda *v: v, named=False)
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = typing.get_type_hints(annotation)
        return _Fields({name: codec_of(hints[name]) for name in annotation._fields}, annotation, named=True)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    raise TypeError(f"the API has no type for {annotation!r}")
