"""The bearer token that a server may want, read from the environment of each worker."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from ..errors import CredentialsError
from .over_grpc.address import ServerAddress

__all__ = ["Token"]


@dataclasses.dataclass(frozen=True)
class Token:
    """A bearer token of this process's environment; it never shows, and never pickles.

    Attributes:
        variable: that holds it; None where the job names none.
    """

    variable: str | None
    value: str = dataclasses.field(default="", repr=False)

    @classmethod
    def of(cls, variable: str | None, server: ServerAddress, *, allow_plaintext: bool) -> Token:
        """Read the token.

        Raises:
            CredentialsError: the variable is not set, or the token would travel unencrypted.
        """
        if variable is None:
            return cls(None)
        value = os.environ.get(variable, "").strip()
        if not value:
            raise CredentialsError(
                f"model.key_env: the environment variable {variable} is not set; export it"
            )
        if not server.tls and not server.is_loopback and not allow_plaintext:
            raise CredentialsError(
                f"model.endpoint: {server.url} is not encrypted and not this machine, so the key in {variable} would "
                "be readable on the way; write an address with TLS (https:// or grpcs://), or set "
                "model.allow_plaintext: true"
            )
        return cls(variable, value)

    def __reduce__(self) -> Any:
        raise TypeError("a token does not travel; each worker reads its own environment")

    def headers(self) -> dict[str, str]:
        """The headers of a call, as HTTP and gRPC have them."""
        return {"authorization": f"Bearer {self.value}"} if self.value else {}

    def mask(self, text: str) -> str:
        """The text without the token, should a server repeat it."""
        return text.replace(self.value, "***") if self.value else text
