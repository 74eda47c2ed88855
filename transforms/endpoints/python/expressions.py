"""Parses an argument of a job file for a parameter of any type."""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Collection
from typing import Any

from ..clarifai.request.sources import FromColumn, FromContent, FromStructure, FromTemplate, FromUri

__all__ = ["ArgumentError", "named_columns", "parse_source"]

_REFERENCE = re.compile(r"\$[A-Za-z_][^\s]*|\$column\..+")


class ArgumentError(Exception):
    """An argument is wrong; the message lacks its name."""


def parse_source(value: Any, media_type: str, columns: Collection[str]) -> tuple[Any, bool]:
    """Where a value comes from, and whether it is a constant.

    Raises:
        ArgumentError: it is malformed, or names what does not exist.
    """
    if _is_template(value):
        return _template(value["template"], columns), False
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return _reference(value, columns), False
    if _holds_expression(value):
        return _structure(value, media_type, columns), False
    return value, True


def named_columns(value: Any) -> frozenset[str]:
    """The columns that arguments name."""
    if _is_template(value):
        try:
            return frozenset(name for _, name, _, _ in string.Formatter().parse(value["template"]) if name)
        except ValueError:
            return frozenset()
    if isinstance(value, dict):
        return frozenset().union(*map(named_columns, value.values()))
    if isinstance(value, list):
        return frozenset().union(*map(named_columns, value))
    if isinstance(value, str) and value.startswith("$column."):
        return frozenset({value.removeprefix("$column.")})
    return frozenset()


def _is_template(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"template"} and isinstance(value["template"], str)


def _holds_expression(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(
        _is_template(one)
        or (isinstance(one, str) and bool(_REFERENCE.fullmatch(one)))
        or _holds_expression(one)
        for one in inside
    )


def _structure(value: Any, media_type: str, columns: Collection[str]) -> Any:
    if _is_template(value):
        return _template(value["template"], columns)
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        if value == "$content" and media_type != "text":
            raise ArgumentError(
                "$content inside a list or a mapping is text alone; bind a parameter of its own to it"
            )
        return _reference(value, columns)
    if isinstance(value, dict):
        return FromStructure(
            tuple(_structure(one, media_type, columns) for one in value.values()), tuple(value)
        )
    if isinstance(value, list):
        return FromStructure(tuple(_structure(one, media_type, columns) for one in value))
    return value.isoformat() if isinstance(value, datetime.date) else value


def _reference(text: str, columns: Collection[str]) -> Any:
    if text == "$content":
        return FromContent()
    if text == "$uri":
        return FromUri()
    if text.startswith("$column."):
        name = text.removeprefix("$column.")
        _check_column(name, columns)
        return FromColumn(name)
    raise ArgumentError("it begins with $ but is no reference; write $content, $uri or $column.NAME")


def _template(text: str, columns: Collection[str]) -> FromTemplate:
    pieces = []
    try:
        for before, column, form, conversion in string.Formatter().parse(text):
            if conversion or (column is not None and not column) or "{" in (form or ""):
                raise ArgumentError("the template holds {} without a name; write {COLUMN}")
            if column is not None:
                _check_column(column, columns)
            pieces.append((before, column, form or ""))
    except ValueError as error:
        raise ArgumentError(f"the template is malformed ({error}); write {{COLUMN}} for a column") from None
    return FromTemplate(tuple(pieces))


def _check_column(name: str, columns: Collection[str]) -> None:
    if name not in columns:
        raise ArgumentError(f"the source has no column {name!r}; it has {', '.join(sorted(columns))}")
