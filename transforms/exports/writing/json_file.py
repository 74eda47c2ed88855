"""JSON that is written item by item."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["JsonArray", "dumped", "json_array", "plain"]

_dump = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def dumped(value: Any) -> str:
    """A value in one line; what is no number is null."""
    try:
        return _dump(value)
    except ValueError:
        return _dump(plain(value))


def plain(value: Any) -> Any:
    """A value that JSON has: bytes in base64, times in ISO 8601; what is no number is null."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


class JsonArray:
    """An array in an open file."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._separator = file, "\n"
        file.write("[")

    def add(self, item: Any) -> None:
        """Add an item, in a line of its own."""
        self._file.write(self._separator)
        self._file.write(dumped(item))
        self._separator = ",\n"

    def end(self) -> None:
        """Nothing more comes."""
        self._file.write("\n]")


@contextlib.contextmanager
def json_array(path: Path) -> Iterator[JsonArray]:
    """A file that holds an array alone."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        array = JsonArray(file)
        yield array
        array.end()
        file.write("\n")
