"""Structured answers: the text of an answer as JSON, checked against the schema that the job asked for."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

from ....errors import JobError, MethodError

__all__ = ["MisfitError", "Structure", "structure_of"]


class MisfitError(Exception):
    """An answer is no JSON, or does not fit its schema; the message tells where."""


@dataclasses.dataclass(frozen=True)
class Structure:
    """What an answer's text must be.

    Attributes:
        schema: a JSON Schema as text; None for any JSON.
    """

    schema: str | None

    def value_of(self, text: str) -> Any:
        """The JSON of an answer.

        Raises:
            MisfitError: it is none, or does not fit the schema.
        """
        try:
            value = json.loads(text)
        except ValueError as error:
            raise MisfitError(f"it is no JSON ({error})") from None
        if self.schema is not None:
            wrong = next(iter(_validator(self.schema).iter_errors(value)), None)
            if wrong is not None:
                place = "/".join(map(str, wrong.absolute_path))
                raise MisfitError(f"{wrong.message[:200]}{f' at {place}' if place else ''}")
        return value


def structure_of(form: Any, place: str, *, nested: bool) -> Structure | None:
    """What `response_format` (chat) or `text.format` (responses) asks for; None for plain text.

    Args:
        form: the job's value.
        place: its key, for messages.
        nested: the schema stands below `json_schema`.

    Raises:
        MethodError: the schema is none.
        JobError: the package that checks schemas is not installed.
    """
    if not isinstance(form, Mapping) or form.get("type") not in ("json_schema", "json_object"):
        return None
    if form["type"] == "json_object":
        return Structure(None)
    inside = form.get("json_schema") if nested else form
    schema = inside.get("schema") if isinstance(inside, Mapping) else None
    if not isinstance(schema, Mapping):
        raise MethodError(
            f"{place}: no schema stands in it; write {'json_schema: ' if nested else ''}{{name, schema}}"
        )
    text = json.dumps(schema)
    try:
        _validator(text)
    except _schema_error() as error:
        raise MethodError(f"{place}: the schema is none: {str(error).splitlines()[0][:200]}") from None
    return Structure(text)


@functools.lru_cache(maxsize=16)
def _validator(schema: str) -> Any:
    jsonschema = _jsonschema()
    read = json.loads(schema)
    kind = jsonschema.validators.validator_for(read, default=jsonschema.Draft202012Validator)
    kind.check_schema(read)
    return kind(read)


def _schema_error() -> type[Exception]:
    found: type[Exception] = _jsonschema().exceptions.SchemaError
    return found


def _jsonschema() -> Any:
    try:
        import jsonschema  # noqa: PLC0415  (an extra: only structured answers need it)
    except ImportError:
        raise JobError(
            "model.arguments: structured answers are checked by the package jsonschema, which is not installed; "
            "pip install 'bulkinfer[openai]'"
        ) from None
    return jsonschema
