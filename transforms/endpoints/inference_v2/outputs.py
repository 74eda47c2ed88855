"""What becomes of the tensors of an answer: each goes to its column, by the roles that the job names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import DecodeError
from ...rows.answer_rows import Answered, AnswerRows, ReadOptions
from ..plain.answers import Answer, answer_of
from ..plain.reader import PlainReader
from ..plain.regions import AnswerError

__all__ = ["TensorReader", "answer_of_tensors"]


class TensorReader:
    """Writes the rows of answers, each a tuple of pieces: arrays by the names of tensors.

    Args:
        roles: what tensors are, by their names.
        size: width and height of the pictures as they are sent; None where they are sent as they are.
        options: what the tables keep of an answer.
        rows: where they are written.
    """

    def __init__(
        self, roles: Mapping[str, str], size: tuple[int, int] | None, options: ReadOptions, rows: AnswerRows
    ) -> None:
        self._roles, self._size = roles, size
        self._reader = PlainReader(options, rows)

    def read(self, answered: Sequence[Answered]) -> None:
        """Add the rows of these inputs.

        Raises:
            DecodeError: a tensor is not what its role says.
        """
        for one in answered:
            try:
                pieces = [
                    answer_of_tensors(piece, self._roles, self._size) for piece in one.prediction.answer
                ]
            except AnswerError as error:
                raise DecodeError("answer", f"the model's answer has no place in a row: {error}") from error
            self._reader.add(one, pieces)


def answer_of_tensors(
    tensors: Mapping[str, Any], roles: Mapping[str, str], size: tuple[int, int] | None
) -> Answer:
    """The values of columns in one input's tensors.

    Raises:
        AnswerError: a tensor is not what its role says.
    """
    named = {role: tensors[name] for name, role in roles.items() if name in tensors}
    rest = {name: _plain(array) for name, array in tensors.items() if name not in roles}
    found: dict[str, Any] = {}
    for role, array in named.items():
        if role in _READ:
            found[role] = _READ[role](array)
    if named.keys() & {"box", "box_rel", "mask"}:
        found["regions"] = _regions(named, size)
    elif named.keys() & {"label", "score"}:
        found["concepts"] = _concepts(named)
    if not found and len(rest) == 1:
        (alone,) = rest.values()
        return answer_of({"ndarray": alone} if isinstance(alone, np.ndarray) else alone)
    if rest:
        found["json"] = {**rest, **found["json"]} if isinstance(found.get("json"), dict) else rest
    return answer_of(found)


def _regions(named: Mapping[str, Any], size: tuple[int, int] | None) -> list[dict[str, Any]]:
    """One region a box or a mask, with its label and score."""
    columns: dict[str, Sequence[Any]] = {}
    for key in named.keys() & {"box", "box_rel"}:
        boxes = np.asarray(named[key], np.float64)
        if boxes.ndim == 0 or boxes.shape[-1] != 4:
            raise AnswerError(f"boxes are an array of n x 4, not of shape {list(boxes.shape)}")
        boxes = boxes.reshape(-1, 4)
        if key == "box" and size is not None:  # in pixels of what was sent
            columns["box_rel"] = (boxes / np.array([*size, *size])).tolist()
        else:
            columns[key] = boxes.tolist()
    if "label" in named:
        columns["label"] = _texts(named["label"])
    if "score" in named:
        columns["score"] = np.asarray(named["score"], np.float64).reshape(-1).tolist()
    if "mask" in named:
        columns["mask"] = list(_mask(named["mask"]))
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise AnswerError(f"the tensors of regions have different lengths: {told}")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _concepts(named: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One concept a label or a score; its number is its label where none is told."""
    labels: Sequence[str] = _texts(named["label"]) if "label" in named else ()
    scores: Sequence[float | None] = [None] * len(labels)
    if "score" in named:
        scores = np.asarray(named["score"], np.float64).reshape(-1).tolist()
        labels = labels or [str(number) for number in range(len(scores))]
    if len(labels) != len(scores):
        raise AnswerError(f"there are {len(labels)} labels for {len(scores)} scores")
    return [{"label": label, "score": score} for label, score in zip(labels, scores, strict=True)]


def _texts(array: Any) -> list[str]:
    values = np.asarray(array).reshape(-1).tolist()
    return [_text(value) if isinstance(value, bytes) else str(value) for value in values]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise AnswerError("a text is not UTF-8") from None


def _mask(array: Any) -> Any:
    """Masks of any number, from probabilities or from members; axes of one value are dropped."""
    array = np.asarray(array)
    array = array > 0.5 if array.dtype.kind == "f" else array != 0
    while array.ndim > 3 and 1 in array.shape[:-2]:
        array = array.squeeze(array.shape.index(1))
    return array[None] if array.ndim == 2 else array


def _json(array: Any) -> Any:
    (text,) = _texts(array)
    try:
        return json.loads(text)
    except ValueError:
        raise AnswerError("a tensor with the role json holds no JSON") from None


def _plain(array: Any) -> Any:
    """A tensor without a role: texts as such, a single number as such, any other as its array."""
    array = np.asarray(array)
    if array.dtype.kind != "O":
        return array.reshape(()).item() if array.size == 1 else array
    values = [_text_or_bytes(value) for value in array.reshape(-1).tolist()]
    return values[0] if len(values) == 1 else np.array(values, object).reshape(array.shape).tolist()


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


_READ: Mapping[str, Callable[[Any], Any]] = {
    "text": lambda array: "".join(_texts(array)),
    "json": _json,
    "embedding": lambda array: np.asarray(array).reshape(-1),
    "ndarray": np.asarray,
    "image": lambda array: bytes(np.asarray(array).reshape(-1)[0]),
}
