"""Parses the arguments of a job file.

Their forms are $content, $uri, $column.NAME, {template: ...}, lists and mappings with these inside, and constants.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import json
import re
import string
from collections.abc import Collection, Iterator
from typing import Any

from ....errors import MethodError
from ..signatures import Field
from .framing import MEDIA, TEXTUAL
from .prompts import kind
from .sources import (
    Constant,
    FromColumn,
    FromContent,
    FromList,
    FromStructure,
    FromTemplate,
    FromUri,
    Source,
)
from .values import REPEATED, MisfitError, encode_value

__all__ = [
    "ArgumentError",
    "closest",
    "holds_expression",
    "is_expression",
    "named_columns",
    "parse_constant",
    "parse_source",
    "source_parts",
]

_REFERENCE = re.compile(r"\$[A-Za-z_][^\s]*|\$column\..+")
_HAS_URL = (*MEDIA, *TEXTUAL)


class ArgumentError(MethodError):
    """An argument is wrong; the message lacks the key and the signature, which `bind` puts around it."""


def parse_source(field: Field, value: Any, media_type: str, columns: Collection[str]) -> Source:
    """Read one argument of the job file and check it against its parameter.

    Raises:
        ArgumentError: the argument is malformed, names what does not exist, or does not fit the parameter.
    """
    if _is_template(value):
        return _template(value["template"], columns)
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return _reference(field, value, media_type, columns)
    if holds_expression(value):
        if field.type in ("JSON_DATA", *TEXTUAL) and not field.iterator:
            structure: Source = _structure(field, value, media_type, columns)
            return structure
        return _list(field, value, media_type, columns)
    if field.type in TEXTUAL and isinstance(value, dict) and not field.iterator:
        value = json.dumps(value, ensure_ascii=False)
    return parse_constant(field, value)


def parse_constant(field: Field, value: Any) -> Constant:
    """A value of the job file, checked and encoded before any call.

    Raises:
        ArgumentError: the value does not fit the parameter. Its text does not show the value, which may be a
            secret.
    """
    try:
        if field.iterator:
            items = value if isinstance(value, list) else [value]
            return Constant(b"", tuple(encode_value(field, item) for item in items))
        data = encode_value(field, value)
    except MisfitError as fault:
        raise ArgumentError(f"{kind(value)} does not fit {field.type_text}: {fault}") from None
    chosen = value if isinstance(value, list) else [value]
    if field.choices and any(str(choice) not in field.choices for choice in chosen):
        raise ArgumentError(
            f"its value is none of the model's choices; write one of {', '.join(field.choices)}"
        )
    return Constant(data)


def source_parts(source: Any) -> Iterator[Any]:
    """The source and all sources inside it, a structure's plain values among them."""
    yield source
    if isinstance(source, FromList | FromStructure):
        for item in source.items:
            yield from source_parts(item)


def closest(name: str, known: Collection[str], what: str) -> str:
    """The end of a message about an unknown name: a near miss, or what there is."""
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"it has {', '.join(sorted(known))}" if known else f"it has no {what}"


def named_columns(value: Any) -> frozenset[str]:
    """The columns that arguments name, before the method that they must fit is known."""
    if _is_template(value):
        with contextlib.suppress(ValueError):  # a malformed template is reported when it is bound
            return frozenset(name for _, name, _, _ in string.Formatter().parse(value["template"]) if name)
    if isinstance(value, dict):
        return frozenset().union(*map(named_columns, value.values()))
    if isinstance(value, list):
        return frozenset().union(*map(named_columns, value))
    if isinstance(value, str) and value.startswith("$column."):
        return frozenset({value.removeprefix("$column.")})
    return frozenset()


def _is_template(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"template"} and isinstance(value["template"], str)


def is_expression(value: Any) -> bool:
    """True for a $ reference or a template, False for a constant."""
    return _is_template(value) or (isinstance(value, str) and _REFERENCE.fullmatch(value) is not None)


def holds_expression(value: Any) -> bool:
    """True for a mapping or a list with a $ reference or a template somewhere inside."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(is_expression(item) or holds_expression(item) for item in inside)


def _structure(field: Field, value: Any, media_type: str, columns: Collection[str]) -> Any:
    """A mapping or a list with references inside, down to its last value."""
    if _is_template(value):
        return _template(value["template"], columns)
    if isinstance(value, str) and _REFERENCE.fullmatch(value):
        return _inner_reference(field, value, media_type, columns)
    if isinstance(value, dict):
        items = tuple(_structure(field, item, media_type, columns) for item in value.values())
        return FromStructure(items, tuple(map(str, value)))
    if isinstance(value, list):
        return FromStructure(tuple(_structure(field, item, media_type, columns) for item in value))
    if isinstance(value, datetime.date):
        return value.isoformat()  # YAML reads 2026-01-31 as a date
    return value


def _inner_reference(field: Field, text: str, media_type: str, columns: Collection[str]) -> Source:
    if text == "$uri":
        return FromUri()
    if text == "$content" and media_type != "text":
        raise ArgumentError(
            f"$content is {_article(media_type)}, which JSON does not hold; write $uri there, or bind a parameter of "
            "its own to $content"
        )
    return _reference(dataclasses.replace(field, type="STR", type_args=()), text, media_type, columns)


def _reference(field: Field, text: str, media_type: str, columns: Collection[str]) -> Source:
    item = field.type_args[0] if field.type == "LIST" else field
    if text.startswith("$column."):
        name = text.removeprefix("$column.")
        _check_column(name, columns)
        return FromColumn(name, fetched=item.type in MEDIA)
    if text == "$content":
        wanted = MEDIA.get(item.type) or ("any" if item.type == "BYTES" else "text")
        if wanted not in ("any", media_type):
            raise ArgumentError(
                f"$content is {_article(media_type)}, but the parameter is {field.type_text}; bind another "
                f"parameter, or set source.media to {wanted} if that is what the source holds"
            )
        return FromContent()
    if text == "$uri":
        if item.type not in _HAS_URL or MEDIA.get(item.type, media_type) != media_type:
            raise ArgumentError(
                f"$uri passes a reference to {_article(media_type)}, but the parameter is {field.type_text}; "
                "bind another parameter"
            )
        return FromUri()
    near = difflib.get_close_matches(text, ("$content", "$uri", "$column."), 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ArgumentError(  # the text stays out: it may be a secret that happens to begin so
        f"it begins with $ but is no reference; {hint}write $content, $uri or $column.NAME, or "
        "{template: ...} for text that begins with $"
    )


def _template(text: str, columns: Collection[str]) -> FromTemplate:
    pieces = []
    try:
        for before, column, form, conversion in string.Formatter().parse(text):
            if conversion or (column is not None and not column) or "{" in (form or ""):
                raise ArgumentError(
                    "the template holds {} without a name, a conversion or a nested field; write {COLUMN}"
                )
            if column is not None:
                _check_column(column, columns)
            pieces.append((before, column, form or ""))
    except ValueError as error:
        raise ArgumentError(
            f"the template is malformed ({error}); write {{COLUMN}} for a column and {{{{ or }}}} for a brace"
        ) from None
    return FromTemplate(tuple(pieces))


def _list(field: Field, values: Any, media_type: str, columns: Collection[str]) -> FromList:
    if (
        not isinstance(values, list)
        or field.type != "LIST"
        or field.iterator
        or field.type_args[0].type in REPEATED
    ):
        raise ArgumentError(
            "a list or a mapping with $ references or templates in it fits a parameter of JSON or text, and such a "
            f"list one of type List[...], but the parameter is {field.type_text}"
        )
    return FromList(tuple(parse_source(field.type_args[0], value, media_type, columns) for value in values))


def _check_column(name: str, columns: Collection[str]) -> None:
    if name not in columns:
        raise ArgumentError(f"the source has no column {name!r}; {closest(name, columns, 'columns')}")


def _article(media_type: str) -> str:
    return {"image": "an image", "video": "a video"}.get(media_type, media_type)
