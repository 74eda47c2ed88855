"""Pieces of text manifests as columns: where no line is odd, many lines cost little more than their split.

What `read_block` gives is what `formats.read_split` gives row by row; whatever has a quote, a blank or a broken line is
left to that one.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from typing import Any

from ...storage.filesystems import Filesystems
from .files import Manifest, Split, check_unchanged
from .formats import header_names, read_range
from .text import DELIMITERS, is_too_deep

__all__ = ["read_block"]


def read_block(
    manifest: Manifest, split: Split, columns: Sequence[str], filesystems: Filesystems
) -> list[list[Any]] | None:
    """The values of the named columns in the rows of one piece; None where a row wants a look of its own.

    A column that a row lacks is None there.

    Raises:
        OSError: the file cannot be read.
        SourceError: it was changed since the job began.
    """
    if manifest.gz or manifest.kind == "parquet":
        return None
    data = read_range(manifest, split, filesystems)
    names = header_names(manifest, filesystems) if manifest.kind in DELIMITERS else []
    check_unchanged(manifest, filesystems)
    if manifest.kind in DELIMITERS:
        return _delimited(data, split.rows, DELIMITERS[manifest.kind], names, columns)
    return _json(data, split, columns)


def _lines(data: bytes, rows: int) -> list[str] | None:
    """The lines of a piece that has one a row; a blank one is none."""
    if b"\r" in data:
        if data.count(b"\r") != data.count(b"\r\n"):
            return None
        data = data.replace(b"\r\n", b"\n")
    try:
        lines = data.removesuffix(b"\n").decode().split("\n")
    except UnicodeDecodeError:
        return None
    return lines if len(lines) == rows and all(map(str.strip, lines)) else None


def _delimited(
    data: bytes, rows: int, delimiter: str, names: Sequence[str], columns: Sequence[str]
) -> list[list[Any]] | None:
    if b'"' in data or (lines := _lines(data, rows)) is None:
        return None
    fields = [line.split(delimiter) for line in lines]
    width = len(names)
    if any(len(line) != width for line in fields):
        return None
    found = dict(zip(names, zip(*fields, strict=True), strict=True))
    return [list(found.get(name, (None,) * rows)) for name in columns]


def _json(data: bytes, split: Split, columns: Sequence[str]) -> list[list[Any]] | None:
    if split.line == 1:
        data = data.removeprefix(codecs.BOM_UTF8)
    if (lines := _lines(data, split.rows)) is None:
        return None
    try:
        values = list(map(json.loads, lines))
    except (ValueError, RecursionError):
        return None
    if not all(type(value) is dict for value in values) or any(map(is_too_deep, lines, values)):
        return None
    return [[value.get(name) for value in values] for name in columns]
