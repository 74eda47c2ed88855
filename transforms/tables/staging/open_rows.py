"""Rows in memory: outcomes as they come, turned into rows some at once, until they are cut to become durable."""

from __future__ import annotations

from collections.abc import Sequence
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
    def room(self) -> int:
        """How many further outcomes are held before all of them are turned into rows at once."""
        return max(0, self._together - len(self._held))

    @property
    def held(self) -> int:
        """Outcomes that are no rows yet."""
        return len(self._held)

    def hold(self, rows: Sequence[Prediction | Failure]) -> None:
        """Take outcomes."""
        self._held += rows

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
        nbytes = self.nbytes
        count = self._up_to_a_repeated_input(seen)
        together: list[Prediction] = []
        for row in self._held[:count]:
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

    def _up_to_a_repeated_input(self, seen: set[str]) -> int:
        """How many of the held outcomes come before one of an input that is in `seen` or among these."""
        ids = [row.reference.input_id for row in self._held if not row.reference.aliases]
        before = len(seen)
        if len(ids) == len(self._held) and seen.isdisjoint(ids):
            seen.update(ids)
            if len(seen) == before + len(ids):
                return len(ids)
            seen.difference_update(ids)
        for count, row in enumerate(self._held):
            names = [reference.input_id for reference in references_of(row)]
            if not seen.isdisjoint(names):
                return count
            seen.update(names)
        return len(self._held)

    def finish(self) -> Any:
        """All rows as `Tables`."""
        return self._builder.finish()

    def _build_predictions(self, predictions: list[Prediction]) -> None:
        if not predictions:
            return
        errors = self._builder.add(predictions)
        read = [prediction for prediction, error in zip(predictions, errors, strict=True) if error is None]
        self.entries.add(read, None)
        for prediction, error in zip(predictions, errors, strict=True):
            if error is not None:
                self._build_failure(failure_of(prediction.reference, error))

    def _build_failure(self, failure: Failure) -> None:
        self._builder.add_failure(failure)
        self.entries.add([failure], failure.error_type)
