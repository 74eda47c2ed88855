"""Implements `calls.endpoint.Endpoint` for a method of a model behind Clarifai's API."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ...calls.endpoint import CallLimits, ContentNeeds
from ...job.config import DeploymentConfig, NodepoolConfig
from ...records import Content
from ...rows.answer_rows import AnswerRows, ReadOptions
from ..over_grpc.address import ServerAddress
from .addresses import ModelAddress
from .answer.reader import OutputReader
from .request.binding import Binding
from .request.wire import EncodedInput, encode_input, request_envelope, stream_requests
from .session import GrpcSession

__all__ = ["ClarifaiEndpoint"]


@dataclasses.dataclass(frozen=True)
class ClarifaiEndpoint:
    """A method with its arguments bound, as plain data; see `calls.endpoint.Endpoint`.

    Attributes:
        server: where the API is served.
        model: what is called.
        binding: the method with its arguments.
        published: what the server takes at most.
        deployment: the dedicated deployment to send to.
        nodepool: the dedicated nodepool to send to.
        allow_plaintext: send a key unencrypted to another machine.
        version: the one that answers; "" when the server names none.
    """

    server: ServerAddress
    model: ModelAddress
    binding: Binding
    published: CallLimits
    deployment: DeploymentConfig | None = None
    nodepool: NodepoolConfig | None = None
    allow_plaintext: bool = False
    version: str = ""

    kind = "clarifai"

    @property
    def identity(self) -> str:
        """The model's URL."""
        return self.model.url

    @property
    def address(self) -> str:
        """The server's address."""
        return self.server.url

    @property
    def limits(self) -> CallLimits:
        """What the server takes at most; a stream is a call of its own."""
        unary = self.binding.method.type == "UNARY_UNARY"
        return dataclasses.replace(
            self.published,
            inputs=self.published.inputs if unary else 1,
            overhead_bytes=len(self._envelope),
        )

    @property
    def needs(self) -> ContentNeeds:
        """What the method's arguments take of an input."""
        fetched = self.binding.passes_uri and not self.server.is_loopback
        return ContentNeeds(
            self.binding.needs_content, self.binding.reference_columns, self.server.url if fetched else ""
        )

    @property
    def signature(self) -> str:
        """The method with its parameters and results."""
        return self.binding.method.signature_text

    def encoder(self) -> Callable[[Content], EncodedInput]:
        """The function that turns a content into its part of a request; it raises EncodeError."""
        binding = self.binding
        if binding.method.type != "STREAMING_STREAMING":
            return lambda content: encode_input(binding, content)
        envelope = self._envelope

        def encode_stream(content: Content) -> EncodedInput:
            messages = stream_requests(binding, envelope, content)
            return EncodedInput(tuple(messages), sum(map(len, messages)))

        return encode_stream

    async def open(self, timeout: float) -> GrpcSession:
        """Open a channel, with the key of this process's environment.

        Raises:
            CredentialsError: the key would travel unencrypted.
        """
        return GrpcSession(
            self.server,
            self._envelope,
            self.binding.method.type,
            timeout,
            allow_plaintext=self.allow_plaintext,
        )

    def reader(self, options: ReadOptions, rows: AnswerRows) -> OutputReader:
        """The reader that writes `Output` messages to rows."""
        return OutputReader(self.binding.method, options, rows)

    @property
    def _envelope(self) -> bytes:
        return request_envelope(
            self.model, deployment=self.deployment, nodepool=self.nodepool, binding=self.binding
        )
