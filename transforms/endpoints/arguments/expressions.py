"""Parses the expressions of a job's arguments: $content, $uri, $column.NAME, {template: ...}, structures of these."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import re
import string
from collections.abc import Callable, Collection
from typing import Any

from ...errors import MethodError
from .sources import FromColumn, FromContent, FromStructure, FromTemplate, FromUri

__all__ = [
    "ArgumentError",
    "article",
    "check_column",
    "closest",
    "holds_expression",
    "is_expression",
    "is_reference",
    "is_template",
    "named_columns",
    "parse_reference",
    "parse_structure",
    "parse_template",
]

_REFERENCE = re.compile(r"\$[A-Za-z_][^\s]*|\$column\..+")


class ArgumentError(MethodError):
    """An argument is wrong; the message lacks the key and the method, which the caller puts around it."""


def is_template(value: Any) -> bool:
    """True for `{template: ...}`."""
    return isinstance(value, dict) and value.keys() == {"template"} and isinstance(value["template"], str)


def is_reference(value: Any) -> bool:
    """True for text that begins as a $ reference does, known or not."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def is_expression(value: Any) -> bool:
    """True for a $ reference or a template, False for a constant."""
    return is_template(value) or is_reference(value)


def holds_expression(value: Any) -> bool:
    """True for a mapping or a list with a $ reference or a template somewhere inside."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(is_expression(item) or holds_expression(item) for item in inside)


def named_columns(value: Any) -> frozenset[str]:
    """The columns that arguments name, before the method that they must fit is known."""
    if is_template(value):
        with contextlib.suppress(ValueError):  # a malformed template is reported when it is bound
            return frozenset(name for _, name, _, _ in string.Formatter().parse(value["template"]) if name)
    if isinstance(value, dict):
        return frozenset().union(*map(named_columns, value.values()))
    if isinstance(value, list):
        return frozenset().union(*map(named_columns, value))
    if isinstance(value, str) and value.startswith("$column."):
        return frozenset({value.removeprefix("$column.")})
    return frozenset()


def parse_reference(text: str, columns: Collection[str]) -> FromContent | FromUri | FromColumn:
    """What a $ reference names.

    Raises:
        ArgumentError: it is none, or the source has no such column.
    """
    if text == "$content":
        return FromContent()
    if text == "$uri":
        return FromUri()
    if text.startswith("$column."):
        name = text.removeprefix("$column.")
        check_column(name, columns)
        return FromColumn(name)
    near = difflib.get_close_matches(text, ("$content", "$uri", "$column."), 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ArgumentError(  # the text stays out: it may be a secret that happens to begin so
        f"it begins with $ but is no reference; {hint}write $content, $uri or $column.NAME, or "
        "{template: ...} for text that begins with $"
    )


def parse_template(text: str, columns: Collection[str]) -> FromTemplate:
    """The pieces of a template's text.

    Raises:
        ArgumentError: it is malformed, or the source has no such column.
    """
    pieces = []
    try:
        for before, column, form, conversion in string.Formatter().parse(text):
            if conversion or (column is not None and not column) or "{" in (form or ""):
                raise ArgumentError(
                    "the template holds {} without a name, a conversion or a nested field; write {COLUMN}"
                )
            if column is not None:
                check_column(column, columns)
            pieces.append((before, column, form or ""))
    except ValueError as error:
        raise ArgumentError(
            f"the template is malformed ({error}); write {{COLUMN}} for a column and {{{{ or }}}} for a brace"
        ) from None
    return FromTemplate(tuple(pieces))


def parse_structure(value: Any, columns: Collection[str], reference: Callable[[str], Any]) -> Any:
    """A mapping or a list with expressions inside, down to its last value: structures, sources and plain values.

    Args:
        reference: makes a source of a $ reference; it raises ArgumentError.

    Raises:
        ArgumentError: an expression in it is malformed.
    """
    if is_template(value):
        return parse_template(value["template"], columns)
    if is_reference(value):
        return reference(value)
    if isinstance(value, dict):
        items = tuple(parse_structure(item, columns, reference) for item in value.values())
        return FromStructure(items, tuple(map(str, value)))
    if isinstance(value, list):
        return FromStructure(tuple(parse_structure(item, columns, reference) for item in value))
    if isinstance(value, datetime.date):
        return value.isoformat()  # YAML reads 2026-01-31 as a date
    return value


def check_column(name: str, columns: Collection[str]) -> None:
    """Check that the source has a column.

    Raises:
        ArgumentError: it has none of that name.
    """
    if name not in columns:
        raise ArgumentError(f"the source has no column {name!r}; {closest(name, columns, 'columns')}")


def closest(name: str, known: Collection[str], what: str) -> str:
    """The end of a message about an unknown name: a near miss, or what there is."""
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"it has {', '.join(sorted(known))}" if known else f"it has no {what}"


def article(media_type: str) -> str:
    """A media type with its article, for messages."""
    return {"image": "an image", "video": "a video"}.get(media_type, media_type)
