"""Builds a call's JSON out of a job's arguments: constants, and sources of what differs from input to input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ....errors import EncodeError, MethodError
from ....records import Content
from ...arguments.expressions import (
    ArgumentError,
    article,
    holds_expression,
    is_expression,
    is_template,
    parse_reference,
    parse_structure,
    parse_template,
)
from ...arguments.sources import FromColumn, FromContent, FromStructure, FromUri, column_value, value_of
from .completion import compact
from .media import AsAudio, AsBase64, AsDataUrl

__all__ = ["AsText", "Parser", "needs_of"]


@dataclasses.dataclass(frozen=True)
class AsText:
    """A value of the input as text: numbers as they are written, lists and mappings as JSON."""

    source: Any

    def render(self, content: Content) -> str:
        """The text.

        Raises:
            EncodeError: the value is null, or none that JSON has.
        """
        if isinstance(self.source, FromColumn) and column_value(self.source, content) is None:
            raise EncodeError(
                "null_column", f"column {self.source.name!r} is null; fill it, or leave the input out"
            )
        value = value_of(self.source, content)
        return value if isinstance(value, str) else compact(value)


class Parser:
    """Reads the arguments of one job.

    Args:
        media_type: what the source holds.
        columns: names that the source's rows have.
    """

    def __init__(self, media_type: str, columns: Collection[str]) -> None:
        self._media, self._columns = media_type, columns

    def text(self, name: str, value: Any) -> Any:
        """A text: a constant, or a source whose value is made one.

        Raises:
            MethodError: it is malformed.
        """
        return self._read(name, value, self._text)

    def picture(self, name: str, value: Any) -> Any:
        """The URL of a picture: content and what columns refer to as a `data:` URL, $uri and URLs as they stand."""
        return self._read(name, value, lambda item: self._medium(item, "image", AsDataUrl))

    def recording(self, name: str, value: Any) -> Any:
        """A recording as the API has it, from the content or what a column refers to."""
        return self._read(name, value, lambda item: self._medium(item, "audio", AsAudio))

    def structure(self, name: str, value: Any) -> Any:
        """Any JSON, with expressions inside; $content is text, a `data:` URL of a picture, or Base64 of sound."""
        return self._read(name, value, lambda item: parse_structure(item, self._columns, self._inside))

    def _read(self, name: str, value: Any, read: Callable[[Any], Any]) -> Any:
        try:
            return read(value)
        except ArgumentError as error:
            raise MethodError(f"model.arguments.{name}: {error}") from None

    def _text(self, value: Any) -> Any:
        if is_template(value):
            return parse_template(value["template"], self._columns)
        if isinstance(value, str) and not is_expression(value):
            return value
        if not isinstance(value, str):
            if holds_expression(value):
                return AsText(parse_structure(value, self._columns, self._inside))
            return compact(value)
        source = parse_reference(value, self._columns)
        if isinstance(source, FromContent) and self._media != "text":
            raise ArgumentError(
                f"$content is {article(self._media)}, and this is text; bind {self._media} to it"
            )
        return AsText(source)

    def _medium(self, value: Any, media: str, kind: Any) -> Any:
        if not isinstance(value, str):
            raise ArgumentError(f"it is {article(media)}; write $content, $uri, $column.NAME or a URL")
        if not is_expression(value):
            return value
        source = parse_reference(value, self._columns)
        if isinstance(source, FromUri):
            if media == "audio":
                raise ArgumentError("the API takes recordings in the call alone; write $content")
            return source
        if isinstance(source, FromColumn):
            return kind(dataclasses.replace(source, fetched=True))
        if self._media != media:
            raise ArgumentError(
                f"$content is {article(self._media)}, not {article(media)}; check source.media"
            )
        return kind()

    def _inside(self, text: str) -> Any:
        source = parse_reference(text, self._columns)
        if not isinstance(source, FromContent) or self._media == "text":
            return source
        if self._media == "video":
            raise ArgumentError(
                "$content is a video, for which the API has no place; pass $uri where the server takes it"
            )
        return AsDataUrl() if self._media == "image" else AsBase64()


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a structure of sources takes of an input.

    Attributes:
        content: its content.
        columns: columns that hold references of their own.
        uri: its reference, which the server fetches.
    """

    content: bool = False
    columns: frozenset[str] = frozenset()
    uri: bool = False


def needs_of(value: Any) -> Needs:
    """What a structure of sources takes of an input."""
    if isinstance(value, AsText):
        return needs_of(value.source)
    if isinstance(value, FromContent):
        return Needs(content=True)
    if isinstance(value, FromUri):
        return Needs(uri=True)
    if isinstance(value, AsBase64 | AsDataUrl | AsAudio):
        return Needs(content=True) if value.column is None else Needs(columns=frozenset({value.column.name}))
    inside: Collection[Any] = ()
    if isinstance(value, FromStructure):
        inside = value.items
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    found = [needs_of(item) for item in inside]
    return Needs(
        any(one.content for one in found),
        frozenset().union(*(one.columns for one in found)),
        any(one.uri for one in found),
    )
