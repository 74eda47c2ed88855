"""Binds a job's arguments to the callable's parameters."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from ...errors import MethodError
from ..arguments.untyped import Arguments, parse_arguments
from .callables import Callee
from .pictures import form_of

__all__ = ["EncodedInput", "bind"]


@dataclasses.dataclass(slots=True)
class EncodedInput:
    """One input's values, by argument.

    Attributes:
        values: as the source holds them; what the parameters ask for is made of them where the call runs.
        nbytes: of contents and texts.
    """

    values: dict[str, Any]
    nbytes: int

    @classmethod
    def of(cls, values: dict[str, Any]) -> EncodedInput:
        """Measure the values."""
        sizes = (len(value) if isinstance(value, (bytes, str)) else 8 for value in values.values())
        return cls(values, sum(sizes))


def bind(
    callee: Callee, name: str, arguments: Mapping[str, Any], *, media_type: str, columns: Collection[str]
) -> Arguments:
    """Check a job's arguments against what the callable takes.

    Args:
        callee: the callable.
        name: of it, for messages.
        arguments: `model.arguments`; where it is empty, the content goes to the one parameter that needs a value.
        media_type: what the source holds.
        columns: names that the source's rows have.

    Raises:
        MethodError: they do not fit.
    """
    arguments = arguments or {_content_parameter(callee, name): "$content"}
    signature = callee.signature
    if signature is not None:
        try:
            signature.bind(**dict.fromkeys(arguments))
        except TypeError as error:
            raise MethodError(
                f"model.arguments: {error}. The callable is {name}{callee.parameters}; write an argument for "
                "each of its parameters"
            ) from None

    def asks_for_picture(argument: str) -> bool:
        parameter = signature.parameters.get(argument) if signature is not None else None
        return parameter is not None and form_of(parameter.annotation) == "picture"

    return parse_arguments(arguments, media_type, columns, asks_for_picture)


def _content_parameter(callee: Callee, name: str) -> str:
    """The parameter that the content goes to where the job names none."""
    parameters = callee.signature.parameters.values() if callee.signature is not None else ()
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one for one in named if one.default is inspect.Parameter.empty]
    fits = needed if needed else named
    if len(fits) != 1:
        raise MethodError(
            f"model.arguments: it is not clear where the content goes; write NAME: $content. The callable is "
            f"{name}{callee.parameters}"
        )
    return fits[0].name
