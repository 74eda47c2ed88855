"""Rows as JSON Lines and as CSV: every column, whatever the model answers."""

from __future__ import annotations

import base64
import csv
import datetime
import json
import math
from typing import Any

from ...errors import ConfigError
from ..export import Export

__all__ = ["Csv", "JsonLines"]


class JsonLines:
    """`predictions.jsonl`, or one file a split: an object a row; bytes in base64, columns without a value left out."""

    has_labels = False

    def write(self, export: Export) -> None:
        """Write the rows."""
        files = _files(export, "jsonl")
        try:
            for some in export.selection.rows():
                for row in some:
                    filled = {name: _plain(value) for name, value in row.items() if value is not None}
                    text = json.dumps(filled, ensure_ascii=False, allow_nan=False)
                    files[export.splits.of(row["input_id"])].write(text + "\n")
        finally:
            for file in files.values():
                file.close()


class Csv:
    """`predictions.csv`, or one file a split: nested values as JSON.

    Columns that no chosen row fills are left out.
    """

    has_labels = False

    def write(self, export: Export) -> None:
        """Write the rows.

        Raises:
            ConfigError: the rows have masks, which a cell cannot hold.
        """
        if any(region.rle for region in export.selection.regions()):
            raise ConfigError(
                "--format csv: the chosen rows have masks, which CSV cannot hold; use coco, or jsonl for the rows alone"
            )
        filled = dict.fromkeys(
            name for some in export.selection.rows() for row in some for name in row if row[name] is not None
        )
        names = [name for name in export.selection.predictions.schema.names if name in filled]
        files = _files(export, "csv")
        try:
            writers = {split: csv.writer(file, lineterminator="\n") for split, file in files.items()}
            for writer in writers.values():
                writer.writerow(names)
            for some in export.selection.rows():
                for row in some:
                    writers[export.splits.of(row["input_id"])].writerow([_cell(row[name]) for name in names])
        finally:
            for file in files.values():
                file.close()


def _files(export: Export, suffix: str) -> dict[str, Any]:
    return {
        split: (export.folder / f"{split or 'predictions'}.{suffix}").open("w", encoding="utf-8", newline="")
        for split in export.splits.names or ("",)
    }


def _plain(value: Any) -> Any:
    """A value that JSON has: bytes in base64, times in ISO 8601; what is no number is null."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _cell(value: Any) -> Any:
    plain = _plain(value)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, (dict, list)) else plain
