"""Parses the arguments of a job file.

Their forms are $content, $uri, $column.NAME, {template: ...}, lists and mappings with these inside, and constants.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator
from typing import Any

from ...arguments.expressions import (
    ArgumentError,
    article,
    holds_expression,
    is_reference,
    is_template,
    parse_reference,
    parse_structure,
    parse_template,
)
from ...arguments.sources import FromColumn, FromContent, FromStructure, FromUri
from ..signatures import Field
from .framing import MEDIA, TEXTUAL
from .prompts import kind
from .sources import Constant, FromList, Source
from .values import REPEATED, MisfitError, encode_value

__all__ = ["parse_constant", "parse_source", "source_parts"]

_HAS_URL = (*MEDIA, *TEXTUAL)


def parse_source(field: Field, value: Any, media_type: str, columns: Collection[str]) -> Source:
    """Read one argument of the job file and check it against its parameter.

    Raises:
        ArgumentError: the argument is malformed, names what does not exist, or does not fit the parameter.
    """
    if is_template(value):
        return parse_template(value["template"], columns)
    if is_reference(value):
        return _reference(field, value, media_type, columns)
    if holds_expression(value):
        if field.type in ("JSON_DATA", *TEXTUAL) and not field.iterator:
            structure: Source = parse_structure(
                value, columns, lambda text: _inner_reference(field, text, media_type, columns)
            )
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


def _inner_reference(field: Field, text: str, media_type: str, columns: Collection[str]) -> Source:
    if text == "$uri":
        return FromUri()
    if text == "$content" and media_type != "text":
        raise ArgumentError(
            f"$content is {article(media_type)}, which JSON does not hold; write $uri there, or bind a parameter of "
            "its own to $content"
        )
    return _reference(dataclasses.replace(field, type="STR", type_args=()), text, media_type, columns)


def _reference(field: Field, text: str, media_type: str, columns: Collection[str]) -> Source:
    item = field.type_args[0] if field.type == "LIST" else field
    source = parse_reference(text, columns)
    if isinstance(source, FromColumn):
        return dataclasses.replace(source, fetched=item.type in MEDIA)
    if isinstance(source, FromContent):
        wanted = MEDIA.get(item.type) or ("any" if item.type == "BYTES" else "text")
        if wanted not in ("any", media_type):
            raise ArgumentError(
                f"$content is {article(media_type)}, but the parameter is {field.type_text}; bind another "
                f"parameter, or set source.media to {wanted} if that is what the source holds"
            )
    elif item.type not in _HAS_URL or MEDIA.get(item.type, media_type) != media_type:
        raise ArgumentError(
            f"$uri passes a reference to {article(media_type)}, but the parameter is {field.type_text}; "
            "bind another parameter"
        )
    return source


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
