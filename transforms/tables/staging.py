"""Stages predictions and failures as durable parts soon after they arrive; `WriteTables` without Beam."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ..records import Failure, Prediction, failure_of
from ..rows.table_builder import TableBuilder
from ..runs.parts import OutputSpec, PartManifest
from ..storage.store import Store
from .part import Entries, options_of, references_of, write_part

__all__ = ["PartWriter"]

logger = logging.getLogger(__name__)

_MEMORY = 256_000_000  #: most Arrow bytes of one part
_FIRST_RATIO = 0.5  #: assumed file bytes a byte in memory, until a part is written
_TOGETHER = 32  #: most answers that are turned into rows at once
_TOGETHER_BYTES = 4 << 20  #: and most bytes of their rows


class PartWriter:
    """Collects rows and writes them as parts, when they fill a file or the first has waited `part_seconds`.

    A background thread encodes and writes, so that callers can go on adding rows; it also watches the clock, so that
    rows become durable even if none follow. At most one part is written while the next is collected.

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
        self._builder = self._new_builder()
        self._held: list[Prediction | Failure] = []  # not turned into rows yet
        self._together = 1
        self._entries = Entries([], [], [])
        self._seen: set[str] = set()
        self._since: float | None = None
        self._ratio = _FIRST_RATIO
        self._pending: tuple[Any, Entries] | None = None
        self._writing = False
        self._fault: BaseException | None = None
        self._closed = False
        self._done: list[PartManifest] = []
        self._thread: threading.Thread | None = None

    def add(self, row: Prediction | Failure) -> None:
        """Add one input's outcome; one whose answer cannot be turned into rows becomes an error row.

        Raises:
            StoreError: an earlier part could not be written.
        """
        with self._changed:
            self._raise_fault()
            self._held.append(row)
            if self._since is None:
                self._since = time.monotonic()
                self._start_thread()
                self._changed.notify_all()
            if len(self._held) >= self._together:
                self._build_all()
                if self._free <= 0:
                    self._roll()

    @property
    def _free(self) -> int:
        """Bytes of rows until the part is full."""
        return int(min(_MEMORY, self._spec.file_bytes / self._ratio)) - int(self._builder.nbytes)

    def _build_all(self) -> None:
        """Turn all held outcomes into rows.

        A second outcome of an input starts a new part: a commit leaves out one of the two by part.
        """
        while self._build_held():
            self._roll()

    def _build_held(self) -> bool:
        """Turn held outcomes into rows up to an input that the part holds already; True when there is one."""
        if not self._held:
            return False
        nbytes, count = self._builder.nbytes, 0
        together: list[Prediction] = []
        for row in self._held:
            ids = [reference.input_id for reference in references_of(row)]
            if not self._seen.isdisjoint(ids):
                break
            self._seen.update(ids)
            count += 1
            if isinstance(row, Prediction):
                together.append(row)
            else:
                self._build_predictions(together)
                together = []
                self._build_failure(row)
        self._build_predictions(together)
        self._held = self._held[count:]
        if count:
            each = max(1, (self._builder.nbytes - nbytes) // count)
            self._together = max(1, min(_TOGETHER, min(_TOGETHER_BYTES, self._free) // each))
        return bool(self._held)

    def _build_predictions(self, predictions: list[Prediction]) -> None:
        if not predictions:
            return
        odd = []
        for prediction, error in zip(predictions, self._builder.add(predictions), strict=True):
            if error is None:
                self._entries.add(prediction, None)
            else:
                odd.append(failure_of(prediction.reference, error))
        for failure in odd:
            self._build_failure(failure)

    def _build_failure(self, failure: Failure) -> None:
        self._builder.add_failure(failure)
        self._entries.add(failure, failure.error_type)

    def flush(self) -> None:
        """Write all added rows, and return when they are durable.

        Raises:
            StoreError: they could not be written.
        """
        with self._changed:
            self._raise_fault()
            self._build_all()
            if self._entries.ids:
                self._roll()
            while self._pending or self._writing:
                self._changed.wait()
            self._raise_fault()

    def take(self) -> list[PartManifest]:
        """Return the parts that became durable since the last call."""
        with self._changed:
            done, self._done = self._done, []
            return done

    def close(self) -> None:
        """Write the held rows and end the thread; a fault is only logged, as the caller is ending."""
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001  (rows that are not durable are done again by the next start)
            logger.warning(
                "rows not written: inputs=%d cause=%s",
                len(self._entries.ids) + len(self._held),
                type(error).__name__,
            )
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _roll(self) -> None:
        self._start_thread()
        while (self._pending or self._writing) and self._fault is None:
            self._changed.wait()
        self._raise_fault()
        self._cut()
        self._changed.notify_all()

    def _cut(self) -> None:
        self._build_held()
        if not self._entries.ids:  # the thread has taken them already
            return
        self._pending = (self._builder, self._entries)
        self._builder = self._new_builder()
        self._entries = Entries([], [], [])
        self._seen = set()
        self._since = time.monotonic() if self._held else None

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_parts, name="part-writer", daemon=True)
            self._thread.start()

    def _write_parts(self) -> None:
        while True:
            with self._changed:
                try:
                    work = self._next()
                except BaseException as error:  # noqa: BLE001  (raised again in the thread that adds rows)
                    self._fault = error
                    work = None
                if work is None:
                    return
                self._writing = True
            try:
                builder, entries = work
                nbytes = max(1, builder.nbytes)
                manifest = write_part(self._store, self._spec, builder.finish(), entries.to_index())
                largest = max(file.size for file in manifest.files.values())
                self._ratio = min(2.0, max(0.02, largest / nbytes))
                logger.info(
                    "part: id=%s predictions=%d errors=%d",
                    manifest.part_id,
                    manifest.predictions,
                    manifest.errors,
                )
                with self._changed:
                    self._done.append(manifest)
            except BaseException as error:  # noqa: BLE001  (raised again in the thread that adds rows)
                with self._changed:
                    self._fault = error
            finally:
                del work
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    def _next(self) -> tuple[Any, Entries] | None:
        """The next part to write, once there is one; None at the end."""
        while True:
            if self._pending is not None:
                work, self._pending = self._pending, None
                return work
            if self._closed:
                return None
            if self._since is None or self._fault is not None:
                self._changed.wait()
                continue
            left = self._since + self._spec.part_seconds - time.monotonic()
            if left > 0:
                self._changed.wait(left)
            else:
                self._cut()
