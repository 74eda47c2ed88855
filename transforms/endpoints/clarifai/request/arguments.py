"""Says where an argument's value comes from, and encodes it for one input.

Bytes travel as segments: small headers around the content's own bytes, which are joined once, when a call is
framed.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeAlias

from ....errors import EncodeError
from ....job.config import StreamConfig
from ....records import Content
from ..signatures import Field
from .framing import MEDIA, PART, RAW, TEXTUAL, URL, wrap
from .pieces import cut_bytes, cut_text
from .values import MisfitError, encode_value

__all__ = [
    "Argument",
    "Constant",
    "FromColumn",
    "FromContent",
    "FromList",
    "FromTemplate",
    "FromUri",
    "Source",
]


@dataclasses.dataclass(frozen=True)
class Constant:
    """A value of the job file, the same for every input; `items` where it feeds a stream."""

    data: bytes
    items: tuple[bytes, ...] = ()


@dataclasses.dataclass(frozen=True)
class FromContent:
    """The input's fetched bytes."""


@dataclasses.dataclass(frozen=True)
class FromUri:
    """The input's reference, for the server to fetch."""


@dataclasses.dataclass(frozen=True)
class FromColumn:
    """A value of the input's row; with `fetched`, the bytes that the value refers to."""

    name: str
    fetched: bool = False


@dataclasses.dataclass(frozen=True)
class FromTemplate:
    """Text with values of the row in it: (text before, column or None, format of the value)."""

    pieces: tuple[tuple[str, str | None, str], ...]

    def render(self, content: Content) -> str:
        """The text for one input.

        Raises:
            EncodeError: a column is null or does not take the format.
        """
        text = []
        for before, column, form in self.pieces:
            text.append(before)
            if column is None:
                continue
            value = content.reference.columns.get(column)
            if value is None:
                raise EncodeError(
                    "null_column",
                    f"column {column!r} is null, but a template of model.arguments needs it; fill it",
                )
            try:
                text.append(format(value, form))
            except (TypeError, ValueError) as error:
                raise EncodeError(
                    "wrong_type", f"column {column!r} does not take the format {form!r} of the template"
                ) from error
        return "".join(text)


@dataclasses.dataclass(frozen=True)
class FromList:
    """A list whose items come from different sources; those that are null are left out."""

    items: tuple[Source, ...]


Source: TypeAlias = "Constant | FromContent | FromUri | FromColumn | FromTemplate | FromList"


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
        return _from_bytes(field, _utf8(source.render(content), "the template's text"), "the template's text")
    return _from_uri(field, content) if isinstance(source, FromUri) else _from_list(field, source, content)


def _from_list(field: Field, source: FromList, content: Content) -> list[bytes]:
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
        value = content_bytes(content)
    elif isinstance(source, FromColumn):
        value = column_value(source, content)
        if value is None:
            return []
        value = _listed(field, value)
        if isinstance(value, (list, tuple)):
            return [[_encoded(field, item, _place(source))] for item in value]
    elif isinstance(source, FromTemplate):
        value = source.render(content)
    if field.type in TEXTUAL and isinstance(value, (bytes, str)):
        return [wrap([piece], RAW[field.type]) for piece in cut_text(_decoded(value, _place(source)), stream)]
    if field.type in RAW and isinstance(value, bytes):
        return [wrap([piece], RAW[field.type]) for piece in cut_bytes(value, stream)]
    data = _data(field, source, content)
    return [] if data is None else [data]


def _listed(field: Field, value: Any) -> Any:
    """The list that a column's text holds as JSON, which is how CSV carries one; else the value itself."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def _from_bytes(field: Field, data: bytes, place: str) -> list[bytes]:
    prefixes = RAW.get(field.type)
    if prefixes is not None:
        if field.type in TEXTUAL:
            _decoded(data, place)
        return wrap([data], prefixes)
    if _is_raw_list(field):
        return wrap(_from_bytes(field.type_args[0], data, place), PART)
    return [_encoded(field, _decoded(data, place), place)]


def _from_uri(field: Field, content: Content) -> list[bytes]:
    uri = content.reference.uri
    if uri is None:
        raise EncodeError(
            "no_uri", "the input has no reference to pass as $uri; write $content in model.arguments"
        )
    if field.type == "LIST":
        return wrap(_from_uri(field.type_args[0], content), PART)
    return wrap([_utf8(uri, "the reference")], URL[field.type])


def content_bytes(content: Content) -> bytes:
    """The input's content.

    Raises:
        EncodeError: it was not fetched and the source does not hold it either.
    """
    data = content.data if content.data is not None else content.reference.inline
    if data is None:
        raise EncodeError(
            "no_content", "the input has no content; its source must name a reference or a content"
        )
    return _utf8(data, "the content") if isinstance(data, str) else data


def column_value(source: FromColumn, content: Content) -> Any:
    """A column's value; for a column of references, the bytes behind it.

    Raises:
        EncodeError: the bytes were not fetched.
    """
    fetched = content.columns.get(source.name)
    if fetched is not None:
        return fetched
    value = content.reference.columns.get(source.name)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if source.fetched and not isinstance(value, bytes) and value is not None:
        raise EncodeError("no_content", f"what column {source.name!r} refers to was not fetched")
    return value


def _utf8(text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncodeError(
            "not_text", f"{place} holds characters that UTF-8 does not have; mend its source"
        ) from None


def _decoded(data: bytes | str, place: str) -> str:
    try:
        return _utf8(data, place).decode() if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise EncodeError(
            "not_text",
            f"{place} is not UTF-8 text (byte {error.start} is the first that is wrong); convert it",
        ) from None


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
