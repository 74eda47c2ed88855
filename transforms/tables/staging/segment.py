"""A segment: the rows that came home within a second or two, durable in one small file until a part holds them.

It is an Arrow IPC file of one row, whose columns hold the tables, each a serialized IPC stream: so one request writes
it, and a file that is cut short is told from a whole one. What a kill leaves of them becomes parts at the next commit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ...rows.table_builder import Tables
from ...runs.parts import FORMAT, SEGMENT, new_part_id, segment_path
from ...storage.store import Store
from ..input_index import InputIndex

__all__ = ["Piece", "SegmentError", "joined", "read_segment", "write_segment"]

_TABLES = ("predictions", "masks", "errors")
_INPUTS = ("prediction_inputs", "mask_inputs", "error_inputs")
_INNER = pa.ipc.IpcWriteOptions(compression="lz4")


class SegmentError(Exception):
    """A segment cannot be read; its inputs are done again."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some inputs, all that is known of how they ended, and their rows.

    Attributes:
        tables: the rows.
        index: the inputs, in the order in which the tables number them.
        metrics: growth of the process's counters since the piece before.
        segment: the segment that holds them; "" when none does.
    """

    tables: Tables
    index: InputIndex
    metrics: Mapping[str, int]
    segment: str = ""


def write_segment(store: Store, run_id: str, piece: Piece) -> str:
    """Make the rows of some inputs durable in one file; returns its id.

    Raises:
        StoreError: the store is full or out of reach; nothing is left then.
    """
    segment_id = new_part_id()
    values: dict[str, bytes] = {
        **{name: _stream(getattr(piece.tables, name)) for name in _TABLES},
        **{name: getattr(piece.tables, name).astype("<i8").tobytes() for name in _INPUTS},
        "index": _stream(piece.index.to_table()),
        "metrics": json.dumps({"format": FORMAT, **piece.metrics}).encode(),
    }
    row = pa.RecordBatch.from_pydict(
        {name: pa.array([value], pa.large_binary()) for name, value in values.items()}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, row.schema) as writer:
        writer.write_batch(row)
    store.write(segment_path(run_id, segment_id), sink.getvalue().to_pybytes())
    return segment_id


def read_segment(store: Store, path: str) -> Piece:
    """Read a segment.

    Raises:
        FileNotFoundError: it is gone, because a part holds its rows by now.
        SegmentError: it is damaged.
        StoreError: the store is out of reach.
    """
    data = store.read(path)
    try:
        row = pa.ipc.open_file(pa.BufferReader(data)).get_batch(0)
        values = {
            name: column[0].as_buffer() for name, column in zip(row.schema.names, row.columns, strict=True)
        }
        metrics = json.loads(values["metrics"].to_pybytes())
        if metrics.pop("format") > FORMAT:
            raise SegmentError("a newer version of bulkinfer wrote it")
        return Piece(
            Tables(
                *(_table(values[name]) for name in _TABLES),
                *(np.frombuffer(values[name], "<i8").astype(np.int64) for name in _INPUTS),
            ),
            InputIndex.from_table(_table(values["index"])),
            metrics,
            path.rpartition("/")[2].removesuffix(SEGMENT),
        )
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, IndexError) as error:
        raise SegmentError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _stream(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_INNER) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table(data: Any) -> Any:
    return pa.ipc.open_stream(data).read_all()


def joined(pieces: Sequence[Piece]) -> Piece:
    """All rows of some pieces as one, inputs numbered anew."""
    if len(pieces) == 1:
        return pieces[0]
    firsts = np.cumsum([0, *(len(piece.index) for piece in pieces[:-1])])
    tables = [pa.concat_tables([getattr(piece.tables, name) for piece in pieces]) for name in _TABLES]
    inputs = [
        np.concatenate(
            [getattr(piece.tables, name) + first for piece, first in zip(pieces, firsts, strict=True)]
        )
        for name in _INPUTS
    ]
    metrics: dict[str, int] = {}
    for piece in pieces:
        for name, growth in piece.metrics.items():
            metrics[name] = metrics.get(name, 0) + growth
    return Piece(Tables(*tables, *inputs), InputIndex.concat([piece.index for piece in pieces]), metrics)
