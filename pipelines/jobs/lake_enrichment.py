"""The job kind `lake-enrichment`: predictions keep all columns of the table that they are made from."""

from __future__ import annotations

import dataclasses

from bulkinfer.transforms.job.job_file import JobFile
from bulkinfer.transforms.rows.schemas import predictions_schema
from bulkinfer.transforms.sources.source import inspect_source

__all__ = ["with_all_columns"]


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
    taken = {source.columns.content, *predictions_schema().names}
    keep = tuple(name for name in inspect_source(source).schema.names if name not in taken)
    columns = source.columns.model_copy(update={"keep": keep})
    config = file.config.model_copy(update={"source": source.model_copy(update={"columns": columns})})
    return dataclasses.replace(file, config=config)
