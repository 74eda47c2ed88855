"""What a job asks of a method, bound to its arguments: plain data that travels to the workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ....errors import MethodError
from ....records import Content
from ...arguments.sources import FromStructure, utf8, value_of
from .arguments import needs_of
from .completion import compact
from .structured import Structure

__all__ = ["Asked", "asked", "check_one_answer"]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A method with its arguments bound.

    Attributes:
        path: of the call, after the API's address.
        each: the JSON that one input adds to a call.
        around: what stands before the inputs of a call, and after them; between them are commas.
        most: inputs of a call.
        streams: the answer comes as events.
        structure: what the answer's text must be; None for any text.
        content: the input's content is needed.
        fetched: columns that hold references of their own, sorted.
        uri: the server fetches the input's reference.
    """

    path: str
    each: Any
    around: tuple[bytes, bytes] = (b"", b"")
    most: int = 1
    streams: bool = False
    structure: Structure | None = None
    content: bool = False
    fetched: tuple[str, ...] = ()
    uri: bool = False

    def encode(self, content: Content) -> bytes:
        """One input's JSON.

        Raises:
            EncodeError: a value is missing, or none that JSON has.
        """
        return utf8(compact(value_of(self.each, content)), "a value of model.arguments")

    def body(self, inputs: Sequence[bytes]) -> bytes:
        """The message of a call with these inputs."""
        before, after = self.around
        return b"".join((before, b",".join(inputs), after))


def asked(path: str, each: Any, **more: Any) -> Asked:
    """Bind a method whose inputs are this JSON.

    Raises:
        MethodError: nothing in it comes from the input.
    """
    needs = needs_of(each)
    if not _varies(each):
        raise MethodError(
            "model.arguments: nothing in it comes from the input, so that all answers would be alike; write $content, "
            "$uri, $column.NAME or a template for one of them"
        )
    return Asked(
        path, each, content=needs.content, fetched=tuple(sorted(needs.columns)), uri=needs.uri, **more
    )


def check_one_answer(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that this tool sets itself, or that would give an input several answers.

    Raises:
        MethodError: there is one.
    """
    if arguments.get("n", 1) != 1:
        raise MethodError("model.arguments.n: an input has one answer; leave n out")
    if "model" in arguments:
        raise MethodError("model.arguments.model: the model is named in model.name; leave it out here")
    if arguments.get("stream") not in (None, True, False):
        raise MethodError("model.arguments.stream: write true or false")


def _varies(value: Any) -> bool:
    if isinstance(value, FromStructure):
        return any(map(_varies, value.items))
    if isinstance(value, Mapping):
        return any(map(_varies, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_varies, value))
    return not isinstance(value, str | int | float | bool | None)
