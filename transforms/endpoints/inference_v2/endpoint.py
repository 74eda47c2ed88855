"""Implements `calls.endpoint.Endpoint` for a model behind the Open Inference Protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from ...calls.endpoint import CallLimits, ContentNeeds
from ...records import Content
from ...rows.answer_rows import AnswerRows, ReadOptions
from ..arguments.untyped import Arguments
from ..bearer import Token
from ..over_grpc.address import ServerAddress
from .inputs import EncodedInput
from .outputs import TensorReader
from .session import InferSession, ModelCallSpec

__all__ = ["InferenceEndpoint"]


@dataclasses.dataclass(frozen=True)
class InferenceEndpoint:
    """A model with its arguments bound, as plain data; see `calls.endpoint.Endpoint`.

    Attributes:
        server: where it is served.
        spec: what is called.
        arguments: its arguments.
        roles: what tensors of the answer are, by their names.
        version: that answers; "" when the server names none.
        signature: of the model, for a person.
        most: inputs of a call; None for as many as the job likes.
        sent_size: width and height of pictures as they are sent; None where they are sent as they are.
        key_env: names the variable of the bearer token.
        allow_plaintext: send it unencrypted to another machine.
    """

    server: ServerAddress
    spec: ModelCallSpec
    arguments: Arguments
    roles: Mapping[str, str]
    version: str
    signature: str
    most: int | None = None
    sent_size: tuple[int, int] | None = None
    key_env: str | None = None
    allow_plaintext: bool = False

    kind = "inference_v2"

    @property
    def identity(self) -> str:
        """The model's name."""
        return f"inference_v2:{self.spec.name}"

    @property
    def address(self) -> str:
        """The server's address."""
        return self.server.url

    @property
    def limits(self) -> CallLimits:
        """What fits into the tensors of a call."""
        return CallLimits(inputs=self.most)

    @property
    def needs(self) -> ContentNeeds:
        """What its arguments take of an input."""
        return ContentNeeds(bool(self.arguments.contents), self.arguments.fetched)

    def encoder(self) -> Callable[[Content], EncodedInput]:
        """The function that turns a content into its part of each tensor; it raises EncodeError."""
        arguments, tensors = self.arguments, self.spec.inputs
        constants = {
            tensor.tensor.name: tensor.encode(arguments.constants[tensor.tensor.name])
            for tensor in tensors
            if tensor.tensor.name in arguments.constants
        }

        def encode(content: Content) -> EncodedInput:
            values = arguments.values(content)
            parts = [
                constants.get(tensor.tensor.name) or tensor.encode(values[tensor.tensor.name])
                for tensor in tensors
            ]
            rows = tuple(row for row, _ in parts)
            return EncodedInput(rows, tuple(form for _, form in parts), sum(map(len, rows)))

        return encode

    async def open(self, timeout: float) -> InferSession:
        """Open a channel, with the token of this process's environment.

        Raises:
            CredentialsError: there is none, or it would travel unencrypted.
        """
        token = Token.of(self.key_env, self.server, allow_plaintext=self.allow_plaintext)
        return InferSession(self.server, self.spec, token, timeout)

    def reader(self, options: ReadOptions, rows: AnswerRows) -> TensorReader:
        """The reader that writes tensors to rows."""
        return TensorReader(self.roles, self.sent_size, options, rows)
