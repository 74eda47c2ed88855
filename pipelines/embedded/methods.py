"""Makes a typed Python function a method of a model: its signature as the API tells it, and how it is called."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf import json_format

from .codecs import Codec, codec_of

__all__ = ["ModelMethod", "signatures_json"]

Data: TypeAlias = resources_pb2.Data
_RETURN = "return"


@dataclasses.dataclass(frozen=True)
class ModelMethod:
    """A method of a model.

    Attributes:
        function: what it computes.
        signature: what the API tells about it.
        heavy: True when one call keeps a core busy for a while, so that it belongs into a worker process.
        inputs: the parameters' codecs, in order.
        output: the result's codec, of one item when the method streams.
    """

    function: Callable[..., Any]
    signature: resources_pb2.MethodSignature
    heavy: bool
    inputs: dict[str, Codec]
    output: Codec

    @classmethod
    def of(cls, function: Callable[..., Any], *, heavy: bool = False) -> ModelMethod:
        """Derive the signature, the types, the defaults and the description from the function itself."""
        signature = resources_pb2.MethodSignature(
            name=function.__name__, description=inspect.cleandoc(function.__doc__ or "")
        )
        hints, inputs = typing.get_type_hints(function), {}
        for name, parameter in inspect.signature(function).parameters.items():
            item, streams = _streamed(hints[name])
            field = signature.input_fields.add(name=name, iterator=streams)
            field.required = parameter.default is inspect.Parameter.empty
            if not field.required:
                default = parameter.default
                field.default = default if isinstance(default, str) else json.dumps(default)
            inputs[name] = codec_of(item)
            inputs[name].describe(field)
        item, streams = _streamed(hints[_RETURN])
        output = codec_of(item)
        output.describe(signature.output_fields.add(name=_RETURN, iterator=streams))
        listens = any(field.iterator for field in signature.input_fields)
        types = resources_pb2.RunnerMethodType
        signature.method_type = (
            types.STREAMING_STREAMING if listens else types.UNARY_STREAMING if streams else types.UNARY_UNARY
        )
        return cls(function, signature, heavy, inputs, output)

    @property
    def kind(self) -> str:
        """UNARY_UNARY, UNARY_STREAMING or STREAMING_STREAMING."""
        return str(resources_pb2.RunnerMethodType.Name(self.signature.method_type))

    @property
    def streaming_argument(self) -> str | None:
        """The parameter that takes a stream."""
        return next((field.name for field in self.signature.input_fields if field.iterator), None)

    def read_arguments(self, data: Data, only: str | None = None) -> dict[str, Any]:
        """The arguments in an input's message; those that are left out keep the function's defaults.

        A message without parts comes from an older client: each argument then lies in its type's own field.

        Args:
            data: the input's message.
            only: read this parameter alone, as later messages of a stream carry nothing else.
        """
        parts = {part.id: part.data for part in data.parts}
        arguments: dict[str, Any] = {}
        for index, field in enumerate(self.signature.input_fields):
            if only is not None and field.name != only:
                continue
            codec = self.inputs[field.name]
            if field.name in parts:
                arguments[field.name] = codec.read(parts[field.name])
                continue
            # As in the vendor's server, the first argument may stand in the message itself.
            inline = codec.read(data) if index == 0 or not parts else None
            if _is_given(inline):
                arguments[field.name] = inline
            elif field.required:
                raise ValueError(f"Missing required field: {field.name}")
        return arguments

    def write_result(self, value: Any, *, inline: bool = False) -> Data:
        """An output's message: the value in a part named `return`, or inline for a client without parts."""
        data = Data()
        if value is None:
            return data
        self.output.write(data if inline else data.parts.add(id=_RETURN).data, value)
        if inline and data.string_value:
            data.text.raw = data.string_value
        return data

    def call(self, data: Data) -> Data:
        """One unary call: an input's message in, an output's message out."""
        value = self.function(**self.read_arguments(data))
        return self.write_result(value, inline=not data.parts)

    def call_streaming(self, data: Data) -> Iterator[Data]:
        """One call that answers with a stream of messages."""
        for value in self.function(**self.read_arguments(data)):
            yield self.write_result(value, inline=not data.parts)

    def call_bidirectional(self, first: Data, later: Iterator[Data]) -> Iterator[Data]:
        """One call that listens to a stream while it answers with one."""
        argument = self.streaming_argument
        assert argument is not None
        arguments = self.read_arguments(first)

        def items(head: Any) -> Iterator[Any]:
            yield head
            for data in later:
                yield self.read_arguments(data, only=argument)[argument]

        arguments[argument] = items(arguments[argument])
        for value in self.function(**arguments):
            yield self.write_result(value)


def signatures_json(methods: Iterable[ModelMethod]) -> str:
    """What `_GET_SIGNATURES` answers: each method's signature as JSON, by name."""
    return json.dumps({m.signature.name: json_format.MessageToDict(m.signature) for m in methods})


def _is_given(value: Any) -> bool:
    """Whether an inline value was sent; a zero cannot be told from nothing and has to come as a part."""
    return value is not None and not (isinstance(value, (str, bytes, int, float, list)) and not value)


def _streamed(annotation: Any) -> tuple[Any, bool]:
    """The item's type of an iterator, and True; any other type as it is, and False."""
    if typing.get_origin(annotation) in (Iterator, Iterable):
        return typing.get_args(annotation)[0], True
    return annotation, False
