"""Binds a job's arguments to the callable's parameters, and takes their values from each input."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from ...errors import MethodError
from ...records import CONTENT_LIST, Content
from ..clarifai.request.sources import (
    FromColumn,
    FromContent,
    FromStructure,
    FromTemplate,
    FromUri,
    column_value,
    content_bytes,
)
from .callables import Callee
from .expressions import ArgumentError, parse_source
from .pictures import form_of

__all__ = ["Arguments", "EncodedInput", "bind"]


@dataclasses.dataclass(slots=True)
class EncodedInput:
    """One input's values, by argument.

    Attributes:
        values: as the source holds them; what the parameters ask for is made of them where the call runs.
        nbytes: of contents and texts.
    """

    values: dict[str, Any]
    nbytes: int


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments of a job, checked against the callable; plain data.

    Attributes:
        sources: where the value of each argument comes from that is not the same for all inputs.
        constants: the others.
    """

    sources: Mapping[str, Any]
    constants: Mapping[str, Any]

    @property
    def contents(self) -> tuple[str, ...]:
        """Names of the arguments that hold the content."""
        return tuple(name for name, source in self.sources.items() if isinstance(source, FromContent))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the arguments that hold a column's value."""
        return tuple(name for name, source in self.sources.items() if isinstance(source, FromColumn))

    @property
    def fetched(self) -> tuple[str, ...]:
        """The columns that hold references to fetch, sorted."""
        sources = self.sources.values()
        return tuple(
            sorted({source.name for source in sources if isinstance(source, FromColumn) and source.fetched})
        )

    def encode(self, content: Content) -> EncodedInput:
        """The values of one input.

        Raises:
            EncodeError: a value is missing.
        """
        values = {name: _value(source, content) for name, source in self.sources.items()}
        return EncodedInput(values, sum(map(_size, values.values())))


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
    sources: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for key, value in arguments.items():
        try:
            source, is_constant = parse_source(value, media_type, columns)
        except ArgumentError as error:
            raise MethodError(f"model.arguments.{key}: {error}") from None
        if is_constant:
            constants[key] = source
        elif isinstance(source, FromColumn) and _wants_picture(signature, key):
            sources[key] = dataclasses.replace(source, fetched=True)
        else:
            sources[key] = source
    if not sources:
        raise MethodError(
            "model.arguments: nothing in it comes from the input, so that all answers would be alike; write $content, "
            "$uri, $column.NAME or a template for one of them"
        )
    return Arguments(sources, constants)


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


def _wants_picture(signature: inspect.Signature | None, name: str) -> bool:
    parameter = signature.parameters.get(name) if signature is not None else None
    return parameter is not None and form_of(parameter.annotation) == "picture"


def _value(source: Any, content: Content) -> Any:
    if isinstance(source, FromContent):
        if content.data is not None:
            return content.data
        listed = content.reference.columns.get(CONTENT_LIST)
        if isinstance(listed, list):
            return listed
        inline = content.reference.inline
        return inline if inline is not None else content_bytes(content)
    if isinstance(source, FromColumn):
        return column_value(source, content)
    if isinstance(source, FromUri):
        return content.reference.uri
    assert isinstance(source, FromTemplate | FromStructure)
    return source.render(content)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, str)) else 8
