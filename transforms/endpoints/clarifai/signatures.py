"""The methods of a model: their parameters, types and defaults, as the server declares them.

The vendor's server derives them from Python annotations (`clarifai/runners/utils/method_signatures.py`) and
serves them as `MethodSignature` messages or as JSON. Here they become plain values that pickle and hash.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from ...errors import EndpointError

__all__ = ["Field", "Method", "legacy_method", "methods_from_json", "methods_from_messages"]

_SHOWN = {
    "STR": "str",
    "BYTES": "bytes",
    "INT": "int",
    "FLOAT": "float",
    "BOOL": "bool",
    "NDARRAY": "ndarray",
    "JSON_DATA": "JSON",
    "TEXT": "Text",
    "IMAGE": "Image",
    "CONCEPT": "Concept",
    "REGION": "Region",
    "FRAME": "Frame",
    "AUDIO": "Audio",
    "VIDEO": "Video",
}


@dataclasses.dataclass(frozen=True)
class Field:
    """A parameter, a result, or the type inside a list, a tuple or named fields.

    Attributes:
        name: of the parameter; of results usually "return".
        type: a name of `ModelTypeField.DataType`: STR, INT, IMAGE, LIST, ...
        required: True when a call without it fails.
        default: what the server uses when it is left out; None also where it is required.
        iterator: True when it streams.
        description: the model's own words.
        type_args: the one item type of a LIST, the item types of a TUPLE, the fields of NAMED_FIELDS.
        choices: the only values allowed, as strings; empty when any is.
        minimum: the least value allowed.
        maximum: the greatest value allowed.
        is_param: True for a setting such as `temperature`, declared by the vendor's `Param`.
    """

    name: str
    type: str
    required: bool = False
    default: Any = dataclasses.field(default=None, hash=False)
    iterator: bool = False
    description: str = ""
    type_args: tuple[Field, ...] = ()
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    is_param: bool = False

    @property
    def item_text(self) -> str:
        """The type of one value, without the iterator around it."""
        args = [argument.item_text for argument in self.type_args]
        if self.type == "LIST":
            return f"List[{', '.join(args)}]"
        if self.type == "TUPLE":
            return f"Tuple[{', '.join(args)}]"
        if self.type == "NAMED_FIELDS":
            named = zip(self.type_args, args, strict=True)
            return f"NamedFields({', '.join(f'{field.name}: {text}' for field, text in named)})"
        return _SHOWN.get(self.type, "Any")

    @property
    def type_text(self) -> str:
        """The type as Python writes it.

        >>> Field("xs", "LIST", type_args=(Field("xs_item", "REGION"),)).type_text
        'List[Region]'
        """
        return f"Iterator[{self.item_text}]" if self.iterator else self.item_text

    def to_json(self) -> dict[str, Any]:
        """The parameter as JSON, with the keys that say something."""
        optional = {
            "iterator": self.iterator,
            "description": self.description,
            "choices": list(self.choices),
        }
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        shown = {"name": self.name, "type": self.type_text, "required": self.required}
        if not self.required:
            shown["default"] = self.default
        shown |= {key: value for key, value in optional.items() if value}
        return shown | {key: value for key, value in limits.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of a model.

    Attributes:
        name: as the model's author chose it.
        type: UNARY_UNARY | UNARY_STREAMING | STREAMING_STREAMING, which decides the RPC.
        inputs: the parameters in order.
        outputs: the results, usually one that is called "return".
        description: the model's own words.
        legacy: True for a model without signatures: content goes into the plain fields of `data`, all else
            into `model.model_version.output_info.params`.
    """

    name: str
    type: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...] = ()
    description: str = ""
    legacy: bool = False

    @property
    def signature_text(self) -> str:
        """The method as Python would declare it.

        >>> result = Field("return", "STR")
        >>> Method("f", "UNARY_UNARY", (Field("n", "INT", default=3),), (result,)).signature_text
        'f(n: int = 3) -> str'
        """
        inputs = [
            f"{field.name}: {field.type_text}" + ("" if field.required else f" = {field.default!r}")
            for field in self.inputs
        ]
        if self.legacy:
            inputs.append("**params")
        results = [field.type_text for field in self.outputs] or ["Any"]
        result = results[0] if len(results) == 1 else f"({', '.join(results)})"
        return f"{self.name}({', '.join(inputs)}) -> {result}"

    @property
    def streaming_input(self) -> Field | None:
        """The parameter that streams, if one does."""
        return next((field for field in self.inputs if field.iterator), None)

    @property
    def malformed(self) -> str:
        """The name of the first parameter or result whose declared type is incomplete; "" when all are whole."""
        return next((field.name for field in (*self.inputs, *self.outputs) if not _is_whole(field)), "")

    def to_json(self) -> dict[str, Any]:
        """The method as JSON, for `bulkinfer methods --json`."""
        return {
            "name": self.name,
            "type": self.type,
            "signature": self.signature_text,
            "description": self.description,
            "inputs": [field.to_json() for field in self.inputs],
            "outputs": [field.to_json() for field in self.outputs],
        }


def methods_from_messages(signatures: Iterable[Any]) -> dict[str, Method]:
    """Methods by name out of `MethodSignature` messages, e.g. `model_version.method_signatures`."""
    methods = (_method(signature) for signature in signatures)
    return {method.name: method for method in methods}


def methods_from_json(text: str) -> dict[str, Method]:
    """Methods by name out of the JSON that answers `_GET_SIGNATURES`: {name: MethodSignature}.

    Raises:
        EndpointError: the text is not such JSON.
    """
    try:
        # Fields that a newer server adds must not stop an older client.
        signatures = [
            ParseDict(signature, resources_pb2.MethodSignature(name=name), ignore_unknown_fields=True)
            for name, signature in json.loads(text).items()
        ]
    except (ValueError, TypeError, AttributeError, ParseError) as error:
        raise EndpointError(
            f"the model's signatures cannot be read ({type(error).__name__}); the endpoint does not speak "
            "the API's _GET_SIGNATURES, so check model.endpoint"
        ) from error
    return methods_from_messages(signatures)


def legacy_method(media_type: str) -> Method:
    """The method of an older model, which declares none: the content alone, and any parameters by name."""
    names = (media_type, *(name for name in ("image", "text", "video", "audio") if name != media_type))
    inputs = tuple(Field(name, name.upper(), required=name == media_type) for name in names)
    return Method("predict", "UNARY_UNARY", inputs, legacy=True)


def _is_whole(field: Field) -> bool:
    items = len(field.type_args)
    if (field.type == "LIST" and items != 1) or (field.type in ("TUPLE", "NAMED_FIELDS") and not items):
        return False
    return all(map(_is_whole, field.type_args))


def _name_of(enum: Any, number: int) -> str:
    """The name of a type; of one that a newer server has, a name that nothing fits."""
    return str(enum.Name(number)) if number in enum.values() else f"TYPE_{number}"


def _method(signature: Any) -> Method:
    return Method(
        name=signature.name,
        type=_name_of(resources_pb2.RunnerMethodType, signature.method_type),
        inputs=_fields(signature.input_fields),
        outputs=_fields(signature.output_fields),
        description=signature.description,
    )


def _fields(messages: Sequence[Any]) -> tuple[Field, ...]:
    return tuple(_field(message) for message in messages)


def _field(message: Any) -> Field:
    limits = message.model_type_range_info if message.HasField("model_type_range_info") else None
    # min and max are plain floats on the wire, so an unset bound reads as 0: both bounds 0 says nothing.
    limited = limits is not None and limits.min < limits.max
    return Field(
        name=message.name,
        type=_name_of(resources_pb2.ModelTypeField.DataType, message.type),
        required=message.required,
        default=None if message.required else _default(message),
        iterator=message.iterator,
        description=message.description,
        type_args=_fields(message.type_args),
        choices=tuple(option.id for option in message.model_type_enum_options),
        minimum=limits.min if limits is not None and limited else None,
        maximum=limits.max if limits is not None and limited else None,
        is_param=message.is_param,
    )


def _default(message: Any) -> Any:
    """The default as a value.

    The vendor writes strings as they are and all else as JSON, or as `str(value)` where JSON has no form
    (`Param.set_default` in `clarifai/runners/utils/data_utils.py`), so that the default "5" of a str and
    None, which is "null", can only be told from other values by the declared type.
    """
    text = message.default
    if not text and message.HasField("default_value"):
        return MessageToDict(message.default_value)
    if message.type in (resources_pb2.ModelTypeField.STR, resources_pb2.ModelTypeField.TEXT):
        return None if text == "null" else text
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
