"""The JSON Schema of the job file: it takes what the program takes, `${NAME}` included."""

from __future__ import annotations

from typing import Any

from .config import JobConfig

__all__ = ["json_schema"]

#: In place of a number, a flag or a word: filled in from the environment before the value is looked at.
_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_NOTES = ("title", "description", "default")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the job file, for editors and other tools."""
    schema = JobConfig.model_json_schema()
    sections = {name: _with_variables(section) for name, section in schema.pop("$defs").items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_with_variables(schema),
        "$defs": sections,
        "title": "bulkinfer job file",
    }


def _with_variables(section: dict[str, Any]) -> dict[str, Any]:
    values = {name: _value(value) for name, value in section.get("properties", {}).items()}
    return {**section, "properties": values} if values else section


def _value(schema: dict[str, Any]) -> dict[str, Any]:
    """A value that may be a variable as well, where it is no section and no text already."""
    notes = {name: schema[name] for name in _NOTES if name in schema}
    kind = {name: value for name, value in schema.items() if name not in notes}
    if "items" in kind:
        return {**notes, **kind, "items": _value(kind["items"])}
    kinds = kind.get("anyOf", [kind])
    kinds = [_value(one) if "items" in one else one for one in kinds]
    if all(map(_is_open, kinds)):
        return {**notes, **(kind if "anyOf" not in kind else {"anyOf": kinds})}
    return {**notes, "anyOf": [*kinds, _VARIABLE]}


def _is_open(kind: dict[str, Any]) -> bool:
    """Whether a variable in it fits already, or stands for nothing that would fit."""
    if kind.get("type") == "string":
        return not {"pattern", "enum", "const"} & kind.keys()
    return "enum" not in kind and kind.get("type") not in ("integer", "number", "boolean")
