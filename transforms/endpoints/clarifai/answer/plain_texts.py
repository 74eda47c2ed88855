"""Reads a reply of plain texts as columns: most answers are one string each, and need no look at one alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....rows.answer_rows import Answered
from ....rows.columns import utf8
from ..signatures import Field
from .items import microseconds, whole_number
from .tool_calls import may_hold_calls
from .values import answer_data

__all__ = ["TextColumns", "read_texts"]

_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")

#: Names of columns, and the values of all rows in each.
TextColumns = dict[str, list[Any]]


def read_texts(answered: Sequence[Answered], field: Field | None) -> TextColumns | None:
    """The columns of answers that are one string each; None when one of them is anything else.

    Args:
        answered: inputs whose answers are tuples of one `Output`.
        field: the declared type of an answer, when it is known.

    Raises:
        DecodeError: a number is larger than its column.
    """
    outputs = [one.prediction.answer[0] for one in answered]
    texts: list[str] = []
    for output in outputs:
        data, _ = answer_data(output, field)
        values = data.ListFields()
        if len(values) != 1 or values[0][0].name != "string_value" or may_hold_calls(values[0][1]):
            return None
        texts.append(values[0][1])
    columns: TextColumns = {
        "status_code": [whole_number("status.code", output.status.code) for output in outputs],
        "output_id": [output.id or None for output in outputs],
        "created_at": [microseconds(output.created_at) for output in outputs],
        "string_value": texts,
        "text": texts if all(map(str.isascii, texts)) else list(map(utf8, texts)),
    }
    for name in _TOKENS:
        counts = [getattr(output, name) for output in outputs]
        if any(counts):
            columns[name] = [whole_number(name, count) if count else None for count in counts]
    return columns
