"""What a callable may answer for one input, and how it becomes the values of columns.

    str                         text
    bool, int, float            bool_value, int_value, float_value; scalars of NumPy likewise
    bytes                       bytes_value
    a PIL picture               image, as PNG
    array of booleans, 2-D      a region with this mask; of three dimensions one region a mask
    array of floats, 1-D        embedding
    any other array             ndarray
    a list of regions           regions and masks, see `regions`
    a list of concepts          label, score, concepts
    a mapping, a dataclass      a region if it has the keys of one; else each known key (`KEYS`) goes to its column,
                                and what is left to json
    any other list              json
    None                        a row without a value

Arrays of other libraries, as PyTorch's, count as NumPy's where `numpy.asarray` takes them.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from PIL import Image

from ...rows.columns import NO_CONCEPTS, Concepts
from .regions import (
    AnswerError,
    Region,
    concepts,
    fields,
    holds_concepts,
    holds_regions,
    masks,
    region,
    shown,
)

__all__ = ["KEYS", "Answer", "answer_of"]

_INT64 = range(-(2**63), 2**63)


@dataclasses.dataclass(slots=True)
class Answer:
    """One answer as values of columns; plain data that pickles.

    Attributes:
        texts: values of any length, by column.
        values: other values, by column.
        concepts: ids, names and values.
        regions: in order.
    """

    texts: dict[str, str | bytes] = dataclasses.field(default_factory=dict)
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    concepts: Concepts = NO_CONCEPTS
    regions: Sequence[Region] = ()


def answer_of(value: Any) -> Answer:
    """The columns' values of one answer.

    Raises:
        AnswerError: it has no place in a row; the message says what would have.
    """
    answer = Answer()
    _put(answer, value)
    return answer


def _put(answer: Answer, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, str):
        answer.texts["text"] = value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        answer.texts["bytes_value"] = bytes(value)
    elif isinstance(value, (bool, int, float, np.generic)):
        _put_number(answer, value)
    elif isinstance(value, Image.Image):
        answer.values["image"] = _picture(value)
    elif _is_array(value):
        _put_array(answer, np.asarray(value))
    elif (named := fields(value)) is not None:
        _put_fields(answer, named)
    elif isinstance(value, (Sequence, AbstractSet)):
        _put_list(answer, list(value))
    else:
        raise AnswerError(
            f"{shown(value)} is no answer; return a text, a number, an array, a list, or a dict of values by column"
        )


def _put_number(answer: Answer, value: Any) -> None:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        answer.values["bool_value"] = value
    elif isinstance(value, int):
        if value not in _INT64:
            raise AnswerError(
                f"an integer of {value.bit_length()} bits does not fit into 64; return it as text"
            )
        answer.values["int_value"] = value
    elif isinstance(value, float):
        answer.values["float_value"] = value
    else:  # a NumPy text, date or complex number
        _put_json(answer, value)


def _put_array(answer: Answer, array: Any) -> None:
    if array.ndim == 0:
        _put(answer, array.item())
    elif array.dtype == np.bool_ and array.ndim in (2, 3):
        answer.regions = [Region(mask=mask) for mask in masks(array)]
    elif array.ndim == 1 and array.dtype.kind == "f":
        _put_embedding(answer, array)
    else:
        _put_ndarray(answer, array)


def _put_embedding(answer: Answer, value: Any) -> None:
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise AnswerError(f"an embedding is a vector of numbers, not {shown(value)}")
    answer.values["embedding"] = array.astype(np.float32).tolist()


def _put_ndarray(answer: Answer, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        _put_json(answer, array.tolist())
        return
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    answer.values["ndarray"] = {
        "buffer": array.tobytes(),
        "shape": list(array.shape),
        "dtype": array.dtype.name,
    }


def _put_list(answer: Answer, items: list[Any]) -> None:
    if holds_regions(items):
        answer.regions = [region(item) for item in items]
    elif holds_concepts(items):
        answer.concepts = concepts(items)
    else:
        _put_json(answer, items)


def _put_fields(answer: Answer, named: Mapping[Any, Any]) -> None:
    if holds_regions([named]):
        answer.regions = [region(named)]
        return
    rest = {
        name: value for name, value in named.items() if name not in KEYS and name not in ("label", "score")
    }
    for name, put in KEYS.items():
        if named.get(name) is not None:
            try:
                put(answer, named[name])
            except AnswerError as error:
                raise AnswerError(
                    f"{name}: {error}; a value that is meant for the column json is returned as {{'json': ...}}"
                ) from None
    if named.get("label") is not None:
        best = concepts([{"label": named["label"], "score": named.get("score")}])
        if answer.concepts is NO_CONCEPTS:
            answer.concepts = best
    elif "score" in named:
        rest["score"] = named["score"]
    if rest:
        held = named.get("json")
        if held is not None:
            rest = {**(held if isinstance(held, Mapping) else {"json": held}), **rest}
        _put_json(answer, rest)


def _put_json(answer: Answer, value: Any) -> None:
    answer.texts["json"] = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def _put_text(answer: Answer, value: Any) -> None:
    if not isinstance(value, str):
        raise AnswerError(f"a text is str, not {shown(value)}")
    answer.texts["text"] = value


def _put_mask(answer: Answer, value: Any) -> None:
    answer.regions = [*answer.regions, *(Region(mask=mask) for mask in masks(value))]


def _put_regions(answer: Answer, value: Any) -> None:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise AnswerError(f"regions are a list, not {shown(value)}")
    answer.regions = [region(item) for item in value]


def _put_concepts(answer: Answer, value: Any) -> None:
    answer.concepts = concepts(value)


def _put_picture(answer: Answer, value: Any) -> None:
    if isinstance(value, bytes):
        answer.values["image"] = {"bytes": value, "path": None}
        return
    if _is_array(value):
        array = np.asarray(value)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise AnswerError(f"a picture is an array of uint8, height x width x 3, not {shown(value)}")
        value = Image.fromarray(array)
    if not isinstance(value, Image.Image):
        raise AnswerError(f"a picture is PIL's, an array, or bytes of one, not {shown(value)}")
    answer.values["image"] = _picture(value)


#: Keys of a mapping that have a column; `label` and `score` are one concept.
KEYS: Mapping[str, Callable[[Answer, Any], None]] = {
    "text": _put_text,
    "json": _put_json,
    "embedding": _put_embedding,
    "ndarray": _put_ndarray,
    "image": _put_picture,
    "concepts": _put_concepts,
    "regions": _put_regions,
    "mask": _put_mask,
}


def plain(value: Any) -> Any:
    """A value as JSON has it: no NaN, keys that are texts, arrays as lists.

    Raises:
        AnswerError: JSON has nothing for it.
    """
    if isinstance(value, np.generic) or _is_array(value):
        value = np.asarray(value).tolist()
    for kinds, convert in _PLAIN:
        if isinstance(value, kinds):
            return convert(value)
    if (named := fields(value)) is not None:
        return {str(key): plain(item) for key, item in named.items()}
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(item) for item in value]
    raise AnswerError(f"{shown(value)} has no form in JSON")


_PLAIN: Sequence[tuple[tuple[type, ...], Callable[[Any], Any]]] = (
    ((enum.Enum,), lambda value: plain(value.value)),
    ((type(None), bool, int, str), lambda value: value),
    ((float,), lambda value: value if math.isfinite(value) else None),
    ((decimal.Decimal,), lambda value: plain(float(value))),
    ((datetime.date, datetime.time), lambda value: value.isoformat()),
    ((os.PathLike,), str),
)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (
        hasattr(value, "__array__") and not isinstance(value, Image.Image)
    )


def _picture(picture: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}
