"""Collects the rows of the predictions table by column, and builds the table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ..errors import DecodeError
from ..kept.types import source_of
from ..kept.values import fitting
from ..records import Prediction, Reference
from ..storage.references import masked_value, recorded
from .columns import ConceptColumn, Concepts, RegionColumn, SparseColumn, utf8

__all__ = ["DENSE", "NO_FRAME", "Frame", "PredictionRows"]

Frame = tuple[int | None, int | None, int | None]  # index, number and time in milliseconds
NO_FRAME: Frame = (None, None, None)

#: Columns that nearly every row fills; the others are null unless the answer holds a value.
DENSE = (
    "input_id",
    "uri",
    "frame_index",
    "frame_number",
    "frame_time_ms",
    "output_index",
    "media_type",
    "width",
    "height",
    "orientation",
    "output_id",
    "status_code",
    "created_at",
    "label",
    "score",
    "num_regions",
    "latency_ms",
    "attempts",
    "model_version",
)
_BUILT = {*DENSE, "run_id", "model_url", "concepts", "regions"}


class PredictionRows:
    """The rows of the predictions table.

    Args:
        schema: of the table, kept columns included.
        keep: names of the kept columns.
        model_version: for predictions that name none.
    """

    def __init__(self, schema: Any, keep: Sequence[str] = (), model_version: str | None = None) -> None:
        self.schema = schema
        self._keep = [(source_of(field), field) for field in map(schema.field, keep)]
        self._model_version = model_version
        self._dense: list[
            Any
        ] = []  # flat, row after row: a tuple a row would be work for the garbage collector
        self.inputs: list[int] = []
        self.concepts = ConceptColumn()
        self.regions = RegionColumn()
        self.sparse = {name: SparseColumn() for name in schema.names if name not in _BUILT}
        self.nbytes = 0

    def start(self, ordinal: int, reference: Reference, prediction: Prediction) -> None:
        """Begin the rows of an input.

        Args:
            ordinal: of the input, in the order of adding.
            reference: the input, which may be an alias of the prediction's own.
            prediction: the answer.
        """
        self._ordinal, self._reference, self._prediction = ordinal, reference, prediction
        self.key = utf8(reference.input_id), None if reference.uri is None else utf8(recorded(reference.uri))
        self._index = 0

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        del self._dense[count * len(DENSE) :], self.inputs[count:]
        self.concepts.cut(count)
        self.regions.cut(count)
        for column in self.sparse.values():
            column.cut(count)

    def put(self, name: str, value: Any) -> None:
        """Set a value of the row that is being filled."""
        column = self.sparse[name]
        row = len(self.inputs)
        if not column.has(row):
            column.put(row, value)
            self.nbytes += 8

    def put_text(self, name: str, value: str | bytes) -> None:
        """Set a value of any length of the row that is being filled."""
        self.put(name, value)
        self.nbytes += len(value)

    def _put_kept(self, field: Any, value: Any) -> None:
        kept = self._kept(field, value, self._reference.uri)
        if kept is not None:
            self.put(field.name, kept)
            self.nbytes += len(kept) if isinstance(kept, (str, bytes)) else 0

    def _kept(self, field: Any, value: Any, uri: str | None) -> Any:
        """The value of a kept column as its table holds it."""
        if value is None:
            return None
        # A kept column may hold the very reference, or others that were signed.
        value = recorded(value) if value == uri else masked_value(value)
        try:
            return fitting(value, field)
        except ValueError as error:
            raise DecodeError(
                "keep",
                f"the kept column {field.name!r} is {field.type} in the source, but this row holds {error}; make the "
                "column one type in the source",
            ) from error

    def close(
        self,
        frame: Frame,
        status_code: int,
        output_id: str | None,
        created_at: int | None,
        concepts: Concepts,
        size: tuple[int, int] | None,
    ) -> None:
        """End the row that is being filled; arguments as in `AnswerRows.close`.

        Args:
            size: width and height in pixels, where the answer tells them better than the input.

        Raises:
            DecodeError: a kept column's value is not of its type.
        """
        reference, prediction = self._reference, self._prediction
        for column, field in self._keep:
            self._put_kept(field, reference.columns.get(column))
        _, label, score = self.concepts.append(*concepts)
        regions = self.regions.close()
        width, height = size or (prediction.width, prediction.height)
        self._dense.extend(
            (
                *self.key,
                *frame,
                self._index,
                reference.media_type,
                width,
                height,
                prediction.orientation,
                output_id,
                status_code,
                created_at,
                label,
                score,
                regions,
                prediction.stats.latency_ms,
                prediction.stats.attempts,
                prediction.model_version or self._model_version,
            )
        )
        self.inputs.append(self._ordinal)
        self.nbytes += 120 + len(self.key[0]) + len(self.key[1] or "") + 40 * len(concepts[0]) + 60 * regions
        self._index += 1

    def extend(
        self,
        ordinals: Sequence[int],
        references: Sequence[Reference],
        predictions: Sequence[Prediction],
        columns: Mapping[str, Sequence[Any]],
        concepts: Sequence[Concepts] | None = None,
        regions: Sequence[int] | None = None,
    ) -> None:
        """Add a row for each of these inputs; see `start`, and `AnswerRows.add_rows` for the columns.

        Args:
            regions: how many each row has, which are added already; None where no row has any.

        Raises:
            DecodeError: a kept column's value is not of its type.
        """
        first, count = len(self.inputs), len(ordinals)
        kept = [self._kept_values(column, field, references) for column, field in self._keep]
        ids = [utf8(reference.input_id) for reference in references]
        uris = [None if reference.uri is None else utf8(recorded(reference.uri)) for reference in references]
        bests = [self.concepts.append(*row) for row in concepts] if concepts is not None else []
        dense = zip(
            ids,
            uris,
            *(itertools.repeat(value) for value in NO_FRAME),
            itertools.repeat(0),
            [reference.media_type for reference in references],
            [prediction.width for prediction in predictions],
            [prediction.height for prediction in predictions],
            [prediction.orientation for prediction in predictions],
            columns["output_id"],
            columns["status_code"],
            columns["created_at"],
            [label for _, label, _ in bests] if bests else itertools.repeat(None),
            [score for _, _, score in bests] if bests else itertools.repeat(None),
            regions or itertools.repeat(0),
            [prediction.stats.latency_ms for prediction in predictions],
            [prediction.stats.attempts for prediction in predictions],
            [prediction.model_version or self._model_version for prediction in predictions],
            strict=False,  # repeat() has no end
        )
        self._dense.extend(itertools.chain.from_iterable(dense))
        self.inputs.extend(ordinals)
        if not bests:
            self.concepts.skip(count)
        if regions is None:
            self.regions.skip(count)
        self.nbytes += 120 * count + sum(map(len, ids)) + sum(len(uri or "") for uri in uris)
        self.nbytes += 40 * sum(len(row[0]) for row in concepts or ()) + 60 * sum(regions or ())
        values = {name: column for name, column in columns.items() if name in self.sparse}
        for name, column in (*values.items(), *kept):
            self.sparse[name].extend(first, column)
            self.nbytes += sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in column)

    def _kept_values(self, column: str, field: Any, references: Sequence[Reference]) -> tuple[str, list[Any]]:
        """The name of a kept column, and its values of these inputs."""
        return field.name, [
            self._kept(field, reference.columns.get(column), reference.uri) for reference in references
        ]

    @property
    def index(self) -> int:
        """The number of the row that is being filled, among those of its input."""
        return self._index

    def build(self, run_id: str, model_url: str | None) -> Any:
        """The rows as an Arrow table."""
        count = len(self.inputs)
        arrays: dict[str, Any] = {
            name: pa.array(self._dense[at :: len(DENSE)], self.schema.field(name).type)
            for at, name in enumerate(DENSE)
        }
        for name, column in self.sparse.items():
            arrays[name] = column.build(count, self.schema.field(name).type)
        arrays["run_id"] = pa.repeat(pa.scalar(run_id, pa.string()), count)
        arrays["model_url"] = pa.repeat(pa.scalar(model_url, pa.string()), count)
        arrays["concepts"] = self.concepts.build()
        arrays["regions"] = self.regions.build()
        return pa.Table.from_arrays([arrays[name] for name in self.schema.names], schema=self.schema)
