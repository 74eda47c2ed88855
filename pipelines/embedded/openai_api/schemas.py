"""Makes an object that fits a JSON Schema, out of what a model has found where names and types allow it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import jsonschema

from .api_error import invalid

__all__ = ["check_schema", "fitting"]

_MOST_VALUES, _MOST_ITEMS = 10_000, 16
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class _UnfitError(Exception):
    """No value was found for a part of the schema."""


def check_schema(schema: Mapping[str, Any], param: str) -> None:
    """ApiError when it is no JSON Schema."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise invalid(
            param, f"Invalid schema for '{param}': {error.message}", "invalid_json_schema"
        ) from None
    except RecursionError:
        raise invalid(param, f"Invalid schema for '{param}': too deep.", "invalid_json_schema") from None


def fitting(schema: Mapping[str, Any], facts: Mapping[str, Any], text: str, param: str) -> Any:
    """A value that fits the schema.

    Args:
        schema: a valid JSON Schema.
        facts: what the model has found by name; a property of such a name and type gets it.
        text: what strings say that have no fact.
        param: the parameter that holds the schema.

    Raises:
        ApiError: the schema asks for something that this server cannot make up, such as a pattern.
    """
    try:
        value = _Fitting(schema, facts, text).value(schema, None, frozenset("#"))
        jsonschema.Draft202012Validator(schema).validate(value)
    # A schema may be valid and still hold what is none: a pattern that does not compile, a bound that is no number.
    except (
        _UnfitError,
        jsonschema.ValidationError,
        RecursionError,
        re.error,
        ValueError,
        ArithmeticError,
    ) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else "it is nested too deeply"
        raise invalid(param, f"This model cannot make a value for '{param}': {reason}") from None
    return value


class _Fitting:
    """Makes the values of one schema; `path` holds the references on the way, each of which is followed once."""

    def __init__(self, root: Mapping[str, Any], facts: Mapping[str, Any], text: str) -> None:
        self._root, self._facts, self._text = root, facts, text
        self._left = _MOST_VALUES

    def value(self, schema: Any, found: Any, path: frozenset[str]) -> Any:
        """A value for a part of the schema, `found` where that fits."""
        self._left -= 1
        if self._left < 0:
            raise _UnfitError(f"it has more than {_MOST_VALUES} parts")
        if not isinstance(schema, Mapping):
            return found if found is not None else self._text
        if "$ref" in schema or "allOf" in schema:
            whole, path = self._joined(schema, path)
            return self.value(whole, found, path)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._any_of(schema, key, found, path)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choice(schema["enum"], found)
        return self._typed(schema, found, path)

    def _typed(self, schema: Mapping[str, Any], found: Any, path: frozenset[str]) -> Any:
        kind = _type_of(schema)
        if kind == "object":
            return self._object(schema, path)
        if kind == "array":
            return self._array(schema, found, path)
        if kind == "string":
            return self._string(schema, found)
        if kind in ("integer", "number"):
            return _number(schema, found, whole=kind == "integer")
        if kind == "boolean":
            return found if isinstance(found, bool) else False
        return None

    def _object(self, schema: Mapping[str, Any], path: frozenset[str]) -> dict[str, Any]:
        needed, made = schema.get("required", []), {}
        for name, inner in {**dict.fromkeys(needed, True), **schema.get("properties", {})}.items():
            try:
                made[name] = self.value(inner, self._facts.get(name), path)
            except _UnfitError:
                if name in needed:
                    raise
        return made

    def _array(self, schema: Mapping[str, Any], found: Any, path: frozenset[str]) -> list[Any]:
        items = schema.get("items", True)
        least, most = schema.get("minItems", 0), schema.get("maxItems", _MOST_ITEMS)
        values = [self.value(inner, None, path) for inner in schema.get("prefixItems", [])]
        candidates = list(found) if isinstance(found, (list, tuple)) else []
        wanted = min(max(least, len(values) + len(candidates), 1), most)
        while len(values) < wanted and items is not False:
            candidate = candidates.pop(0) if candidates else None
            try:
                values.append(self.value(items, candidate, path))
            except _UnfitError:
                if len(values) < least:
                    raise
                break
        return values

    def _string(self, schema: Mapping[str, Any], found: Any) -> str:
        said = found if isinstance(found, str) else self._text if found is None else json.dumps(found)
        text: str = _FORMATS.get(schema.get("format", ""), said)
        text = text[: schema.get("maxLength", len(text))]
        if schema.get("minLength", 0) > _MOST_VALUES:
            raise _UnfitError(f"a text is to be longer than {_MOST_VALUES}")
        text += "." * (schema.get("minLength", 0) - len(text))
        if "pattern" in schema and not re.search(schema["pattern"], text):
            raise _UnfitError(f"it makes up no text for the pattern {schema['pattern']!r}")
        return text

    def _choice(self, choices: list[Any], found: Any) -> Any:
        """The fact, else the longest choice that the text names, else the first one."""
        if not choices:
            raise _UnfitError("an enum is empty")
        named = [one for one in choices if isinstance(one, str) and one.casefold() in self._text.casefold()]
        facts = [one for one in choices if one == found and isinstance(one, bool) == isinstance(found, bool)]
        return facts[0] if facts else max(named, key=len) if named else choices[0]

    def _any_of(self, schema: Mapping[str, Any], key: str, found: Any, path: frozenset[str]) -> Any:
        beside = {name: value for name, value in schema.items() if name != key}
        fault = _UnfitError(f"{key} is empty")
        # What is null says nothing: it is taken last.
        for choice in sorted(schema[key], key=lambda one: one == {"type": "null"}):
            try:
                return self.value({"allOf": [beside, choice]}, found, path)
            except _UnfitError as error:
                fault = error
        raise fault

    def _joined(
        self, schema: Mapping[str, Any], path: frozenset[str]
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """One schema of what `$ref` and `allOf` name and what stands beside them, and the path with the reference."""
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        merged: dict[str, Any] = {}
        for part in (
            *([{"$ref": schema["$ref"]}] if "$ref" in schema else []),
            *schema.get("allOf", []),
            beside,
        ):
            whole = part if isinstance(part, Mapping) else {}
            if set(whole) == {"$ref"}:
                reference = whole["$ref"]
                if reference in path:
                    raise _UnfitError(f"it refers to itself by {reference!r} without an end")
                path, whole = path | {reference}, self._referred(reference)
            if "$ref" in whole or "allOf" in whole:
                whole, path = self._joined(whole, path)
            for key, value in whole.items():
                if key == "properties":
                    merged[key] = {**merged.get(key, {}), **value}
                elif key == "required":
                    merged[key] = [*merged.get(key, []), *value]
                else:
                    merged[key] = value
        return merged, path

    def _referred(self, reference: str) -> Mapping[str, Any]:
        if not reference.startswith("#"):
            raise _UnfitError(f"it follows references within the schema alone, and not {reference!r}")
        part: Any = self._root
        for step in [step for step in reference[1:].split("/") if step]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(part, Mapping) or name not in part:
                raise _UnfitError(f"{reference!r} leads nowhere")
            part = part[name]
        return part if isinstance(part, Mapping) else {}


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _number(schema: Mapping[str, Any], found: Any, *, whole: bool) -> float:
    step = schema.get("multipleOf", 1 if whole else None)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    number = found if isinstance(found, (int, float)) and not isinstance(found, bool) else 0
    if whole:
        number = int(number)
    nudge = step or (abs(high - low) / 4 if low is not None and high is not None else 1)
    if low is not None and number <= low:
        number = low + nudge if "exclusiveMinimum" in schema else low
    if high is not None and number >= high:
        number = high - nudge if "exclusiveMaximum" in schema else high
    if not math.isfinite(number):
        raise _UnfitError("a bound is no number")
    if step:
        up = -(-number // step) * step
        number = up if high is None or up < high or (up == high and "maximum" in schema) else up - step
    return int(number) if whole or (isinstance(number, float) and number.is_integer()) else float(number)
