"""What of a run is durable before its commit: parts, their files and inputs, and segments that no part holds yet."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq

from ...runs.parts import PartFile, PartManifest, read_manifest, run_directory
from ...storage.store import Store
from ..input_index import InputIndex
from .adopt import loose_segments
from .merge import BrokenPartError

__all__ = ["JOB", "durable_inputs", "durable_parts", "read_index"]

_READ_ROWS = 65_536
JOB = b"bulkinfer.job_fingerprint"  #: in the footer of an index whose inputs several jobs did


def durable_parts(
    store: Store, run_id: str, invalid: dict[str, str]
) -> tuple[list[PartManifest], list[InputIndex]]:
    """List the parts of a run whose manifest and files exist, with their inputs; the others go into `invalid`."""
    directory = run_directory(run_id)
    sizes = {entry.path: entry.size for entry in store.files(f"{directory}/staging")}
    parts, indexes = [], []
    for entry in store.files(f"{directory}/parts"):
        part_id = entry.name.removesuffix(".json")
        try:
            part = read_manifest(store.read(entry.path), store.url(entry.path))
            for file in part.files.values():
                _check_size(part, file, sizes.get(file.path))
            indexes.append(read_index(store, part.files["index"].path))
            parts.append(part)
        except BrokenPartError as broken:
            invalid[part_id] = broken.reason
        except FileNotFoundError as error:  # removed since it was listed
            invalid[part_id] = f"{error.filename or error} is gone"
        except (pa.ArrowException, KeyError) as error:
            invalid[part_id] = f"its index is unreadable: {error}"
    return parts, indexes


def durable_inputs(store: Store, run_id: str) -> list[InputIndex]:
    """List the inputs of a run that its commit will make visible."""
    loose = [piece.index for piece in loose_segments(store, run_id, {})]
    return durable_parts(store, run_id, {})[1] + loose


def _check_size(part: PartManifest, file: PartFile, found: int | None) -> None:
    if found != file.size:
        what = "is missing" if found is None else f"holds {found} bytes, not {file.size}"
        raise BrokenPartError(part.part_id, f"{file.path} {what}")


def read_index(store: Store, path: str) -> InputIndex:
    """Read the inputs that an index file lists."""
    with store.open(path) as file:
        reader = pq.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=not store.is_local)
        # In batches: a million inputs take 25 MB as an index, and four times that as one Arrow table.
        pieces = [
            InputIndex.from_table(pa.Table.from_batches([batch])) for batch in reader.iter_batches(_READ_ROWS)
        ]
        job = (reader.schema_arrow.metadata or {}).get(JOB, b"").decode()
    return dataclasses.replace(pieces[0] if len(pieces) == 1 else InputIndex.concat(pieces), job=job)
