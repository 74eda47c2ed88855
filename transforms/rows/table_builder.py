"""Builds the three Arrow tables from predictions and failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError, DecodeError
from ..metrics import process_metrics
from ..records import Failure, Prediction
from .answer_rows import Answered, AnswerReader, AnswerRows, ReadOptions
from .error_rows import ErrorRows
from .schemas import errors_schema, masks_schema, predictions_schema

__all__ = ["TableBuilder", "TableOptions", "Tables"]

_SEAL_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """What the tables of a job hold.

    Attributes:
        run_id: of the run that writes.
        reader: makes the reader of answers, as `Endpoint.reader` does; without it only failures can be added.
        read: what the tables keep of an answer.
        keep_schema: Arrow schema of the columns that the source keeps.
        model_url: the model that is called.
        model_version: the version, for predictions that do not name theirs.
    """

    run_id: str
    reader: Callable[[ReadOptions, AnswerRows], AnswerReader] | None = None
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    keep_schema: Any = None
    model_url: str | None = None
    model_version: str | None = None


class Tables(NamedTuple):
    """What a builder gathered.

    Attributes:
        predictions: Arrow table by `predictions_schema`.
        masks: Arrow table by `masks_schema`.
        errors: Arrow table by `errors_schema`.
        prediction_inputs: for each row of `predictions`, the number of its input in the order of adding, from
            0; an alias counts as an input of its own, right after the reference it belongs to.
        mask_inputs: the same for `masks`.
        error_inputs: the same for `errors`.
    """

    predictions: Any
    masks: Any
    errors: Any
    prediction_inputs: NDArray[np.int64]
    mask_inputs: NDArray[np.int64]
    error_inputs: NDArray[np.int64]


class TableBuilder:
    """Gathers predictions and failures as rows of the three tables.

    Args:
        options: what the tables hold.

    Raises:
        ConfigError: a kept column has the name of a column of the table.
    """

    def __init__(self, options: TableOptions) -> None:
        self.options = options
        self._schema = predictions_schema(options.keep_schema)
        self._keep = list(options.keep_schema.names) if options.keep_schema is not None else []
        self._reset()

    def _reset(self) -> None:
        self._sealed: list[Tables] = []
        self._sealed_bytes = 0
        self.inputs = 0
        self._open()

    def _open(self) -> None:
        options = self.options
        self._rows = AnswerRows(self._schema, self._keep, options.read.masks, options.model_version)
        self._errors = ErrorRows()
        self._reader = options.reader(options.read, self._rows) if options.reader is not None else None

    def _seal(self) -> None:
        """Turn the open rows into Arrow tables, a fifth of their size; the next rows use the memory that is freed."""
        options, predictions, masks = self.options, self._rows.predictions, self._rows.regions.masks
        if masks.unreadable:
            process_metrics().add(masks_unreadable=masks.unreadable)
        tables = Tables(
            predictions.build(options.run_id, options.model_url),
            masks.build(masks_schema(), options.run_id),
            self._errors.build(errors_schema(), options.run_id),
            np.array(predictions.inputs, np.int64),
            np.array(masks.inputs, np.int64),
            np.array(self._errors.inputs, np.int64),
        )
        self._sealed.append(tables)
        self._sealed_bytes += sum(table.nbytes for table in tables[:3])
        self._open()

    @property
    def _open_bytes(self) -> int:
        return self._rows.nbytes + self._errors.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take in memory as Arrow tables; of the latest rows an estimate."""
        return self._sealed_bytes + self._open_bytes

    def add(self, predictions: Sequence[Prediction]) -> list[DecodeError | None]:
        """Add the rows of inputs, and of every alias of their references.

        Returns:
            For each prediction None, or why its answer cannot be turned into rows; nothing of it was added then.

        Raises:
            ConfigError: the options name no reader.
        """
        if self._open_bytes > _SEAL_BYTES:
            self._seal()
        first = self._read(predictions)
        if first is None:
            return [None] * len(predictions)
        if len(predictions) == 1:
            return [first]
        # One of them cannot be read, so each is read alone and the others are kept.
        return [self._read([prediction]) for prediction in predictions]

    def _read(self, predictions: Sequence[Prediction]) -> DecodeError | None:
        if self._reader is None:
            raise ConfigError(
                "the output names no reader of answers; take it from `prepare_job`, or set "
                "OutputSpec.reader to the endpoint's"
            )
        mark = self._rows.mark()
        answered = list(_numbered(predictions, self.inputs))
        try:
            self._reader.read(answered)
        except Exception as error:  # noqa: BLE001  (whatever an answer does to its reader is about this answer)
            self._rows.cut(mark)
            if isinstance(error, DecodeError):
                return error
            message = f"the model's answer does not have the form of its type: {type(error).__name__}"
            return DecodeError("answer", message)
        self.inputs += len(answered)
        return None

    def add_failure(self, failure: Failure) -> None:
        """Add the `errors` row of an input, and of every alias of its reference."""
        for reference in (failure.reference, *failure.reference.aliases):
            self._errors.add(self.inputs, reference, failure)
            self.inputs += 1

    def finish(self) -> Tables:
        """Return all rows as Arrow tables, and begin empty again."""
        self._seal()
        columns = list(zip(*self._sealed, strict=True))
        tables = Tables(*map(pa.concat_tables, columns[:3]), *map(np.concatenate, columns[3:]))
        self._reset()
        return tables


def _numbered(predictions: Sequence[Prediction], first: int) -> Iterator[Answered]:
    """Each input with its number, aliases right after the reference they belong to."""
    for prediction in predictions:
        for reference in (prediction.reference, *prediction.reference.aliases):
            yield Answered(first, reference, prediction)
            first += 1
