"""Embeddings: POST /embeddings, https://platform.openai.com/docs/api-reference/embeddings."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....calls.endpoint import Fault
from ....errors import MethodError
from ...arguments.expressions import holds_expression, is_expression
from .arguments import Parser
from .asked import Asked, asked, check_one_answer
from .completion import Completion, MisreadError, compact

__all__ = ["MOST", "answers", "bind"]

#: Inputs of a call, as the API's reference says.
MOST = 2048


def bind(model: str, arguments: Mapping[str, Any], parser: Parser) -> Asked:
    """Build the call out of `input`, a text; all else is passed on and is the same for all inputs.

    Raises:
        MethodError: they do not fit.
    """
    check_one_answer(arguments)
    if "input" not in arguments:
        raise MethodError("model.arguments.input: method embeddings takes it; write input: $content")
    rest = {name: value for name, value in arguments.items() if name != "input"}
    for name, value in rest.items():
        if is_expression(value) or holds_expression(value):
            raise MethodError(
                f"model.arguments.{name}: a call holds many inputs and one {name}, so it takes no value of an input; "
                "write a constant"
            )
    # A quarter of the bytes, and no parsing of decimal numbers; servers that do not know it send lists.
    rest.setdefault("encoding_format", "base64")
    head = compact({"model": model, **rest})
    around = (f'{head[:-1]},"input":['.encode(), b"]}")
    return asked("/embeddings", parser.text("input", arguments["input"]), around=around, most=MOST)


def answers(data: Mapping[str, Any]) -> list[Completion | Fault]:
    """The vectors of a call, in the order of its inputs; the usage is the call's and not an input's.

    Raises:
        MisreadError: it has none.
    """
    found = data.get("data")
    if not isinstance(found, list):
        raise MisreadError("it holds no data")
    vectors: dict[int, Any] = {}
    for at, item in enumerate(found):
        if not isinstance(item, Mapping):
            raise MisreadError(f"data[{at}] is no object")
        vectors[item.get("index", at)] = _vector(item.get("embedding"), at)
    if vectors.keys() != set(range(len(found))):
        raise MisreadError("the indexes of its embeddings are not those of the inputs")
    return [Completion({"embedding": vectors[at]}) for at in range(len(found))]


def _vector(value: Any, at: int) -> list[float]:
    try:
        array = (
            np.frombuffer(base64.b64decode(value, validate=True), "<f4") if isinstance(value, str) else value
        )
        made: list[float] = np.asarray(array, np.float32).tolist()
    except (ValueError, TypeError, binascii.Error):
        raise MisreadError(f"data[{at}].embedding is no vector") from None
    if not isinstance(made, list) or not all(isinstance(number, float) for number in made):
        raise MisreadError(f"data[{at}].embedding is no vector")
    return made
