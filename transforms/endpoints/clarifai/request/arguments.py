"""Encodes the value of an argument for one input.

Bytes travel as segments: small headers around the content's own bytes, which are joined once, when a call is
framed.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ....errors import EncodeError
from ....job.config import StreamConfig
from ....records import Content
from ....storage.references import is_data
from ...arguments.sources import (
    FromColumn,
    FromContent,
    FromStructure,
    FromTemplate,
    FromUri,
    column_value,
    content_bytes,
    content_value,
    decoded,
    utf8,
)
from ..signatures import Field
from .framing import MEDIA, PART, RAW, TEXTUAL, URL, wrap
from .pieces import cut_bytes, cut_text
from .sources import Constant, FromList, Source
from .values import MisfitError, encode_value

__all__ = ["Argument"]


@dataclasses.dataclass(frozen=True)
class Argument:
    """A parameter and what it gets.

    Attributes:
        field: the parameter.
        source: where its value comes from.
        prefixes: the way from `Data` up to the input's data, as `wrap` takes it; empty for a legacy model.
        absent: the bytes to send when the value is null.
    """

    field: Field
    source: Source
    prefixes: tuple[bytes, ...]
    absent: bytes = b""

    def constant(self) -> bytes:
        """The argument's part of every input's data, where its source is a constant."""
        data = self.source.data if isinstance(self.source, Constant) else b""
        return b"".join(wrap([data], self.prefixes)) if self.prefixes else data

    def segments(self, content: Content) -> list[bytes]:
        """The argument's part of one input's data, header included.

        Raises:
            EncodeError: the value does not fit, or is null though required.
        """
        data = _data(self.field, self.source, content)
        if data is None:
            if self.field.required:
                raise EncodeError(
                    "null_column",
                    f"{_place(self.source)} is null, but the model requires {self.field.name!r}; fill it",
                )
            return [self.absent] if self.absent else []
        return wrap(data, self.prefixes) if self.prefixes else data

    def items(self, content: Content, stream: StreamConfig) -> list[list[bytes]]:
        """The parts of a streaming argument, in order, header included.

        Raises:
            EncodeError: the value does not fit or gives no piece at all.
        """
        items = [wrap(data, self.prefixes) for data in _items(self.field, self.source, content, stream)]
        if not items:
            raise EncodeError(
                "empty_stream", f"{_place(self.source)} gives nothing to stream to {self.field.name!r}"
            )
        return items


def _data(field: Field, source: Source, content: Content) -> list[bytes] | None:
    """The segments of the `Data` for one input; None for null."""
    if isinstance(source, FromContent):
        return _from_bytes(field, content_bytes(content), "the content")
    if isinstance(source, Constant):
        return [source.data]
    if isinstance(source, FromColumn):
        value = column_value(source, content)
        if isinstance(value, tuple):  # what a column of references held beside bytes
            value = value[0] if field.type != "LIST" and len(value) == 1 else list(value)
        if isinstance(value, bytes) and (field.type in RAW or _is_raw_list(field)):
            return _from_bytes(field, value, _place(source))
        return None if value is None else [_encoded(field, value, _place(source))]
    if isinstance(source, FromTemplate):
        return _from_bytes(field, utf8(source.render(content), "the template's text"), "the template's text")
    return _from_uri(field, content) if isinstance(source, FromUri) else _from_parts(field, source, content)


def _from_parts(field: Field, source: FromStructure | FromList, content: Content) -> list[bytes]:
    """A list of several sources; or a structure, as it is for a parameter of JSON, and as JSON text for one of text."""
    if isinstance(source, FromStructure):
        value, place = source.render(content), "the structure in model.arguments"
        if field.type in TEXTUAL:
            return _from_bytes(field, utf8(json.dumps(value, ensure_ascii=False), place), place)
        return [_encoded(field, value, place)]
    segments: list[bytes] = []
    for item in source.items:
        data = _data(field.type_args[0], item, content)
        if data is not None:
            segments += wrap(data, PART)
    return segments


def _items(field: Field, source: Source, content: Content, stream: StreamConfig) -> list[list[bytes]]:
    """The `Data` segments of each piece."""
    if isinstance(source, Constant):
        return [[item] for item in source.items]
    value: Any = None
    if isinstance(source, FromContent):
        value = content_value(content)
    elif isinstance(source, FromColumn):
        value = column_value(source, content)
        if value is None:
            return []
        value = _listed(field, value)
    elif isinstance(source, FromTemplate):
        value = source.render(content)
    if isinstance(value, (list, tuple)):
        return [[_encoded(field, item, _place(source))] for item in value]
    if field.type in TEXTUAL and isinstance(value, (bytes, str)):
        return [wrap([piece], RAW[field.type]) for piece in cut_text(decoded(value, _place(source)), stream)]
    if field.type in RAW and isinstance(value, bytes):
        return [wrap([piece], RAW[field.type]) for piece in cut_bytes(value, stream)]
    data = _data(field, source, content)
    return [] if data is None else [data]


def _listed(field: Field, value: Any) -> Any:
    """The list that a column's text holds as JSON, which is how CSV carries one; else the value itself."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def _from_bytes(field: Field, data: bytes, place: str) -> list[bytes]:
    prefixes = RAW.get(field.type)
    if prefixes is not None:
        if field.type in TEXTUAL:
            decoded(data, place)
        return wrap([data], prefixes)
    if _is_raw_list(field):
        return wrap(_from_bytes(field.type_args[0], data, place), PART)
    return [_encoded(field, decoded(data, place), place)]


def _from_uri(field: Field, content: Content) -> list[bytes]:
    uri = content.reference.uri
    if uri is None:
        raise EncodeError(
            "no_uri", "the input has no reference to pass as $uri; write $content in model.arguments"
        )
    if field.type == "LIST":
        return wrap(_from_uri(field.type_args[0], content), PART)
    if is_data(uri) and field.type in MEDIA:  # no server fetches it: it is the content
        return _from_bytes(field, content_bytes(content), "the content")
    return wrap([utf8(uri, "the reference")], URL[field.type])


def _encoded(field: Field, value: Any, place: str) -> bytes:
    try:
        return encode_value(field, value, lenient=True)
    except MisfitError as fault:
        raise EncodeError(
            "wrong_type", f"{place} does not fit {field.name!r} ({field.item_text}): {fault}"
        ) from None


def _is_raw_list(field: Field) -> bool:
    return field.type == "LIST" and field.type_args[0].type in MEDIA


def _place(source: Source) -> str:
    return f"column {source.name!r}" if isinstance(source, FromColumn) else "the content"
