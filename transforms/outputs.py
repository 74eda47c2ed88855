"""From a model's answers to tables: one builder that takes predictions and failures and gives Arrow tables.

A unary answer is one row. A stream of texts is one row with the joined text, and with `pieces` one further row a
piece; a stream or a list of frames is one row a frame; any other stream is one row an item.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .answer_items import microseconds, whole_number
from .answer_values import (
    Leaf,
    answer_data,
    is_composed,
    json_text,
    leaves,
    plain_leaf,
    plain_value,
    struct_json,
)
from .columns import utf8
from .error_rows import ErrorRows
from .errors import DecodeError
from .masks import MaskRle
from .prediction_rows import PredictionRows, grouped
from .records import Failure, Prediction, Reference
from .regions import MaskRows, RegionReader, RowKey
from .schemas import errors_schema, masks_schema, predictions_schema
from .signatures import Field, Method
from .tool_calls import Answer, join_pieces, read_text, read_value

__all__ = ["TableBuilder", "TableOptions", "Tables"]

_INT64_MAX = 2**63 - 1
_NO_FRAME = (None, None, None)
_NO_COLUMN = {"metadata", "geo", "video", "audio"}
_TEXTS = {"text", "string_value"}


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """What the tables of a job hold.

    Attributes:
        run_id: of the run that writes.
        masks: how masks are stored: rle | png | both | none.
        raw: keep each `Output`, serialized.
        pieces: keep a row for each piece of a streamed text beside the joined text.
        keep_schema: Arrow schema of the columns that the source keeps.
        model_url: the model that is called.
        model_version: the version, for predictions that do not name theirs.
        method: the model's method, which tells empty values from missing ones and streams from single answers.
    """

    run_id: str
    masks: str = "rle"
    raw: bool = False
    pieces: bool = False
    keep_schema: Any = None
    model_url: str | None = None
    model_version: str | None = None
    method: Method | None = None


class Tables(NamedTuple):
    """What a builder gathered.

    Attributes:
        predictions: Arrow table by `predictions_schema`.
        masks: Arrow table by `masks_schema`.
        errors: Arrow table by `errors_schema`.
        prediction_inputs: for each row of `predictions`, the number of its input in the order of adding, from 0; an
            alias counts as an input of its own, right after the reference it belongs to.
        mask_inputs: the same for `masks`.
        error_inputs: the same for `errors`.
    """

    predictions: Any
    masks: Any
    errors: Any
    prediction_inputs: NDArray[np.int64]
    mask_inputs: NDArray[np.int64]
    error_inputs: NDArray[np.int64]


class _Item(NamedTuple):
    """One row to be: where it stands, and the output, data and leaves that fill it."""

    frame: tuple[int | None, int | None, int | None]
    output: Any
    data: Any
    field: Field | None
    found: list[Leaf]


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
        self._field = method.outputs[0] if method is not None and len(method.outputs) == 1 else None
        self._streams = method is not None and method.type != "UNARY_UNARY"
        self._keep = list(options.keep_schema.names) if options.keep_schema is not None else []
        self._schema = predictions_schema(options.keep_schema)
        self._reset()

    def _reset(self) -> None:
        self._rows = PredictionRows(self._schema)
        self._masks = MaskRows()
        self._errors = ErrorRows()
        self._regions = RegionReader(self.options.masks, self._rows.regions, self._masks)
        self.inputs = 0

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take in memory as Arrow tables, roughly."""
        return self._rows.nbytes + self._masks.nbytes + self._errors.nbytes

    def add(self, prediction: Prediction) -> None:
        """Add the rows of an input, and of every alias of its reference.

        Raises:
            DecodeError: the answer cannot be turned into rows; nothing of it was added.
        """
        rows, masks, inputs = len(self._rows.rows), len(self._masks.rows), self.inputs
        nbytes = self._rows.nbytes, self._masks.nbytes
        aliases = getattr(prediction.reference, "aliases", ())
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
        for reference in (failure.reference, *getattr(failure.reference, "aliases", ())):
            self._errors.add(self.inputs, reference, failure)
            self.inputs += 1

    def finish(self) -> Tables:
        """Give all rows as Arrow tables and start anew."""
        options = self.options
        tables = Tables(
            self._rows.build(options.run_id, options.model_url),
            self._masks.build(masks_schema(), options.run_id),
            self._errors.build(errors_schema(), options.run_id),
            np.array(self._rows.inputs, np.int64),
            np.array(self._masks.inputs, np.int64),
            np.array(self._errors.inputs, np.int64),
        )
        self._reset()
        return tables

    def _add_input(
        self, reference: Reference, prediction: Prediction, coded: dict[bytes, MaskRle] | None
    ) -> None:
        width, height = prediction.width, prediction.height
        size = (width, height) if width and height else None
        self._regions.start(self.inputs, size, remember=coded)
        key = utf8(reference.input_id), utf8(reference.uri) if reference.uri is not None else None
        answers = [answer_data(output, self._field) for output in prediction.outputs]
        found = [leaves(data, field) for data, field in answers]
        row = _RowWriter(self, reference, prediction, key)
        if (self._streams or len(answers) > 1) and all(
            name in _TEXTS for values in found for name, _ in values
        ):
            row.write_texts(found)
        else:
            items = zip(prediction.outputs, answers, found, strict=True)
            for item in (item for output, answer, values in items for item in _items(output, answer, values)):
                row.write(item)
        self.inputs += 1


def _items(output: Any, answer: tuple[Any, Field | None], found: list[Leaf]) -> Iterator[_Item]:
    """The rows of one output: one, or one a frame."""
    data, field = answer
    frames = [frame for name, values in found if name == "frames" for frame in values]
    for frame in frames:
        info = frame.frame_info
        place = (
            whole_number("frame_info.index", info.index),
            whole_number("frame_info.number", info.number),
            whole_number("frame_info.time", info.time, _INT64_MAX),
        )
        yield _Item(place, output, frame.data, None, leaves(frame.data, None))
    rest = [leaf for leaf in found if leaf[0] != "frames"]
    if rest or not frames:
        yield _Item(_NO_FRAME, output, data, field, rest)


class _RowWriter:
    """Writes the rows of one input, numbering them."""

    def __init__(
        self, builder: TableBuilder, reference: Reference, prediction: Prediction, key: tuple[str, str | None]
    ) -> None:
        self._options = builder.options
        self._rows = builder._rows
        self._regions = builder._regions
        self._keep = builder._keep
        self._ordinal = builder.inputs
        self._reference = reference
        self._prediction = prediction
        self._key = key
        self._index = 0
        self._written: Any = None

    def write(self, item: _Item) -> None:
        """One row of an answer that is not a streamed text."""
        rows = self._rows
        key: RowKey = (*self._key, *item.frame, self._index)
        concepts: list[Any] = []
        regions = 0
        structs: list[Any] = []
        texts: list[str] = []
        for name, values in grouped(item.found).items():
            if name == "regions":
                for group in values:
                    regions = self._regions.read(group, key, regions)
            elif name == "concepts":
                concepts = (
                    [concept for group in values for concept in group] if len(values) > 1 else values[0]
                )
            elif name in _TEXTS:
                texts += [value if isinstance(value, str) else value.raw for value in values]
                if name == "string_value" and len(values) == 1:
                    rows.put_text("string_value", values[0])
            elif name == "struct_value":
                structs += values
            else:
                rows.put_leaf(name, values)
        composed = is_composed(item.data)
        answer = read_text(texts[0]) if len(texts) == 1 else Answer(None)
        if not composed and len(structs) == 1:
            whole = struct_json(structs[0])
            calls = read_value(whole)
            answer = (
                Answer(calls.text, calls.calls, whole) if calls else Answer(answer.text, answer.calls, whole)
            )
        elif composed:
            answer = answer._replace(whole=plain_value(item.data, item.field))
        else:
            answer = answer._replace(whole=answer.whole or _without_column(item.found))
        self._put_answer(answer)
        if item.output is not self._written:  # what an output cost stands in its first row
            self._written = item.output
            self._put_tokens((item.output,))
            if self._options.raw:
                rows.put_text("raw", item.output.SerializeToString())
        self._close(item.frame, item.output, concepts, regions)

    def write_texts(self, found: list[list[Leaf]]) -> None:
        """The rows of a streamed text: the joined text, then its pieces if they are wanted."""
        outputs = self._prediction.outputs
        pieces = [
            "".join(value if isinstance(value, str) else value.raw for _, value in values) for values in found
        ]
        self._put_answer(join_pieces(pieces))
        if any(name == "string_value" for values in found for name, _ in values):
            self._rows.put_text("string_value", "".join(pieces))
        self._put_tokens(outputs)
        if self._options.raw:
            self._rows.put_text("raw", b"".join(output.SerializeToString() for output in outputs))
        self._close(_NO_FRAME, outputs[-1] if outputs else None, (), 0)
        if self._options.pieces:
            for output, piece in zip(outputs, pieces, strict=True):
                self._rows.put_text("text", piece)
                if self._options.raw:
                    self._rows.put_text("raw", output.SerializeToString())
                self._close(_NO_FRAME, output, (), 0)

    def _put_answer(self, answer: Answer) -> None:
        if answer.text is not None:
            self._rows.put_text("text", utf8(answer.text))
        if answer.calls is not None:
            self._rows.put_text("tool_calls", json_text(answer.calls))
        if answer.whole is not None:
            self._rows.put_text("json", json_text(answer.whole))

    def _put_tokens(self, outputs: tuple[Any, ...]) -> None:
        """Tokens as hinted; in a stream the largest hint, since servers count up or tell once at the end."""
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
            most = max((getattr(output, name) for output in outputs), default=0)
            if most:
                self._rows.put(name, whole_number(name, most))

    def _close(self, frame: tuple[int | None, ...], output: Any, concepts: Any, regions: int) -> None:
        rows, prediction = self._rows, self._prediction
        for name in self._keep:
            rows.put_kept(name, self._reference.columns.get(name))
        _, label, score = rows.concepts.append(concepts)
        rows.regions.close()
        rows.nbytes += 40 * len(concepts) + 60 * regions
        width, height = self._regions.size or (prediction.width, prediction.height)
        rows.close(
            self._ordinal,
            (
                *self._key,
                *frame,
                self._index,
                self._reference.media_type,
                width,
                height,
                (output.id or None) if output is not None else None,
                whole_number("status.code", output.status.code) if output is not None else 10000,
                microseconds(output.created_at) if output is not None else None,
                label,
                score,
                regions,
                prediction.stats.latency_ms,
                prediction.stats.attempts,
                prediction.model_version or self._options.model_version,
            ),
        )
        self._index += 1


def _without_column(found: list[Leaf]) -> Any:
    """What an answer holds beside its typed columns."""
    rest = {name: plain_leaf(name, value) for name, value in found if name in _NO_COLUMN}
    return rest or None
