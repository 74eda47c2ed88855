"""Makes predictions and failures durable within two seconds, and parts of them later; `WriteTables` without Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import StoreError
from ...metrics import process_metrics
from ...records import Failure, Prediction
from ...rows.table_builder import TableBuilder
from ...runs.parts import OutputSpec, PartManifest, segment_path
from ...storage.store import Store
from .open_rows import OpenRows
from .part import options_of, raise_if_committed, write_part
from .segment import Piece, write_segment

__all__ = ["PartWriter"]

logger = logging.getLogger(__name__)

#: Rows are cut to become durable so many seconds after the first of them came: half a second is left for the store.
SEAL_S = 1.5
#: A store that is so many seconds late with a segment holds up the calls.
LATE_S = 10.0
_MEMORY = 256_000_000  #: most Arrow bytes of one part
_INPUTS = 50_000  #: and most inputs, whose ids are held until it is written
_FIRST_RATIO = 0.5  #: assumed file bytes a byte in memory, until a part is written


class _Cut(NamedTuple):
    """Rows on their way to become durable, when the first of them came, and whether they end their part."""

    rows: OpenRows
    since: float
    ends: bool


class PartWriter:
    """Collects rows; keeps them in segments within two seconds, and in parts when they fill a file or are old enough.

    Two threads, so that callers go on adding rows and no segment waits for a part: one makes segments, one makes parts,
    and removes the segments that a part holds. Both watch the clock, so this happens although no further row comes.

    Args:
        spec: of the output.
        store: the output's store; by default opened from the spec.
        builder: makes a `TableBuilder`.
    """

    def __init__(
        self,
        spec: OutputSpec,
        store: Store | None = None,
        builder: Callable[[], Any] | None = None,
    ) -> None:
        self._spec = spec
        self._store = store or spec.store()
        self._new_builder = builder or (lambda: TableBuilder(options_of(spec)))
        self._changed = threading.Condition()
        self._open = OpenRows(self._new_builder())
        self._since: float | None = None  # when the first open row came
        self._part_since: float | None = None  # when the first row of the open part came
        self._seen: set[str] = set()  # inputs of the open part
        self._part_bytes = 0  # of its rows that are cut
        self._ratio = _FIRST_RATIO
        self._cuts: deque[_Cut] = deque()
        self._sealing: _Cut | None = None
        self._pieces: list[Piece] = []  # of the open part, sealed
        self._parts: deque[list[Piece]] = deque()
        self._writing = False
        self._fault: BaseException | None = None
        self._closed = False
        self._done: list[PartManifest] = []
        self._threads: list[threading.Thread] = []

    def add(self, *rows: Prediction | Failure) -> None:
        """Add the outcomes of inputs; one whose answer cannot be turned into rows becomes an error row.

        Waits while the store is `LATE_S` behind.

        Raises:
            StoreError: earlier rows could not be written.
        """
        with self._changed:
            self._raise_fault()
            if self._cuts or self._sealing is not None:
                self._wait_while(self._is_late)
            added = 0
            while added < len(rows):
                room = self._open.room
                self._open.hold(rows[added : added + room])
                added += room
                if self._since is None:
                    self._start_clock()
                if not self._open.room:
                    self._build_all()
                    if self._free <= 0:
                        self._end_full()

    def flush(self) -> None:
        """Make parts of all added rows, and return when they are durable.

        Raises:
            StoreError: they could not be written.
        """
        with self._changed:
            self._raise_fault()
            self._build_all()
            if self._part_since is not None:
                self._cut(ends=True)
            while self._cuts or self._sealing is not None or self._parts or self._writing:
                self._raise_fault()
                self._changed.wait()
            self._raise_fault()

    def take(self) -> list[PartManifest]:
        """Return the parts that were finished since the last call."""
        with self._changed:
            done, self._done = self._done, []
            return done

    def close(self) -> None:
        """Write the held rows and end the threads; a fault is only logged, as the caller is ending."""
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001  (rows that are not durable are done again by the next start)
            logger.warning(
                "rows not written: inputs=%d cause=%s",
                len(self._open.entries.ids) + self._open.held,
                type(error).__name__,
            )
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # The following are called with the lock held.

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _start_clock(self) -> None:
        self._since = time.monotonic()
        if self._part_since is None:
            self._part_since = self._since
        if not self._threads:
            for name, work in (("segment-writer", self._seal_all), ("part-writer", self._write_all)):
                self._threads.append(threading.Thread(target=work, name=name, daemon=True))
                self._threads[-1].start()
        self._changed.notify_all()

    @property
    def _free(self) -> int:
        """Bytes of rows until the part is full."""
        if len(self._seen) >= _INPUTS:
            return 0
        return int(min(_MEMORY, self._spec.file_bytes / self._ratio)) - self._open.nbytes - self._part_bytes

    def _build_all(self) -> None:
        """Turn all held outcomes into rows.

        A second outcome of an input starts a new part: a commit leaves out one of the two by part.
        """
        while self._open.build(self._seen, self._free):
            self._end_full()

    def _end_full(self) -> None:
        """End the open part, once the one before it is written, for the memory that they take."""
        self._wait_while(lambda: self._part_waits)
        self._cut(ends=True)

    @property
    def _part_waits(self) -> bool:
        """A part that has ended is on its way to become durable."""
        ended = any(cut.ends for cut in self._cuts) or (self._sealing is not None and self._sealing.ends)
        return ended or bool(self._parts) or self._writing

    def _cut(self, *, ends: bool) -> None:
        """Give the open rows away to become durable; with the part that they are in, when they end it."""
        while self._open.build(self._seen, self._free):
            self._cut_built(ends=True)
        self._cut_built(ends=ends)
        self._changed.notify_all()

    def _cut_built(self, *, ends: bool) -> None:
        now = time.monotonic()
        rows, self._open = self._open, OpenRows(self._new_builder())
        rows.give(self._open)
        self._cuts.append(_Cut(rows, now if self._since is None else self._since, ends))
        self._since = now if self._open.held else None
        self._part_bytes += rows.nbytes
        if ends:
            self._seen, self._part_bytes, self._part_since = set(), 0, self._since

    def _is_late(self) -> bool:
        oldest = self._sealing or (self._cuts[0] if self._cuts else None)
        return oldest is not None and time.monotonic() - oldest.since > LATE_S

    def _wait_while(self, behind: Callable[[], bool]) -> None:
        """Wait for the store, which a person sees in the progress line."""
        if not behind():
            return
        process_metrics().add(waiting_for_store=1)
        try:
            while self._fault is None and behind():
                self._changed.wait(LATE_S)
        finally:
            process_metrics().add(waiting_for_store=-1)
        self._raise_fault()

    # Each of the following loops is a thread of its own.

    def _seal_all(self) -> None:
        while True:
            with self._changed:
                try:
                    self._sealing = self._next_cut()
                except BaseException as error:  # noqa: BLE001  (raised again in the thread that adds rows)
                    self._fault = error
                cut = self._sealing
                if cut is None:
                    self._changed.notify_all()
                    return
            with self._keeping_fault():
                self._seal(cut)
            with self._changed:
                self._sealing = None
                self._changed.notify_all()

    def _seal(self, cut: _Cut) -> None:
        piece = self._piece_of(cut)
        with self._changed:
            if piece is not None:
                self._pieces.append(piece)
            if cut.ends and self._pieces:
                self._parts.append(self._pieces)
                self._pieces = []

    def _next_cut(self) -> _Cut | None:
        """The next rows that become durable, once there are some; None at the end."""
        while True:
            if self._fault is not None or (self._closed and not self._cuts):
                return None
            if self._cuts:
                return self._cuts.popleft()
            now = time.monotonic()
            rows_due = math.inf if self._since is None else self._since + SEAL_S
            part_due = math.inf if self._part_since is None else self._part_since + self._spec.part_seconds
            due = min(rows_due, part_due)
            if due > now:
                self._changed.wait(None if due == math.inf else due - now)
            else:
                self._cut(ends=part_due <= now)

    def _piece_of(self, cut: _Cut) -> Piece | None:
        """Make rows durable as a segment, unless the part that they end is the first durable thing of theirs."""
        if not cut.rows.entries.ids:
            return None
        tables = cut.rows.finish()
        piece = Piece(tables, cut.rows.entries.to_index(), process_metrics().take_delta())
        if cut.ends and not self._pieces:
            return piece
        raise_if_committed(self._store, self._spec)
        return dataclasses.replace(piece, segment=write_segment(self._store, self._spec.run_id, piece))

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not (self._parts or self._fault is not None or self._is_over):
                    self._changed.wait()
                if self._fault is not None or not self._parts:
                    return
                self._writing = True
            with self._keeping_fault():
                self._write(self._parts.popleft())
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    @property
    def _is_over(self) -> bool:
        """No rows will come."""
        return self._closed and not self._cuts and self._sealing is None

    def _write(self, pieces: list[Piece]) -> None:
        manifest = write_part(self._store, self._spec, pieces)
        nbytes = sum(table.nbytes for piece in pieces for table in piece.tables[:3])
        largest = max(file.size for file in manifest.files.values())
        self._ratio = min(2.0, max(0.02, largest / max(1, nbytes)))
        logger.info(
            "part: id=%s predictions=%d errors=%d", manifest.part_id, manifest.predictions, manifest.errors
        )
        with self._changed:
            self._done.append(manifest)
            self._changed.notify_all()
        self._remove(manifest.segments)

    @contextlib.contextmanager
    def _keeping_fault(self) -> Any:
        """Keep what is raised for the thread that adds rows."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001
            with self._changed:
                self._fault = error
                self._changed.notify_all()

    def _remove(self, segments: tuple[str, ...]) -> None:
        """Remove the segments that a part holds; one that stays does no harm, as the part names it."""
        with contextlib.suppress(StoreError):
            for segment in segments:
                self._store.remove(segment_path(self._spec.run_id, segment))
