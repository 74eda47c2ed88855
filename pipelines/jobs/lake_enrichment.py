"""The job kind `lake-enrichment`: predictions keep all columns of the table that they are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.rows.schemas import predictions_schema
from bulkinfer.transforms.sources.source import inspect_source

__all__ = ["left_out", "with_all_columns"]


def with_all_columns(file: JobFile) -> JobFile:
    """Configure a job to keep every column of its table, unless it names the ones to keep.

    The content column is left out, because it would store the input a second time; and so is a column whose name the
    predictions table has already.

    Raises:
        SourceError: the table cannot be read or lacks a column.
    """
    source = file.config.source
    if source.columns.keep:
        return file
    names = inspect_source(source).schema.names
    missing = left_out(source, names)
    keep = tuple(name for name in names if name not in missing)
    columns = source.columns.model_copy(update={"keep": keep})
    config = file.config.model_copy(update={"source": source.model_copy(update={"columns": columns})})
    return dataclasses.replace(file, config=config)


def left_out(source: SourceConfig, names: Iterable[str]) -> dict[str, str]:
    """The columns of a table that are not kept when a job keeps all, each with the reason."""
    taken = set(predictions_schema().names)
    reasons = {}
    for name in names:
        if name == source.columns.content:
            reasons[name] = "it is the content, and would be stored a second time"
        elif name in taken:
            reasons[name] = (
                f"the predictions table has a column of that name; list the ones to keep as {{my_{name}: {name}, ...}}"
            )
    return reasons
