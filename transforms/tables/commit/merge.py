"""Merges staged files into table files of the configured size, ready to be moved to their visible paths."""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import BulkinferError
from ...runs.parts import PartFile, PartManifest, final_name
from ...storage.store import Store
from ..files import BATCH_ROWS, RollingWriter, read_batches
from ..input_index import IdLookup, hash_column
from .columns import KeptColumns

__all__ = ["BrokenPartError", "NewFile", "merge_table"]

_OPEN_FILES = 128


class BrokenPartError(Exception):
    """A staged file is missing, truncated or unreadable; its whole part is left out, and its inputs done again."""

    def __init__(self, part_id: str, reason: str) -> None:
        super().__init__(part_id, reason)
        self.part_id, self.reason = part_id, reason


class NewFile(NamedTuple):
    """A prepared file: the path where it is, the path where it becomes visible, its rows and bytes."""

    source: str
    target: str
    rows: int
    size: int


class _Piece(NamedTuple):
    """The rows of one part that belong to one partition."""

    part: PartManifest
    file: PartFile
    batch: int  #: index of its first record batch, in an IPC file
    rows: int

    @property
    def whole(self) -> bool:
        return len(self.file.ranges) == 1

    @property
    def nbytes(self) -> float:
        return self.file.size * self.rows / max(1, self.file.rows)


def merge_table(
    store: Store,
    table: str,
    parts: list[PartManifest],
    dropped: Mapping[str, IdLookup],
    *,
    run_id: str,
    ready: str,
    file_bytes: int,
    columns: KeptColumns | None = None,
) -> list[NewFile]:
    """Prepare the new files of one table.

    A staged file of about the right size, all in one partition, stays as it is; others are merged partition
    by partition, with one writer open at a time.

    Args:
        dropped: by part id, the inputs whose rows are left out because another part holds them as well.
        ready: directory for prepared files, which no reader looks at.
        columns: the kept columns that the new files must have, where those of the parts may be others.

    Raises:
        TooNarrowError: a kept value does not fit its column.
        BrokenPartError: a staged file cannot be read.
    """
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    for part in parts:
        file = part.files.get(table)
        if file is None or not file.rows:
            continue
        batch = 0
        for partition, rows in file.ranges:
            pieces[partition].append(_Piece(part, file, batch, rows))
            batch += -(-rows // BATCH_ROWS)
    numbers = itertools.count()
    files: list[NewFile] = []
    with _Readers(store) as readers:
        for partition in sorted(pieces):
            directory = f"{table}/{partition}" if partition else table
            moved, merged = _choose(pieces[partition], dropped, file_bytes)
            if columns is not None and columns.differs:
                moved, merged = [], pieces[partition]
            for piece in moved:
                _check_footer(store, piece)
                target = f"{directory}/{final_name(run_id, next(numbers))}"
                files.append(NewFile(piece.file.path, target, piece.rows, piece.file.size))
            targets: list[str] = []

            def name(targets: list[str] = targets, directory: str = directory) -> str:
                number = next(numbers)
                targets.append(f"{directory}/{final_name(run_id, number)}")
                return f"{ready}/{table}-{number:05d}.parquet"

            written = _merge(readers, merged, dropped, columns, name=name, file_bytes=file_bytes)
            files += [NewFile(path, targets[index], *size) for index, (path, *size) in enumerate(written)]
    return files


def _choose(
    pieces: list[_Piece], dropped: Mapping[str, IdLookup], file_bytes: int
) -> tuple[list[_Piece], list[_Piece]]:
    """Separate the pieces that become visible as they are from those that are merged."""

    def fits(piece: _Piece, low: float) -> bool:
        untouched = piece.whole and piece.part.part_id not in dropped
        return untouched and low * file_bytes <= piece.file.size <= 1.25 * file_bytes

    moved = [piece for piece in pieces if fits(piece, 0.75)]
    merged = [piece for piece in pieces if not fits(piece, 0.75)]
    if len(merged) == 1 and fits(merged[0], 0.0):
        return moved + merged, []
    return moved, merged


def _merge(
    readers: _Readers,
    pieces: list[_Piece],
    dropped: Mapping[str, IdLookup],
    columns: KeptColumns | None,
    *,
    name: Callable[[], str],
    file_bytes: int,
) -> list[tuple[str, int, int]]:
    writer: RollingWriter | None = None
    total = sum(piece.nbytes for piece in pieces)
    try:
        for rows, nbytes in _kept(readers, pieces, dropped):
            batch = rows if columns is None else columns.align(rows)
            if writer is None:
                writer = RollingWriter(
                    readers.store, name, batch.schema, total_bytes=total, file_bytes=file_bytes
                )
            writer.add(batch, nbytes)
        if writer is None:
            return []
        writer.close()
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    return writer.files


def _kept(
    readers: _Readers, pieces: list[_Piece], dropped: Mapping[str, IdLookup]
) -> Iterator[tuple[Any, float]]:
    """Yield the visible rows of all pieces in batches, each with the bytes that it takes in its staged file."""
    for piece in pieces:
        lookup = dropped.get(piece.part.part_id)
        rows = 0
        for batch in readers.read(piece):
            rows += batch.num_rows
            kept = batch
            if lookup is not None:
                kept = batch.filter(pa.array(lookup.find(hash_column(batch.column("input_id"))) < 0))
            if kept.num_rows:
                yield kept, piece.nbytes * batch.num_rows / piece.rows
        if rows != piece.rows:
            raise BrokenPartError(
                piece.part.part_id, f"{piece.file.path} holds {rows} rows, not {piece.rows}"
            )


def _check_footer(store: Store, piece: _Piece) -> None:
    with _broken(piece), store.open(piece.file.path) as file:
        rows = pq.read_metadata(pa.PythonFile(file, mode="r")).num_rows
    if rows != piece.file.rows:
        raise BrokenPartError(
            piece.part.part_id, f"{piece.file.path} holds {rows} rows, not {piece.file.rows}"
        )


@contextlib.contextmanager
def _broken(piece: _Piece) -> Iterator[None]:
    """Turn errors of a broken file into BrokenPartError; errors with an error number come from the store and pass."""
    try:
        yield
    except (BulkinferError, BrokenPartError):
        raise
    except FileNotFoundError as error:
        raise BrokenPartError(piece.part.part_id, f"{piece.file.path} is missing") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        reason = f"{piece.file.path} is unreadable: {' '.join(str(error).split())[:200]}"
        raise BrokenPartError(piece.part.part_id, reason) from error


class _Readers:
    """Reads pieces; keeps the latest IPC files open, because each is read again for every partition."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._open: OrderedDict[str, tuple[IO[bytes], Any]] = OrderedDict()

    def __enter__(self) -> _Readers:
        return self

    def __exit__(self, *_: object) -> None:
        for file, _reader in self._open.values():
            file.close()
        self._open.clear()

    def read(self, piece: _Piece) -> Iterator[Any]:
        batches = read_batches(self.store, piece.file.path) if piece.whole else self._batches(piece)
        while True:
            with _broken(piece):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _batches(self, piece: _Piece) -> Iterator[Any]:
        path = piece.file.path
        if path in self._open:
            self._open.move_to_end(path)
        else:
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
            file = self.store.open(path)
            try:
                self._open[path] = (file, pa.ipc.open_file(pa.PythonFile(file, mode="r")))
            except BaseException:
                file.close()
                raise
        reader = self._open[path][1]
        for number in range(piece.batch, piece.batch + -(-piece.rows // BATCH_ROWS)):
            yield pa.Table.from_batches([reader.get_batch(number)])
