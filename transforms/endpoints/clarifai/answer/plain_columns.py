"""Reads a reply of plain answers as columns: one text, only concepts or only boxes each; none is looked at alone.

A reply with one answer that is anything else is left to `reader`, which writes the same rows one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ....rows.answer_rows import Answered
from ....rows.columns import Concepts, utf8
from ....rows.region_rows import PlainRegions
from ..signatures import Field
from .items import best_of, microseconds, whole_number
from .regions import concepts_of
from .tool_calls import may_hold_calls
from .values import answer_data

__all__ = ["PlainColumns", "read_plain"]

_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


class PlainColumns(NamedTuple):
    """The rows of a reply, as `AnswerRows.add_rows` takes them."""

    columns: dict[str, Sequence[Any]]
    concepts: Sequence[Concepts] | None = None
    regions: PlainRegions | None = None


def read_plain(answered: Sequence[Answered], field: Field | None) -> PlainColumns | None:
    """The columns of answers that are all of one plain form; None when one of them is anything else.

    Args:
        answered: inputs with their answers.
        field: the declared type of an answer, when it is known.

    Raises:
        DecodeError: a number is larger than its column.
    """
    answers = [one.prediction.answer for one in answered]
    if any(len(answer) != 1 for answer in answers):
        return None
    outputs = [answer[0] for answer in answers]
    values: list[Any] = []
    name = ""
    for output in outputs:
        fields = answer_data(output, field)[0].ListFields()
        if len(fields) != 1 or fields[0][0].name != (name or fields[0][0].name):
            return None
        name = fields[0][0].name
        values.append(fields[0][1])
    if name == "string_value":
        return _texts(outputs, values)
    if name == "concepts":
        return PlainColumns(_columns(outputs), concepts=list(map(concepts_of, values)))
    regions = _regions(values) if name == "regions" else None
    return PlainColumns(_columns(outputs), regions=regions) if regions is not None else None


def _columns(outputs: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """What every row says of its output."""
    columns: dict[str, Sequence[Any]] = {
        "status_code": [whole_number("status.code", output.status.code) for output in outputs],
        "output_id": [output.id or None for output in outputs],
        "created_at": [microseconds(output.created_at) for output in outputs],
    }
    for name in _TOKENS:
        counts = [getattr(output, name) for output in outputs]
        if any(counts):
            columns[name] = [whole_number(name, count) if count else None for count in counts]
    return columns


def _texts(outputs: Sequence[Any], texts: list[str]) -> PlainColumns | None:
    if any(map(may_hold_calls, texts)):
        return None
    shown = texts if all(map(str.isascii, texts)) else list(map(utf8, texts))
    return PlainColumns({**_columns(outputs), "string_value": texts, "text": shown})


def _regions(values: Sequence[Any]) -> PlainRegions | None:
    """Regions that have a box at most; None when one of them has a shape."""
    regions = [region for group in values for region in group]
    boxes: list[tuple[float, float, float, float]] = []
    boxed: list[bool] = []
    for region in regions:
        fields = region.region_info.ListFields()
        if not fields:
            boxes.append((0.0, 0.0, 0.0, 0.0))
            boxed.append(False)
        elif len(fields) == 1 and fields[0][0].name == "bounding_box":
            box = fields[0][1]
            left, top = box.left_col, box.top_row
            boxes.append((left, top, box.right_col - left, box.bottom_row - top))
            boxed.append(True)
        else:
            return None
    best = [best_of(region.data.concepts, region.value) for region in regions]
    return PlainRegions(
        [len(group) for group in values],
        [region.id or None for region in regions],
        [region.track_id or None for region in regions],
        [label for label, _ in best],
        [score for _, score in best],
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(boxed, bool),
    )
