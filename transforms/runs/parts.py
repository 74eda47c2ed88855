"""What a staged part is: its files, its manifest, and the names and paths of both. See docs/design/tables.md.

A part is a set of inputs whose rows become visible together: first its files, last its manifest. A part without a
manifest does not exist. Until they are in a part, rows are kept in segments.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import StoreError
from ..storage.store import Store

__all__ = [
    "RUNS",
    "SEGMENT",
    "TABLES",
    "OutputSpec",
    "PartFile",
    "PartManifest",
    "commit_path",
    "final_name",
    "index_directory",
    "new_part_id",
    "part_path",
    "partition_bytes",
    "read_manifest",
    "run_directory",
    "run_id_of",
    "segment_path",
    "staging_path",
]

RUNS = "_runs"
TABLES = ("predictions", "masks", "errors")
SEGMENT = ".segment"
FORMAT = 1  #: of part manifests, run records and commit plans; a higher number is a newer tool's

_FINAL = re.compile(r"part-(?P<run>.+)-(?P<number>\d{5,}|empty)\.parquet")


@dataclasses.dataclass(frozen=True)
class OutputSpec:
    """Where and how a run writes its tables; plain data that pickles.

    Attributes:
        uri: directory of the tables.
        storage: fsspec options of its store.
        masks: how masks are stored: rle | png | both | none.
        raw: keep each answer's message.
        pieces: keep a row for each piece of a streamed text.
        partition_by: Hive partitions of predictions and masks: kept columns, `date` or `model`.
        file_bytes: size that table files aim for.
        part_seconds: finished rows are in a part at the latest after this time; durable they are much earlier.
        keep_schema: Arrow schema of the kept columns, or None.
        run_id: of this run.
        model_url: the model that is called.
        model_version: its version; "" when the server names none.
        fingerprint: what decides, with an input's id and version, whether it is done.
        method: of the model, that is called.
        arguments: digest of what else the model is asked: its arguments, and how streams are cut.
        beside: rows of the same inputs that jobs with another fingerprint wrote stay.
        reader: makes what writes answers to rows: `calls.endpoint.Endpoint.reader`.
        as_written: inputs are named as the job spells them, as outputs of old do it.
        relative_to: the folder that the inputs' ids are relative to; "" where they mean the same from everywhere.
        lists_all: this run goes through the whole source, so errors of listing that it does not find again
            are gone.
    """

    uri: str
    run_id: str
    storage: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    masks: str = "rle"
    raw: bool = False
    pieces: bool = False
    partition_by: tuple[str, ...] = ()
    file_bytes: int = 128_000_000
    part_seconds: float = 60.0
    keep_schema: Any = None
    model_url: str = ""
    model_version: str = ""
    fingerprint: str = ""
    method: str = ""
    arguments: str = ""
    beside: bool = False
    reader: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)
    as_written: bool = False
    relative_to: str = ""
    lists_all: bool = False

    def store(self) -> Store:
        """The store of the output directory."""
        return Store(self.uri, self.storage)

    def layout(self) -> dict[str, Any]:
        """What all runs at one output must share, for their files to be one table each."""
        return {
            "schema_version": 3,
            "partition_by": list(self.partition_by),
            "keep": [[field.name, str(field.type)] for field in self.keep_schema or ()],
            "ids": "written" if self.as_written else "canonical",
            "relative_to": self.relative_to,
        }


@dataclasses.dataclass(frozen=True)
class PartFile:
    """One staged file.

    Attributes:
        path: relative to the output directory.
        size: bytes, as written.
        rows: rows in it.
        ranges: (partition, rows) one after another; a table without partitions has one, named "".
    """

    path: str
    size: int
    rows: int
    ranges: tuple[tuple[str, int], ...]


@dataclasses.dataclass(frozen=True)
class PartManifest:
    """What a part holds; written after all of its files.

    Attributes:
        part_id: sorts by time of writing inside one process.
        files: by table name, and the index under "index"; tables without rows have none.
        predictions: inputs that succeeded.
        errors: inputs that did not.
        metrics: growth of the process's counters since its last part.
        segments: ids of the segments whose rows it holds; they are needed no more.
    """

    part_id: str
    files: Mapping[str, PartFile]
    predictions: int
    errors: int
    metrics: Mapping[str, int]
    segments: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """As the bytes of the manifest file."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, sort_keys=True).encode()


def read_manifest(data: bytes, place: str) -> PartManifest:
    """Parse a part manifest.

    Raises:
        StoreError: it is broken, or of a newer version of this tool.
    """
    try:
        values = json.loads(data)
        if values["format"] > FORMAT:
            raise StoreError(
                f"{place} was written by a newer version of bulkinfer (format {values['format']}, this one "
                f"reads {FORMAT}); upgrade bulkinfer, then start the same command again"
            )
        files = {
            table: PartFile(
                file["path"],
                int(file["size"]),
                int(file["rows"]),
                tuple((name, int(rows)) for name, rows in file["ranges"]),
            )
            for table, file in values["files"].items()
        }
        return PartManifest(
            str(values["part_id"]),
            files,
            int(values["predictions"]),
            int(values["errors"]),
            dict(values["metrics"]),
            tuple(map(str, values.get("segments", ()))),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{place} is no part manifest ({type(error).__name__}: {error}); move it away, and its inputs "
            "are done again"
        ) from error


def run_directory(run_id: str) -> str:
    """Where a run keeps its record and its staged parts."""
    return f"{RUNS}/{run_id}"


def staging_path(run_id: str, part_id: str, table: str, suffix: str) -> str:
    """Where a part's file is staged."""
    return f"{RUNS}/{run_id}/staging/{part_id}-{table}.{suffix}"


def segment_path(run_id: str, segment_id: str) -> str:
    """Where a segment is written."""
    return f"{RUNS}/{run_id}/staging/{segment_id}{SEGMENT}"


def part_path(run_id: str, part_id: str) -> str:
    """Where a part's manifest is written."""
    return f"{RUNS}/{run_id}/parts/{part_id}.json"


def commit_path(run_id: str) -> str:
    """Where a run's commit plan is written: from then on its commit only goes forward."""
    return f"{RUNS}/{run_id}/commit.json"


def index_directory(run_id: str) -> str:
    """Where a committed run lists its inputs."""
    return f"{RUNS}/{run_id}/index"


def final_name(run_id: str, number: int | None) -> str:
    """The name of a visible file; None for one without rows, which stands in until there are some."""
    return f"part-{run_id}-{'empty' if number is None else f'{number:05d}'}.parquet"


def partition_bytes(store: Store, run_id: str) -> int:
    """Bytes that the path of a partition may have, so that its files have a name that the store takes."""
    return store.path_bytes - len(f"predictions//{final_name(run_id, 10**9)}")


def run_id_of(path: str) -> str | None:
    """The run that wrote a visible file, by its name; None for a file that no run wrote."""
    match = _FINAL.fullmatch(path.rpartition("/")[2])
    return match["run"] if match else None


def new_part_id() -> str:
    """An id of a part or a segment: unlike any other, and later ones of a process sort after earlier ones."""
    who = hashlib.blake2b(f"{socket.gethostname()}/{os.getpid()}".encode(), digest_size=3).hexdigest()
    return f"{time.time_ns():020d}-{who}{os.urandom(3).hex()}"
