"""Turns what an input holds into what the callable's parameter asks for: bytes, text, an array or a PIL picture."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from ...errors import EncodeError

__all__ = ["converter", "form_of"]

#: What an annotation asks for, by a name in it: `list[np.ndarray]`, `Sequence[PIL.Image.Image]`, `list[bytes]`.
_FORMS: Mapping[str, str] = {
    "ndarray": "array",
    "NDArray": "array",
    "Image": "picture",
    "bytes": "bytes",
    "str": "text",
}
_NAME = re.compile(r"[A-Za-z_]\w*")


def form_of(annotation: Any) -> str:
    """What a parameter asks for: array | picture | bytes | text, or "" where its annotation says nothing."""
    return next((_FORMS[name] for name in _NAME.findall(_text_of(annotation)) if name in _FORMS), "")


def converter(form: str, media_type: str) -> Callable[[Any], Any]:
    """The function that gives a content, or a column's bytes, the form that a parameter asks for.

    It raises EncodeError where they do not have it. What is no bytes is given as it stands, but for lists of numbers
    where an array is asked for.

    Args:
        form: as `form_of` says; by default text for texts, and bytes for all others.
        media_type: of the content.
    """
    form = form or ("text" if media_type == "text" else "bytes")
    return {"array": _array, "picture": _picture, "text": _text, "bytes": _bytes}[form]


def _text_of(annotation: Any) -> str:
    """All names of an annotation: of a generic type also those inside it."""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(annotation, str):
        return annotation
    inside = " ".join(_text_of(one) for one in getattr(annotation, "__args__", ()) or ())
    module, name = getattr(annotation, "__module__", ""), getattr(annotation, "__qualname__", "")
    own = name if module != "PIL.Image" else "Image"
    return f"{own} {inside}"


def _array(value: Any) -> Any:
    if isinstance(value, bytes):
        return np.array(_picture(value))  # a copy, as Pillow's own may not be written to
    return np.asarray(value) if isinstance(value, (list, tuple)) else value


def _picture(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        with Image.open(io.BytesIO(value)) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow's plugins raise almost any class
        raise EncodeError(
            "picture",
            f"the picture cannot be decoded: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
        ) from error


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise EncodeError(
            "not_text",
            f"the content is not UTF-8 text (byte {error.start} is the first that is wrong); convert it",
        ) from None


def _bytes(value: Any) -> Any:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
