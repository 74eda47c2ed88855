"""Implements `calls.endpoint.Endpoint` for a Python callable that runs in the worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ...calls.endpoint import CallLimits, ContentNeeds
from ...records import Content
from ...rows.answer_rows import AnswerRows, ReadOptions
from ..arguments.untyped import Arguments
from ..plain.reader import PlainReader
from .arguments import EncodedInput
from .callables import CalleeSpec
from .model import ModelSpec
from .session import PythonSession

__all__ = ["PythonEndpoint"]


@dataclasses.dataclass(frozen=True)
class PythonEndpoint:
    """A callable with its arguments bound, as plain data; see `calls.endpoint.Endpoint`.

    Attributes:
        callee: the callable.
        arguments: its arguments.
        media_type: of the content.
        version: its attribute `version`, else a hash of the file that it stands in.
        signature: of the callable, for a person.
        streams: it yields the pieces of one input's answer.
        processes: it runs in so many processes of its own; None in threads.
    """

    callee: CalleeSpec
    arguments: Arguments
    media_type: str
    version: str
    signature: str
    streams: bool = False
    processes: int | None = None

    kind = "python"

    @property
    def identity(self) -> str:
        """The callable's name, and its method's."""
        return f"python:{self.callee.name}{'.' if self.callee.method else ''}{self.callee.method}"

    @property
    def address(self) -> str:
        """The folder that its module is looked for in."""
        return self.callee.folder

    @property
    def limits(self) -> CallLimits:
        """A stream is a call of its own."""
        return CallLimits(inputs=1 if self.streams else None)

    @property
    def needs(self) -> ContentNeeds:
        """What its arguments take of an input."""
        return ContentNeeds(bool(self.arguments.contents), self.arguments.fetched)

    @property
    def spec(self) -> ModelSpec:
        """What is made and called in a worker."""
        arguments = self.arguments
        return ModelSpec(
            self.callee,
            self.version,
            arguments.constants,
            arguments.contents,
            arguments.columns,
            self.media_type,
        )

    def encoder(self) -> Callable[[Content], EncodedInput]:
        """The function that takes the arguments' values from a content; it raises EncodeError."""
        values = self.arguments.values
        return lambda content: EncodedInput.of(values(content))

    async def open(self, timeout: float) -> PythonSession:
        """Open a session; the callable is made when the first call waits for it."""
        return PythonSession(self.spec, self.processes, timeout)

    def reader(self, options: ReadOptions, rows: AnswerRows) -> PlainReader:
        """The reader that writes answers to rows."""
        return PlainReader(options, rows)
