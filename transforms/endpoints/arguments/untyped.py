"""Arguments of endpoints whose parameters take any value: each is a source of its own, or a constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ...errors import MethodError
from ...records import CONTENT_LIST, Content
from .expressions import (
    ArgumentError,
    article,
    holds_expression,
    is_reference,
    is_template,
    parse_reference,
    parse_structure,
    parse_template,
)
from .sources import (
    FromColumn,
    FromContent,
    FromStructure,
    FromTemplate,
    FromUri,
    column_value,
    content_bytes,
    uri_of,
)

__all__ = ["Arguments", "parse_arguments"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments of a job; plain data.

    Attributes:
        sources: where the value of each argument comes from that is not the same for all inputs.
        constants: the others.
    """

    sources: Mapping[str, Any]
    constants: Mapping[str, Any]

    @property
    def contents(self) -> tuple[str, ...]:
        """Names of the arguments that hold the content."""
        return tuple(name for name, source in self.sources.items() if isinstance(source, FromContent))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the arguments that hold a column's value."""
        return tuple(name for name, source in self.sources.items() if isinstance(source, FromColumn))

    @property
    def fetched(self) -> tuple[str, ...]:
        """The columns that hold references to fetch, sorted."""
        sources = self.sources.values()
        return tuple(
            sorted({source.name for source in sources if isinstance(source, FromColumn) and source.fetched})
        )

    def values(self, content: Content) -> dict[str, Any]:
        """The values of one input, as its source holds them.

        Raises:
            EncodeError: a value is missing.
        """
        return {name: _value(source, content) for name, source in self.sources.items()}


def parse_arguments(
    arguments: Mapping[str, Any],
    media_type: str,
    columns: Collection[str],
    fetches: Callable[[str], bool],
) -> Arguments:
    """Read a job's arguments.

    Args:
        arguments: `model.arguments`.
        media_type: what the source holds.
        columns: names that the source's rows have.
        fetches: whether a column that is bound to an argument holds references to fetch.

    Raises:
        MethodError: they are malformed, name what does not exist, or take nothing from the input.
    """
    sources: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for name, value in arguments.items():
        try:
            source = _source(value, media_type, columns)
        except ArgumentError as error:
            raise MethodError(f"model.arguments.{name}: {error}") from None
        if source is None:
            constants[name] = value
        elif isinstance(source, FromColumn) and fetches(name):
            sources[name] = dataclasses.replace(source, fetched=True)
        else:
            sources[name] = source
    if not sources:
        raise MethodError(
            "model.arguments: nothing in it comes from the input, so that all answers would be alike; write $content, "
            "$uri, $column.NAME or a template for one of them"
        )
    return Arguments(sources, constants)


def _source(value: Any, media_type: str, columns: Collection[str]) -> Any:
    """Where a value comes from; None for a constant."""
    if is_template(value):
        return parse_template(value["template"], columns)
    if is_reference(value):
        return parse_reference(value, columns)
    if not holds_expression(value):
        return None

    def inner(text: str) -> Any:
        source = parse_reference(text, columns)
        if isinstance(source, FromContent) and media_type != "text":
            raise ArgumentError(
                f"$content is {article(media_type)}, which stands in no list or mapping; bind an argument of its own "
                "to it"
            )
        return source

    return parse_structure(value, columns, inner)


def _value(source: Any, content: Content) -> Any:
    if isinstance(source, FromContent):
        listed = content.reference.columns.get(CONTENT_LIST)
        inline = listed if isinstance(listed, list) else content.reference.inline
        held = content.data if content.data is not None else inline
        return content_bytes(content) if held is None else held
    if isinstance(source, FromColumn):
        return column_value(source, content)
    if isinstance(source, FromUri):
        return uri_of(content)
    assert isinstance(source, FromTemplate | FromStructure)
    return source.render(content)
