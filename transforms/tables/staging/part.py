"""Writes one part: the rows of a set of inputs that become visible together, files first, manifest last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import StoppedError, StoreError
from ...records import Failure, Prediction, Reference
from ...rows.answer_rows import ReadOptions
from ...rows.footers import footer_metadata
from ...rows.table_builder import TableOptions, Tables
from ...runs.parts import (
    OutputSpec,
    PartFile,
    PartManifest,
    commit_path,
    new_part_id,
    part_path,
    staging_path,
)
from ...storage.store import Store
from ..files import write_ipc, write_parquet
from ..input_index import InputIndex, hash_ids, version_code
from ..partitions import partition_of_inputs, split_rows
from .segment import Piece, joined

__all__ = ["Entries", "options_of", "raise_if_committed", "references_of", "write_part"]


class Entries(NamedTuple):
    """The inputs whose rows a table builder holds, in its order."""

    ids: list[str]
    versions: list[str]
    error_types: list[str | None]
    contents: list[int]

    def add(self, rows: Sequence[Prediction | Failure], error_type: str | None) -> None:
        """Add the inputs of outcomes; `error_type` is None for predictions."""
        references = [row.reference for row in rows]
        if any(reference.aliases for reference in references):
            references = [reference for row in rows for reference in references_of(row)]
        self.ids.extend([reference.input_id for reference in references])
        self.versions.extend([reference.version for reference in references])
        self.error_types.extend([error_type] * len(references))
        self.contents.extend([reference.content for reference in references])

    def to_index(self) -> InputIndex:
        types = sorted({kind for kind in self.error_types if kind is not None})
        codes: dict[str | None, int] = {None: -1, **{kind: code for code, kind in enumerate(types)}}
        return InputIndex(
            hash_ids(self.ids),
            np.array(list(map(version_code, self.versions)), np.uint64),
            np.array([codes[kind] for kind in self.error_types], np.int16),
            types,
            np.array(self.contents, np.uint64),
        )


def references_of(row: Prediction | Failure) -> tuple[Reference, ...]:
    """List the inputs of an outcome: its reference, and the aliases that have the same content."""
    return (row.reference, *row.reference.aliases)


def options_of(spec: OutputSpec) -> TableOptions:
    """Derive the table builder's options from the output's spec."""
    return TableOptions(
        run_id=spec.run_id,
        reader=spec.reader,
        read=ReadOptions(spec.masks, spec.raw, spec.pieces),
        keep_schema=spec.keep_schema,
        model_url=spec.model_url,
        model_version=spec.model_version,
    )


def write_part(store: Store, spec: OutputSpec, pieces: Sequence[Piece]) -> PartManifest:
    """Make a part of some inputs: the files first, the manifest last.

    Args:
        pieces: the inputs and their rows; no input is in two of them.

    Raises:
        StoreError: the store is full or out of reach; the part does not exist then.
        StoppedError: a later start of the job has committed this run already.
    """
    raise_if_committed(store, spec)
    try:
        return _write_part(
            store, spec, joined(pieces), tuple(piece.segment for piece in pieces if piece.segment)
        )
    except StoreError:
        # A worker that was silent for long may find its run committed, and its staged files cleaned away under it.
        raise_if_committed(store, spec)
        raise


def raise_if_committed(store: Store, spec: OutputSpec) -> None:
    """End a worker whose run somebody else has committed.

    Raises:
        StoppedError: a later start of the job has.
    """
    if store.exists(commit_path(spec.run_id)):
        raise StoppedError(
            f"run {spec.run_id} was taken over by a later start of the job and is committed; this worker's "
            "further rows are left to that one"
        )


def _write_part(store: Store, spec: OutputSpec, piece: Piece, segments: tuple[str, ...]) -> PartManifest:
    part_id, tables, index = new_part_id(), piece.tables, piece.index
    files = {}
    for name, table, ranges in _divided(tables, spec):
        # A file of one partition can become visible as it is; the commit splits the others by partition.
        path = staging_path(spec.run_id, part_id, name, "parquet" if len(ranges) == 1 else "arrow")
        if len(ranges) == 1:
            size = write_parquet(store, path, table, spec.file_bytes)
        else:
            size = write_ipc(store, path, table, [rows for _, rows in ranges])
        files[name] = PartFile(path, size, table.num_rows, ranges)
    path = staging_path(spec.run_id, part_id, "index", "parquet")
    size = write_parquet(store, path, index.to_table(), spec.file_bytes)
    files["index"] = PartFile(path, size, len(index), (("", len(index)),))
    errors = int((index.error_codes >= 0).sum())
    manifest = PartManifest(part_id, files, len(index) - errors, errors, dict(piece.metrics), segments)
    store.write(part_path(spec.run_id, part_id), manifest.to_json())
    return manifest


def _divided(tables: Tables, spec: OutputSpec) -> Iterator[tuple[str, Any, tuple[tuple[str, int], ...]]]:
    """Name the tables that have rows, each sorted by partition, with the rows of each partition."""
    by_input, paths = None, None
    if spec.partition_by:
        by_input, paths = partition_of_inputs(tables.predictions, tables.prediction_inputs, spec)
    for name, inputs in (
        ("predictions", tables.prediction_inputs),
        ("masks", tables.mask_inputs),
        ("errors", None),
    ):
        table = getattr(tables, name)
        if not table.num_rows:
            continue
        ranges: tuple[tuple[str, int], ...] = (("", table.num_rows),)
        if by_input is not None and paths is not None and inputs is not None:
            table, ranges = split_rows(table, inputs, by_input, paths, spec)
        yield name, _with_footer(table, spec), ranges


def _with_footer(table: Any, spec: OutputSpec) -> Any:
    return table.replace_schema_metadata(
        footer_metadata(
            table.schema,
            run_id=spec.run_id,
            model_url=spec.model_url or None,
            model_version=spec.model_version or None,
            job_fingerprint=spec.fingerprint or None,
        )
    )
