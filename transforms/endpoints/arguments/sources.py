"""Where an argument's value comes from, as plain data, and what it is for one input."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import math
from typing import Any

from ...errors import EncodeError
from ...records import CONTENT_LIST, Content

__all__ = [
    "FromColumn",
    "FromContent",
    "FromStructure",
    "FromTemplate",
    "FromUri",
    "column_value",
    "content_bytes",
    "content_value",
    "decoded",
    "json_value",
    "uri_of",
    "utf8",
    "value_of",
]


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
class FromStructure:
    """A mapping or a list of JSON with values of the input in it.

    Attributes:
        items: sources, further structures, and values as they stand.
        keys: the items' keys; None for a list.
    """

    items: tuple[Any, ...]
    keys: tuple[str, ...] | None = None

    def render(self, content: Content) -> Any:
        """The value for one input.

        Raises:
            EncodeError: a value is none that JSON has, or a template's column is null.
        """
        values = [value_of(item, content) for item in self.items]
        return values if self.keys is None else dict(zip(self.keys, values, strict=True))


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
    return utf8(data, "the content") if isinstance(data, str) else data


def content_value(content: Content) -> bytes | list[Any]:
    """The input's content: the list that the source holds, or bytes.

    Raises:
        EncodeError: it was not fetched and the source does not hold it either.
    """
    listed = content.reference.columns.get(CONTENT_LIST)
    return listed if isinstance(listed, list) else content_bytes(content)


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


def utf8(text: str, place: str) -> bytes:
    """The bytes of a text.

    Raises:
        EncodeError: it holds what UTF-8 does not have.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EncodeError(
            "not_text", f"{place} holds characters that UTF-8 does not have; mend its source"
        ) from None


def decoded(data: bytes | str, place: str) -> str:
    """The text of bytes.

    Raises:
        EncodeError: they are no UTF-8.
    """
    try:
        return utf8(data, place).decode() if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise EncodeError(
            "not_text",
            f"{place} is not UTF-8 text (byte {error.start} is the first that is wrong); convert it",
        ) from None


def value_of(item: Any, content: Content) -> Any:
    """The JSON value of one item of a structure: a source, a further structure, or a value as it stands.

    Raises:
        EncodeError: it is none that JSON has, or a template's column is null.
    """
    if isinstance(item, FromContent):
        return json_value(content_value(content), "the content")
    if isinstance(item, FromUri):
        return uri_of(content)
    if isinstance(item, FromColumn):
        return json_value(column_value(item, content), f"column {item.name!r}")
    render = getattr(item, "render", None)  # of a structure, a template, or a source of one kind of endpoint
    return item if render is None else render(content)


def uri_of(content: Content) -> str:
    """The input's reference.

    Raises:
        EncodeError: it has none.
    """
    if content.reference.uri is None:
        raise EncodeError(
            "no_uri", "the input has no reference to pass as $uri; write $content in model.arguments"
        )
    return content.reference.uri


def json_value(value: Any, place: str) -> Any:
    """A column's value as JSON has it.

    Raises:
        EncodeError: JSON has no such value.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise EncodeError("wrong_type", f"{place} is {value}, which JSON does not have; mend it")
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return decoded(value, place)
    if isinstance(value, dict):
        return {str(key): json_value(one, place) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(one, place) for one in value]
    return value
