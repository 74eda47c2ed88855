"""Brings the rows of `masks` to their rows of `predictions`, in order and without holding them all.

As a job writes them both tables have one order, so that they are read side by side. Where they have not, as after rows
were replaced, the masks are first dealt into files of some thousands that lie beside each other in `predictions`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Shapes"]

_MASKS = 32_768  #: of a file
_FILES = 128  #: at most, which are open at the same time


class Shapes(contextlib.AbstractContextManager["Shapes"]):
    """The rows of `masks` of one row of `predictions` after the other.

    Args:
        keys: gives record batches of `masks` with the columns of their keys alone.
        rows: gives the same ones with all columns.
        positions: the row of `predictions` that each row of a batch belongs to, or -1.
        scratch: a folder for such files; None for the system's own.
    """

    def __init__(
        self,
        keys: Callable[[], Iterator[Any]],
        rows: Callable[[], Iterator[Any]],
        positions: Callable[[Any], NDArray[np.int64]],
        scratch: Path | None = None,
    ) -> None:
        self._scratch = scratch
        self._keys, self._batches, self._positions = keys, rows, positions
        self._stack = contextlib.ExitStack()
        self._rows = self._read()
        self._next = next(self._rows, None)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, position: int) -> list[dict[str, Any]]:
        """The rows of `masks` of a row of `predictions`, which are asked for in their order."""
        found = []
        while self._next is not None and self._next[0] <= position:
            found.append(self._next[1])
            self._next = next(self._rows, None)
        return found

    def _read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        at = np.concatenate([np.empty(0, np.int64), *(self._positions(batch) for batch in self._keys())])
        at = at[at >= 0]
        if (np.diff(at) >= 0).all():
            for batch, positions in self._placed():
                yield from zip(positions.tolist(), batch.to_pylist(), strict=True)
        elif len(at):
            yield from self._dealt(np.bincount(at))

    def _placed(self) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        for batch in self._batches():
            positions = self._positions(batch)
            known = positions >= 0
            yield batch.filter(pa.array(known)), positions[known]

    def _dealt(self, counts: NDArray[np.int64]) -> Iterator[tuple[int, dict[str, Any]]]:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=self._scratch)))
        share = max(_MASKS, -(-int(counts.sum()) // _FILES))
        file_of = (np.cumsum(counts) - counts) // share
        names = [folder / f"{number}.arrow" for number in range(int(file_of[-1]) + 1)]
        with contextlib.ExitStack() as open_:
            writers: dict[int, Any] = {}
            for batch, positions in self._placed():
                placed = batch.append_column("_at", pa.array(positions))
                files = file_of[positions]
                for number in np.unique(files).tolist():
                    rows = placed.filter(pa.array(files == number))
                    if number not in writers:
                        sink = open_.enter_context(pa.OSFile(str(names[number]), "wb"))
                        writers[number] = open_.enter_context(pa.ipc.new_stream(sink, rows.schema))
                    writers[number].write_batch(rows)
        for name in names:
            if name.exists():
                with pa.memory_map(str(name)) as source:
                    table = pa.ipc.open_stream(source).read_all()
                order = np.argsort(table.column("_at").to_numpy(), kind="stable")
                for row in table.take(pa.array(order)).to_pylist():
                    yield row["_at"], row
                name.unlink()
