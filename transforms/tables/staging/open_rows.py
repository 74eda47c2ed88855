"""Rows in memory: outcomes as they come, turned into rows some at once, until they are cut to become durable."""

from __future__ import annotations

from typing import Any

from ...records import Failure, Prediction, failure_of
from .part import Entries, references_of

__all__ = ["OpenRows"]

_TOGETHER = 32  #: most answers that are turned into rows at once
_TOGETHER_BYTES = 4 << 20  #: and most bytes of their rows


class OpenRows:
    """Outcomes of inputs that nothing durable holds yet.

    Args:
        builder: a `TableBuilder` without rows.

    Attributes:
        entries: the inputs whose outcomes are rows.
    """

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self._held: list[Prediction | Failure] = []  # not turned into rows yet
        self._together = 1
        self.entries = Entries([], [], [], [])

    @property
    def nbytes(self) -> int:
        """Bytes of the rows in memory."""
        return int(self._builder.nbytes)

    @property
    def ready(self) -> bool:
        """Enough is held to be turned into rows at once."""
        return len(self._held) >= self._together

    @property
    def held(self) -> int:
        """Outcomes that are no rows yet."""
        return len(self._held)

    def hold(self, row: Prediction | Failure) -> None:
        """Take one outcome."""
        self._held.append(row)

    def give(self, other: OpenRows) -> None:
        """Hand all that is held, and no row yet, to others."""
        other._held, other._together, self._held = self._held, self._together, []

    def build(self, seen: set[str], free: int) -> bool:
        """Turn what is held into rows, up to an input that is in `seen` already; True when there is one.

        Args:
            seen: ids of the inputs of the part; the new ones are added.
            free: bytes of rows until the part is full.
        """
        if not self._held:
            return False
        nbytes, count = self.nbytes, 0
        together: list[Prediction] = []
        for row in self._held:
            ids = [reference.input_id for reference in references_of(row)]
            if not seen.isdisjoint(ids):
                break
            seen.update(ids)
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
            grown = self.nbytes - nbytes
            each = max(1, grown // count)
            self._together = max(1, min(_TOGETHER, min(_TOGETHER_BYTES, free - grown) // each))
        return bool(self._held)

    def finish(self) -> Any:
        """All rows as `Tables`."""
        return self._builder.finish()

    def _build_predictions(self, predictions: list[Prediction]) -> None:
        if not predictions:
            return
        odd = []
        for prediction, error in zip(predictions, self._builder.add(predictions), strict=True):
            if error is None:
                self.entries.add(prediction, None)
            else:
                odd.append(failure_of(prediction.reference, error))
        for failure in odd:
            self._build_failure(failure)

    def _build_failure(self, failure: Failure) -> None:
        self._builder.add_failure(failure)
        self.entries.add(failure, failure.error_type)
