"""Implements `calls.endpoint.Endpoint` for a model behind an OpenAI-compatible API."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ...calls.endpoint import CallLimits, ContentNeeds
from ...records import Content
from ...rows.answer_rows import AnswerRows, ReadOptions
from ..bearer import Token
from .address import ApiAddress
from .methods.asked import Asked
from .reader import CompletionReader
from .session import EncodedInput, HttpSession

__all__ = ["OpenAIEndpoint"]


@dataclasses.dataclass(frozen=True)
class OpenAIEndpoint:
    """A model with its arguments bound, as plain data; see `calls.endpoint.Endpoint`.

    Attributes:
        api: where it is served.
        model: its name there.
        method: chat | responses | embeddings.
        asked: the method, bound to the job's arguments.
        key_env: names the variable of the key; None where none is sent.
        allow_plaintext: send it unencrypted to another machine.
    """

    api: ApiAddress
    model: str
    method: str
    asked: Asked
    key_env: str | None = None
    allow_plaintext: bool = False

    kind = "openai"
    version = ""

    @property
    def identity(self) -> str:
        """The model's name."""
        return self.model

    @property
    def address(self) -> str:
        """The API's address."""
        return self.api.url

    @property
    def signature(self) -> str:
        """The call, for a person."""
        return f"POST {self.asked.path}{', streamed' if self.asked.streams else ''}"

    @property
    def limits(self) -> CallLimits:
        """One input a call, but for embeddings."""
        return CallLimits(inputs=self.asked.most, overhead_bytes=sum(map(len, self.asked.around)))

    @property
    def needs(self) -> ContentNeeds:
        """What its arguments take of an input."""
        by_server = self.asked.uri and not self.api.server.is_loopback
        return ContentNeeds(self.asked.content, self.asked.fetched, self.api.url if by_server else "")

    def encoder(self) -> Callable[[Content], EncodedInput]:
        """The function that turns a content into JSON; it raises EncodeError."""
        encode = self.asked.encode
        return lambda content: EncodedInput(encode(content))

    async def open(self, timeout: float) -> HttpSession:
        """Open a session, with the key of this process's environment.

        Raises:
            CredentialsError: there is none, or it would travel unencrypted.
        """
        token = Token.of(self.key_env, self.api.server, allow_plaintext=self.allow_plaintext)
        return HttpSession(self.api, self.method, self.asked, token, timeout)

    def reader(self, options: ReadOptions, rows: AnswerRows) -> CompletionReader:
        """The reader that writes answers to rows."""
        return CompletionReader(options, rows)
