"""Writes one part: the rows of a set of inputs that become durable together, files first, manifest last."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import StoppedError, StoreError
from ..metrics import process_metrics
from ..records import Failure, Prediction, Reference
from ..rows.answer_rows import ReadOptions
from ..rows.footers import footer_metadata
from ..rows.table_builder import TableOptions
from ..runs.parts import OutputSpec, PartFile, PartManifest, commit_path, new_part_id, part_path, staging_path
from ..storage.store import Store
from .files import write_ipc, write_parquet
from .input_index import InputIndex, hash_ids, version_code
from .partitions import partition_of_inputs, split_rows

__all__ = ["Entries", "options_of", "references_of", "write_part"]


class Entries(NamedTuple):
    """The inputs whose rows a table builder holds, in its order."""

    ids: list[str]
    versions: list[int]
    error_types: list[str | None]

    def add(self, row: Prediction | Failure, error_type: str | None) -> None:
        """Add the inputs of an outcome; `error_type` is None for a prediction."""
        for reference in references_of(row):
            self.ids.append(reference.input_id)
            self.versions.append(version_code(reference.version))
            self.error_types.append(error_type)

    def to_index(self) -> InputIndex:
        types = sorted({kind for kind in self.error_types if kind is not None})
        codes: dict[str | None, int] = {None: -1, **{kind: code for code, kind in enumerate(types)}}
        return InputIndex(
            hash_ids(self.ids),
            np.array(self.versions, np.uint64),
            np.array([codes[kind] for kind in self.error_types], np.int16),
            types,
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


def write_part(store: Store, spec: OutputSpec, tables: Any, index: InputIndex) -> PartManifest:
    """Make the rows of some inputs durable: the files first, the manifest last.

    Args:
        tables: the result of `TableBuilder.finish`.
        index: the same inputs, in the builder's order.

    Raises:
        StoreError: the store is full or out of reach; the part does not exist then.
        StoppedError: a later start of the job has committed this run already.
    """
    _raise_if_committed(store, spec)
    try:
        return _write_part(store, spec, tables, index)
    except StoreError:
        # A worker that was silent for long may find its run committed, and its staged files cleaned away under it.
        _raise_if_committed(store, spec)
        raise


def _raise_if_committed(store: Store, spec: OutputSpec) -> None:
    if store.exists(commit_path(spec.run_id)):
        raise StoppedError(
            f"run {spec.run_id} was taken over by a later start of the job and is committed; this worker's "
            "further rows are left to that one"
        )


def _write_part(store: Store, spec: OutputSpec, tables: Any, index: InputIndex) -> PartManifest:
    part_id = new_part_id()
    files = {}
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
        table = _with_footer(table, spec)
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
    manifest = PartManifest(part_id, files, len(index) - errors, errors, process_metrics().take_delta())
    store.write(part_path(spec.run_id, part_id), manifest.to_json())
    return manifest


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
