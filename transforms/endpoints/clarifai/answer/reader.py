"""The rows of one input's answer, written one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from ....records import Prediction, Reference
from ....rows.columns import utf8
from ....rows.prediction_rows import PredictionRows, grouped
from ..signatures import Field, Method
from .answers import struct_json
from .items import microseconds, whole_number
from .regions import RegionReader
from .tool_calls import Answer, join_pieces, read_text, read_value
from .values import TEXTS, Leaf, is_composed, json_text, leaves, plain_leaf, plain_value, spoken

__all__ = ["RowWriter", "TableOptions"]

_SOUNDS = {"video", "audio"}
_NO_COLUMN = {"metadata", "geo", *_SOUNDS}
_ANSWERS = {*TEXTS, *_NO_COLUMN, "struct_value"}  # what becomes text, tool calls or JSON
_Frame = tuple[int | None, int | None, int | None]
_NO_FRAME: _Frame = (None, None, None)
_SUCCESS = 10000
_INT64_MAX = 2**63 - 1


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
        method: the model's method, which tells empty values from missing ones and streams from single
            answers.
    """

    run_id: str
    masks: str = "rle"
    raw: bool = False
    pieces: bool = False
    keep_schema: Any = None
    model_url: str | None = None
    model_version: str | None = None
    method: Method | None = None


class RowWriter:
    """Writes the rows of one input after the other, numbering the rows of each.

    Args:
        options: what the tables hold.
        rows: the predictions table.
        regions: where regions go; started for each input by the caller.
    """

    def __init__(self, options: TableOptions, rows: PredictionRows, regions: RegionReader) -> None:
        self._options = options
        self._rows = rows
        self._regions = regions
        self._keep = list(options.keep_schema.names) if options.keep_schema is not None else []

    def start(self, reference: Reference, prediction: Prediction) -> None:
        """Begin an input.

        Args:
            reference: the input, which may be an alias of the prediction's own.
            prediction: the answer.
        """
        self._reference = reference
        self._prediction = prediction
        self._key = utf8(reference.input_id), None if reference.uri is None else utf8(reference.uri)
        self._index = 0

    def write_output(self, output: Any, data: Any, field: Field | None, found: list[Leaf]) -> None:
        """The rows of one output that is no piece of a text: one, or one a frame.

        Args:
            output: the message.
            data: what in it holds the answer.
            field: the answer's declared type.
            found: the typed values of the answer.
        """
        self._put_tokens((output,))  # what an output cost stands in its first row
        if self._options.raw:
            self._rows.put_text("raw", output.SerializeToString())
        frames = [frame for name, values in found if name == "frames" for frame in values]
        for frame in frames:
            info = frame.frame_info
            place = (
                whole_number("frame_info.index", info.index),
                whole_number("frame_info.number", info.number),
                whole_number("frame_info.time", info.time, _INT64_MAX),
            )
            self._write(place, output, frame.data, None, leaves(frame.data, None))
        if frames:
            found = [leaf for leaf in found if leaf[0] != "frames"]
        if found or not frames:
            self._write(_NO_FRAME, output, data, field, found)

    def _write(self, frame: _Frame, output: Any, data: Any, field: Field | None, found: list[Leaf]) -> None:
        concepts: Sequence[Any] = ()
        regions = 0
        said = is_composed(data)
        groups = grouped(found)
        for name, values in groups.items():
            if name == "regions":
                for group in values:
                    regions = self._regions.read(group, (*self._key, *frame, self._index), regions)
            elif name == "concepts":
                concepts = values[0] if len(values) == 1 else [one for group in values for one in group]
            elif name in _ANSWERS:
                said = True
                if name in _SOUNDS:
                    self._rows.put_leaf(name, values)
            else:
                self._rows.put_leaf(name, values)
        if said:
            self._put_answer(self._answer(data, field, found, groups))
        self._close(frame, output, concepts, regions)

    def write_texts(self, found: list[list[Leaf]]) -> None:
        """The rows of a streamed text: the joined text, then its pieces if they are wanted."""
        outputs = self._prediction.outputs
        pieces = ["".join(spoken(values)) for values in found]
        if pieces:
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

    def _answer(
        self, data: Any, field: Field | None, found: list[Leaf], groups: dict[str, list[Any]]
    ) -> Answer:
        """The text, the tool calls and the JSON of an answer."""
        strings = groups.get("string_value", [])
        if len(strings) == 1:
            self._rows.put_text("string_value", strings[0])
        texts = spoken(found)
        answer = read_text(texts[0]) if len(texts) == 1 else Answer(None)
        if is_composed(data):
            return answer._replace(whole=plain_value(data, field))
        structs = groups.get("struct_value")
        if not structs:
            return answer if answer.whole is not None else answer._replace(whole=_without_column(found))
        whole = struct_json(structs[0])
        held = read_value(whole)
        return answer._replace(whole=whole) if held is None else held._replace(whole=whole)

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
            if len(outputs) == 1:
                most = getattr(outputs[0], name)
            else:
                most = max(map(attrgetter(name), outputs), default=0)
            if most:
                self._rows.put(name, whole_number(name, most))

    def _close(self, frame: _Frame, output: Any, concepts: Any, regions: int) -> None:
        rows, prediction = self._rows, self._prediction
        for name in self._keep:
            rows.put_kept(name, self._reference.columns.get(name))
        _, label, score = rows.concepts.append(concepts)
        rows.regions.close()
        rows.nbytes += 40 * len(concepts) + 60 * regions
        width, height = self._regions.size or (prediction.width, prediction.height)
        rows.close(
            self._regions.ordinal,
            (
                *self._key,
                *frame,
                self._index,
                self._reference.media_type,
                width,
                height,
                (output.id or None) if output is not None else None,
                whole_number("status.code", output.status.code) if output is not None else _SUCCESS,
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
