"""CSV, TSV and JSON Lines, line by line: a broken line costs itself, never its neighbours.

A record is one line, or the lines of a CSV record with quoted newlines. A file is cut at records,
so that its pieces can be read in any order by any worker and yield each record once.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = ["DELIMITERS", "Record", "header_of", "is_too_deep", "json_records", "split_delimited"]

DELIMITERS = {"csv": ",", "tsv": "\t"}
#: A quote that is not closed within so many lines is a fault of its own line, not a field of many lines.
_MOST_LINES = 1000
#: Levels of JSON in JSON: protobuf and Arrow's readers take about so many, and no value of a column has more.
_DEEPEST = 64


class Record(NamedTuple):
    """One record of a text manifest.

    Attributes:
        line: the number of its first line, from 1.
        lines: how many lines it takes.
        nbytes: how many bytes it takes, its line ends and skipped blank lines before it included.
        values: field texts in the order of the header, or a JSON object; None when broken.
        fault: why it is broken.
    """

    line: int
    lines: int
    nbytes: int
    values: Any
    fault: str = ""


def header_of(line: bytes, delimiter: str) -> list[str]:
    """Column names of a CSV or TSV file from its first line.

    Raises:
        ValueError: the line is no header.
    """
    names = next(
        csv.reader([_text(line.removeprefix(codecs.BOM_UTF8))], delimiter=delimiter, strict=True), []
    )
    return [name.strip() for name in names]


def split_delimited(lines: Iterable[bytes], delimiter: str, width: int, first: int) -> Iterator[Record]:
    """Records of a CSV or TSV file, header excluded.

    Args:
        lines: with their ends.
        width: fields of the header; a record with another number is broken.
        first: number of the first line.
    """
    csv.field_size_limit(2**31 - 1)  # content may stand in a field, and the default refuses 128 kB
    source = _Lines(lines)
    number, skipped = first, 0
    for line in source:
        if not line.strip():
            number, skipped = number + 1, skipped + len(line)
            continue
        record = _one(line, source, delimiter, width, number)
        yield record._replace(nbytes=record.nbytes + skipped) if skipped else record
        number, skipped = number + record.lines, 0


def json_records(lines: Iterable[bytes], first: int) -> Iterator[Record]:
    """Records of a JSON Lines file: one object a line."""
    number, skipped = first, 0
    loads: Callable[[str], Any] = json.loads
    for line in lines:
        if not line.strip():
            number, skipped = number + 1, skipped + len(line)
            continue
        try:
            text = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).decode("utf-8")
            values = loads(text)
            fault = "" if type(values) is dict else f"is a JSON {type(values).__name__}, not an object"
            if is_too_deep(text, values):
                fault = f"is nested more than {_DEEPEST} levels deep"
        except (ValueError, RecursionError) as error:
            values, fault = None, f"is no JSON: {_reason(error)}"
        yield Record(number, 1, len(line) + skipped, None if fault else values, fault)
        number, skipped = number + 1, 0


class _Lines:
    """Lines with a way to give some back."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._returned: deque[bytes] = deque()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._returned.popleft() if self._returned else next(self._lines)

    def give_back(self, lines: Sequence[bytes]) -> None:
        self._returned.extendleft(reversed(lines))


def _one(line: bytes, source: _Lines, delimiter: str, width: int, number: int) -> Record:
    try:
        text = line.decode("utf-8")
        if '"' not in text:
            fields = text.rstrip("\r\n").split(delimiter)
            return _checked(fields, width, number, 1, len(line))
        fields = next(csv.reader([text], delimiter=delimiter, strict=True))
        return _checked(fields, width, number, 1, len(line))
    except UnicodeDecodeError as error:
        return Record(number, 1, len(line), None, f"is not UTF-8: {error.reason} at byte {error.start}")
    except csv.Error as error:
        if "unexpected end of data" not in str(error):
            return Record(number, 1, len(line), None, f"is no CSV: {error}")
    return _of_many_lines(line, source, delimiter, width, number)


def _of_many_lines(line: bytes, source: _Lines, delimiter: str, width: int, number: int) -> Record:
    """A record whose quoted field goes on in the next lines; broken when the quote is never closed."""
    taken = [line]
    for following in source:
        taken.append(following)
        if b'"' in following:
            try:
                texts = [part.decode("utf-8") for part in taken]
                fields = next(csv.reader(texts, delimiter=delimiter, strict=True))
            except UnicodeDecodeError:
                break
            except csv.Error as error:
                if "unexpected end of data" not in str(error):
                    break
            else:
                record = _checked(fields, width, number, len(taken), sum(map(len, taken)))
                if not record.fault:
                    return record
                break
        if len(taken) >= _MOST_LINES:
            break
    source.give_back(taken[1:])
    return Record(number, 1, len(line), None, "has a quote that is not closed, or not doubled inside a field")


def _checked(fields: list[str], width: int, number: int, lines: int, nbytes: int) -> Record:
    if len(fields) != width:
        return Record(number, lines, nbytes, None, f"has {len(fields)} fields where the header has {width}")
    return Record(number, lines, nbytes, fields)


def _text(line: bytes) -> str:
    return line.decode("utf-8").rstrip("\r\n")


def is_too_deep(line: str, values: Any) -> bool:
    """Whether a line of JSON has more levels than any value of a column may have."""
    if line.count("[") + line.count("{") <= _DEEPEST:
        return False
    level = [values]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, dict | list) for each in level)


def _reason(error: Exception) -> str:
    # A JSON error's own text is a position; a decode error's would quote the content.
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else "nested too deeply"
