"""Durations and sizes as a job file writes them: "90s", "10m", "128MB"."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, ByteSize, Field, WithJsonSchema

__all__ = ["Duration", "Size", "Texts", "size"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Read "90s", "10m", "1.5h" or a number of seconds as seconds; leave anything else to pydantic's own message."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", value)
        if not match:
            raise ValueError(f"{value!r} is no duration; write a number with a unit, as in 30s, 10m or 1h")
        return float(match[1]) * _UNITS[match[2] or "s"]
    return value


_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d*\.?\d+\s*([kKmMgGtTpPeE]?[iI]?[bB]|[kKmMgGtTpPeE])?$"},
    ]
}
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d)?\s*$"},
    ]
}

_TEXTS_SCHEMA = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}


def _one_is_a_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0), WithJsonSchema(_DURATION_SCHEMA)]
Size = Annotated[ByteSize, Field(gt=0), WithJsonSchema(_SIZE_SCHEMA)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_is_a_list), WithJsonSchema(_TEXTS_SCHEMA)]


def size(text: str) -> ByteSize:
    """A size of a default."""
    return ByteSize._validate(text, None)  # type: ignore[arg-type]
