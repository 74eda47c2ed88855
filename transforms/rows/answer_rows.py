"""The interface between an endpoint and the tables: its `AnswerReader` writes answers into `AnswerRows`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..records import Prediction, Reference
from .columns import NO_CONCEPTS, Concepts
from .masks import MaskRle
from .prediction_rows import NO_FRAME, Frame, PredictionRows
from .region_rows import PlainRegions, RegionRows

__all__ = ["AnswerReader", "AnswerRows", "Answered", "ReadOptions"]


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What the tables keep of an answer.

    Attributes:
        masks: how masks are stored: rle | png | both | none.
        raw: keep each answer's message, serialized.
        pieces: keep a row for each piece of a streamed text beside the joined text.
    """

    masks: str = "rle"
    raw: bool = False
    pieces: bool = False


class Answered(NamedTuple):
    """An input with its answer.

    Attributes:
        ordinal: the input's number, in the order of adding.
        reference: the input; an alias of the prediction's own has the same answer.
        prediction: holds the answer.
    """

    ordinal: int
    reference: Reference
    prediction: Prediction


class AnswerReader(Protocol):
    """Writes an endpoint's answers to rows."""

    def read(self, answered: Sequence[Answered]) -> None:
        """Add the rows of these inputs, in order: `AnswerRows.start`, values, `AnswerRows.close` for each row.

        Raises:
            DecodeError: an answer cannot be turned into rows. So do ArithmeticError, LookupError, TypeError and
                ValueError; the caller removes all rows of these inputs.
        """


class AnswerRows:
    """The rows of `predictions` and `masks` that are being filled, one input after the other.

    Args:
        schema: of `predictions`, kept columns included.
        keep: names of the kept columns.
        masks: how masks are stored: rle | png | both | none.
        model_version: for predictions that name none.
    """

    def __init__(self, schema: Any, keep: Sequence[str], masks: str, model_version: str | None) -> None:
        self.predictions = PredictionRows(schema, keep, model_version)
        self.regions = RegionRows(masks, self.predictions.regions)
        self._last: Prediction | None = None
        self._coded: dict[bytes, MaskRle] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take as Arrow tables, an estimate."""
        return self.predictions.nbytes + self.regions.masks.nbytes

    def start(self, answered: Answered) -> None:
        """Begin the rows of an input."""
        prediction = answered.prediction
        if prediction is not self._last:
            # An answer that has aliases is read again for each of them, and its masks need not be coded again.
            self._coded = {} if prediction.reference.aliases else None
            self._last = prediction
        self.predictions.start(answered.ordinal, answered.reference, prediction)
        width, height = prediction.width, prediction.height
        size = (width, height) if width and height else None
        self.regions.start(answered.ordinal, self.predictions.key, size, self._coded, prediction.orientation)
        self.set_frame(NO_FRAME)

    def add_rows(
        self,
        answered: Sequence[Answered],
        columns: Mapping[str, Sequence[Any]],
        concepts: Sequence[Concepts] | None = None,
        regions: PlainRegions | None = None,
    ) -> None:
        """Add one row for each of these inputs, without frames and masks: all rows of a reply at once.

        Args:
            columns: values of the rows, by column; `status_code`, `output_id` and `created_at` as in `close`.
            concepts: ids, names and values of each row; None where no row has any.
            regions: of all rows; None where no row has any.

        Raises:
            DecodeError: a kept column's value is not of its type.
        """
        self._last, self._coded = None, None
        ordinals, references, predictions = zip(*answered, strict=True)
        sizes = [(one.width, one.height) for one in predictions]
        counts = self.regions.extend(regions, sizes) if regions is not None else None
        self.predictions.extend(ordinals, references, predictions, columns, concepts, counts)

    def set_frame(self, frame: Frame) -> None:
        """Say which frame of a video the row that begins belongs to; before any of its regions.

        Args:
            frame: index, number and time in milliseconds.
        """
        self._frame = frame
        self.regions.start_row(frame, self.predictions.index)

    def close(
        self,
        *,
        status_code: int,
        output_id: str | None = None,
        created_at: int | None = None,
        concepts: Concepts = NO_CONCEPTS,
    ) -> None:
        """End a row, and begin the next of the same input.

        Args:
            status_code: of the endpoint's API.
            output_id: the server's name for the answer.
            created_at: microseconds since 1970, UTC.
            concepts: ids, names and values.

        Raises:
            DecodeError: a kept column's value is not of its type.
        """
        size = self.regions.size
        self.predictions.close(self._frame, status_code, output_id, created_at, concepts, size)
        self.set_frame(NO_FRAME)

    def mark(self) -> tuple[int, int, int, int]:
        """The present number and size of the rows, for `cut`."""
        predictions, masks = self.predictions, self.regions.masks
        return len(predictions.inputs), len(masks.inputs), predictions.nbytes, masks.nbytes

    def cut(self, mark: tuple[int, int, int, int]) -> None:
        """Remove all rows added since a mark."""
        rows, masks, self.predictions.nbytes, self.regions.masks.nbytes = mark
        self.predictions.cut(rows)
        self.regions.masks.cut(masks)
