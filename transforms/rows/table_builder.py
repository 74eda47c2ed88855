"""From a model's answers to tables: one builder that takes predictions and failures and gives Arrow tables.

A unary answer is one row. A stream of texts is one row with the joined text, and with `pieces` one further
row a piece; a stream or a list of frames is one row a frame; any other stream is one row an item.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..endpoints.clarifai.answer.reader import RowWriter, TableOptions
from ..endpoints.clarifai.answer.regions import MaskRows, RegionReader
from ..endpoints.clarifai.answer.values import TEXTS, Leaf, answer_data, is_composed, leaves
from ..endpoints.clarifai.signatures import Field
from ..errors import DecodeError
from ..records import Failure, Prediction, Reference
from .error_rows import ErrorRows
from .masks import MaskRle
from .prediction_rows import PredictionRows
from .schemas import errors_schema, masks_schema, predictions_schema

__all__ = ["TableBuilder", "TableOptions", "Tables"]

_SEAL_BYTES = 4 << 20


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
        method = options.method
        self._field = _result(method.outputs) if method is not None else None
        self._streams = method is not None and method.type != "UNARY_UNARY"
        self._schema = predictions_schema(options.keep_schema)
        self._reset()

    def _reset(self) -> None:
        self._sealed: list[Tables] = []
        self._sealed_bytes = 0
        self.inputs = 0
        self._open()

    def _open(self) -> None:
        self._rows = PredictionRows(self._schema)
        self._masks = MaskRows()
        self._errors = ErrorRows()
        self._regions = RegionReader(self.options.masks, self._rows.regions, self._masks)
        self._writer = RowWriter(self.options, self._rows, self._regions)

    def _seal(self) -> None:
        """Turn the open rows into Arrow tables, which take a fifth of the memory and keep the heap warm."""
        options = self.options
        tables = Tables(
            self._rows.build(options.run_id, options.model_url),
            self._masks.build(masks_schema(), options.run_id),
            self._errors.build(errors_schema(), options.run_id),
            np.array(self._rows.inputs, np.int64),
            np.array(self._masks.inputs, np.int64),
            np.array(self._errors.inputs, np.int64),
        )
        self._sealed.append(tables)
        self._sealed_bytes += sum(table.nbytes for table in tables[:3])
        self._open()

    @property
    def _open_bytes(self) -> int:
        return self._rows.nbytes + self._masks.nbytes + self._errors.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take in memory as Arrow tables; of the latest rows an estimate."""
        return self._sealed_bytes + self._open_bytes

    def add(self, prediction: Prediction) -> None:
        """Add the rows of an input, and of every alias of its reference.

        Raises:
            DecodeError: the answer cannot be turned into rows; nothing of it was added.
        """
        if self._open_bytes > _SEAL_BYTES:
            self._seal()
        rows, masks, inputs = len(self._rows.inputs), len(self._masks.inputs), self.inputs
        nbytes = self._rows.nbytes, self._masks.nbytes
        aliases = prediction.reference.aliases
        coded: dict[bytes, MaskRle] | None = {} if aliases else None
        try:
            for reference in (prediction.reference, *aliases):
                self._add_input(reference, prediction, coded)
        except (ArithmeticError, LookupError, TypeError, ValueError, DecodeError) as error:
            self._rows.cut(rows)
            self._masks.cut(masks)
            self.inputs = inputs
            self._rows.nbytes, self._masks.nbytes = nbytes
            if isinstance(error, DecodeError):
                raise
            raise DecodeError(
                "answer", f"the model's answer does not have the form of its type: {type(error).__name__}"
            ) from error

    def add_failure(self, failure: Failure) -> None:
        """Add the `errors` row of an input, and of every alias of its reference."""
        for reference in (failure.reference, *failure.reference.aliases):
            self._errors.add(self.inputs, reference, failure)
            self.inputs += 1

    def finish(self) -> Tables:
        """Give all rows as Arrow tables and start anew."""
        self._seal()
        columns = list(zip(*self._sealed, strict=True))
        tables = Tables(*map(pa.concat_tables, columns[:3]), *map(np.concatenate, columns[3:]))
        self._reset()
        return tables

    def _add_input(
        self, reference: Reference, prediction: Prediction, coded: dict[bytes, MaskRle] | None
    ) -> None:
        width, height = prediction.width, prediction.height
        size = (width, height) if width and height else None
        self._regions.start(self.inputs, size, remember=coded)
        self._writer.start(reference, prediction)
        outputs = prediction.outputs
        if len(outputs) == 1 and not self._streams:
            data, field = answer_data(outputs[0], self._field)
            self._writer.write_output(outputs[0], data, field, leaves(data, field))
        else:
            self._add_stream(outputs)
        self.inputs += 1

    def _add_stream(self, outputs: tuple[Any, ...]) -> None:
        answers = [answer_data(output, self._field) for output in outputs]
        found = [leaves(data, field) for data, field in answers]
        if not answers or self._is_text(answers, found):
            self._writer.write_texts(found)
            return
        for output, (data, field), values in zip(outputs, answers, found, strict=True):
            self._writer.write_output(output, data, field, values)

    def _is_text(self, answers: list[tuple[Any, Field | None]], found: list[list[Leaf]]) -> bool:
        """True for a stream whose items are pieces of one text, empty ones among them."""
        if any(is_composed(data) for data, _ in answers):
            return False
        names = {name for values in found for name, _ in values}
        declared = self._field is not None and self._field.type in ("STR", "TEXT")
        return names <= TEXTS if names else declared


def _result(outputs: tuple[Field, ...]) -> Field | None:
    """The declared type of an answer; several results are named fields."""
    if len(outputs) > 1:
        return Field("return", "NAMED_FIELDS", type_args=outputs)
    return outputs[0] if outputs else None
