"""Rows as JSON Lines and as CSV: every column, whatever the model answers."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from ...errors import ConfigError
from ..export import Export, ExportOptions, Format
from ..reading.items import Facts
from ..writing.json_file import dumped, plain

__all__ = ["Csv", "JsonLines", "filled_columns"]


class JsonLines(Format):
    """`predictions.jsonl`, or one file a split: an object a row; bytes in base64, columns without a value left out."""

    has_labels: ClassVar[bool] = False

    def write(self, export: Export) -> None:
        with _files(export, "jsonl") as files:
            for batch in export.selection.batches("predictions"):
                for row in batch.to_pylist():
                    filled = {name: plain(value) for name, value in row.items() if value is not None}
                    files[export.splits.of(row["input_id"])].write(dumped(filled) + "\n")


class Csv(Format):
    """`predictions.csv`, or one file a split: nested values as JSON.

    Columns that no chosen row fills are left out.
    """

    has_labels: ClassVar[bool] = False

    def check(self, facts: Facts, options: ExportOptions) -> None:
        if facts.masks:
            raise ConfigError(
                "--format csv: the chosen rows have masks, which CSV cannot hold; use coco, or jsonl for the rows alone"
            )

    def write(self, export: Export) -> None:
        names = filled_columns(export)
        with _files(export, "csv") as files:
            writers = {split: csv.writer(file, lineterminator="\n") for split, file in files.items()}
            for writer in writers.values():
                writer.writerow(names)
            for batch in export.selection.batches("predictions", names):
                for row in batch.to_pylist():
                    writers[export.splits.of(row["input_id"])].writerow([_cell(row[name]) for name in names])


def filled_columns(export: Export) -> list[str]:
    """The columns of `predictions` that a chosen row fills, in the order of the table."""
    filled: set[str] = set()
    for batch in export.selection.batches("predictions"):
        filled.update(
            name
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            if column.null_count < batch.num_rows
        )
    return [name for name in export.selection.schema.names if name in filled]


@contextlib.contextmanager
def _files(export: Export, suffix: str) -> Iterator[dict[str, IO[str]]]:
    with contextlib.ExitStack() as stack:
        yield {
            split: stack.enter_context(
                (export.folder / f"{split or 'predictions'}.{suffix}").open("w", encoding="utf-8", newline="")
            )
            for split in export.split_names
        }


def _cell(value: Any) -> Any:
    made = plain(value)
    return json.dumps(made, ensure_ascii=False) if isinstance(made, (dict, list)) else made
