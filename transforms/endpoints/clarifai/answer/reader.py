"""Writes answers of Clarifai's API to rows: this endpoint's `AnswerReader`.

A unary answer is one row. A stream of texts is one row with the joined text, and with `pieces` one further row a piece;
a stream or a list of frames is one row a frame; any other stream is one row an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from ....rows.answer_rows import Answered, AnswerRows, ReadOptions
from ....rows.columns import utf8
from ..signatures import Field, Method
from .answers import struct_json
from .columns import grouped, put_leaf
from .items import INT64_MAX, microseconds, whole_number
from .plain_columns import read_plain
from .regions import concepts_of, read_regions
from .tool_calls import Answer, join_pieces, read_text, read_value
from .values import (
    TEXTS,
    Leaf,
    answer_data,
    is_composed,
    json_text,
    leaves,
    plain_leaf,
    plain_value,
    spoken,
)

__all__ = ["OutputReader"]

_SOUNDS = {"video", "audio"}
_NO_COLUMN = {"metadata", "geo", *_SOUNDS}
_ANSWERS = {*TEXTS, *_NO_COLUMN, "struct_value"}  # what becomes text, tool calls or JSON
_SUCCESS = 10000


class OutputReader:
    """Writes the rows of answers: one for a unary answer; for streams see the module.

    Args:
        method: the model's method, which tells empty values from missing ones and streams from single answers; None
            when it is not known.
        options: what the tables keep of an answer.
        rows: where they are written.
    """

    def __init__(self, method: Method | None, options: ReadOptions, rows: AnswerRows) -> None:
        self._options = options
        self._open = rows
        self._rows = rows.predictions
        self._regions = rows.regions
        self._field = _result(method.outputs) if method is not None else None
        self._streams = method is not None and method.type != "UNARY_UNARY"

    def read(self, answered: Sequence[Answered]) -> None:
        """Add the rows of these inputs; each answer is a tuple of `Output` messages.

        Raises:
            DecodeError: an answer cannot be turned into rows; or another error that `AnswerReader` names.
        """
        if not self._streams and not self._options.raw:
            plain = read_plain(answered, self._field)
            if plain is not None:
                self._open.add_rows(answered, *plain)
                return
        for one in answered:
            self._open.start(one)
            outputs = one.prediction.answer
            if len(outputs) == 1 and not self._streams:
                data, field = answer_data(outputs[0], self._field)
                self._write_output(outputs[0], data, field, leaves(data, field))
            else:
                self._write_stream(outputs)

    def _write_stream(self, outputs: tuple[Any, ...]) -> None:
        answers = [answer_data(output, self._field) for output in outputs]
        found = [leaves(data, field) for data, field in answers]
        if not answers or self._is_text(answers, found):
            self._write_texts(outputs, found)
            return
        for output, (data, field), values in zip(outputs, answers, found, strict=True):
            self._write_output(output, data, field, values)

    def _is_text(self, answers: list[tuple[Any, Field | None]], found: list[list[Leaf]]) -> bool:
        """True for a stream whose items are pieces of one text, empty ones among them."""
        if any(is_composed(data) for data, _ in answers):
            return False
        names = {name for values in found for name, _ in values}
        declared = self._field is not None and self._field.type in ("STR", "TEXT")
        return names <= TEXTS if names else declared

    def _write_output(self, output: Any, data: Any, field: Field | None, found: list[Leaf]) -> None:
        """The rows of one output that is no piece of a text: one, or one a frame.

        Args:
            output: the message.
            data: what in it holds the answer.
            field: the answer's declared type.
            found: the typed values of the answer.
        """
        self._put_tokens((output,))  # what an output cost is written to its first row
        if self._options.raw:
            self._rows.put_text("raw", output.SerializeToString())
        frames = [frame for name, values in found if name == "frames" for frame in values]
        for frame in frames:
            info = frame.frame_info
            at = (
                whole_number("frame_info.index", info.index),
                whole_number("frame_info.number", info.number),
                whole_number("frame_info.time", info.time, INT64_MAX),
            )
            self._open.set_frame(at)
            self._write(output, frame.data, None, leaves(frame.data, None))
        if frames:
            found = [leaf for leaf in found if leaf[0] != "frames"]
        if found or not frames:
            self._write(output, data, field, found)

    def _write(self, output: Any, data: Any, field: Field | None, found: list[Leaf]) -> None:
        concepts: Sequence[Any] = ()
        said = is_composed(data)
        groups = grouped(found)
        for name, values in groups.items():
            if name == "regions":
                for group in values:
                    read_regions(group, self._regions)
            elif name == "concepts":
                concepts = values[0] if len(values) == 1 else [one for group in values for one in group]
            elif name in _ANSWERS:
                said = True
                if name in _SOUNDS:
                    put_leaf(self._rows, name, values)
            else:
                put_leaf(self._rows, name, values)
        if said:
            self._put_answer(self._answer(data, field, found, groups))
        self._close(output, concepts)

    def _write_texts(self, outputs: tuple[Any, ...], found: list[list[Leaf]]) -> None:
        """The rows of a streamed text: the joined text, then its pieces if they are wanted."""
        pieces = ["".join(spoken(values)) for values in found]
        if pieces:
            self._put_answer(join_pieces(pieces))
        if any(name == "string_value" for values in found for name, _ in values):
            self._rows.put_text("string_value", "".join(pieces))
        self._put_tokens(outputs)
        if self._options.raw:
            self._rows.put_text("raw", b"".join(output.SerializeToString() for output in outputs))
        self._close(outputs[-1] if outputs else None)
        if self._options.pieces:
            for output, piece in zip(outputs, pieces, strict=True):
                self._rows.put_text("text", piece)
                if self._options.raw:
                    self._rows.put_text("raw", output.SerializeToString())
                self._close(output)

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

    def _close(self, output: Any, concepts: Sequence[Any] = ()) -> None:
        if output is None:
            self._open.close(status_code=_SUCCESS)
            return
        self._open.close(
            status_code=whole_number("status.code", output.status.code),
            output_id=output.id or None,
            created_at=microseconds(output.created_at),
            concepts=concepts_of(concepts),
        )


def _result(outputs: tuple[Field, ...]) -> Field | None:
    """The declared type of an answer; several results are named fields."""
    if len(outputs) > 1:
        return Field("return", "NAMED_FIELDS", type_args=outputs)
    return outputs[0] if outputs else None


def _without_column(found: list[Leaf]) -> Any:
    """What an answer holds besides its typed columns."""
    rest = {name: plain_leaf(name, value) for name, value in found if name in _NO_COLUMN}
    return rest or None
