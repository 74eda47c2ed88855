"""Writes answers to rows, as an `AnswerReader`: all of a reply at once."""

from __future__ import annotations

from collections.abc import Sequence

from ...rows.answer_rows import Answered, AnswerRows, ReadOptions
from ...rows.columns import utf8
from .methods.completion import compact

__all__ = ["CompletionReader"]

_COLUMNS = (
    "text",
    "tool_calls",
    "finish_reason",
    "reasoning",
    "embedding",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
)
_OK = 200  #: HTTP's code of every answer that is no error


class CompletionReader:
    """Writes one row an answer.

    Args:
        options: what the tables keep of an answer.
        rows: where they are written.
    """

    def __init__(self, options: ReadOptions, rows: AnswerRows) -> None:
        self._raw = options.raw
        self._rows = rows

    def read(self, answered: Sequence[Answered]) -> None:
        """Add the rows of these inputs; each answer is a `Completion`."""
        answers = [one.prediction.answer for one in answered]
        columns = {}
        for name in _COLUMNS:
            values = [answer.columns.get(name) for answer in answers]
            if any(value is not None for value in values):
                columns[name] = [utf8(value) if isinstance(value, str) else value for value in values]
        if any("json" in answer.columns for answer in answers):
            columns["json"] = [
                utf8(compact(answer.columns["json"])) if "json" in answer.columns else None
                for answer in answers
            ]
        if self._raw:
            columns["raw"] = [answer.body or None for answer in answers]
        columns["output_id"] = [answer.id for answer in answers]
        columns["status_code"] = [_OK] * len(answers)
        columns["created_at"] = [answer.created_us for answer in answers]
        self._rows.add_rows(answered, columns)
