"""The address of a server of the protocol, and the bearer token that it may want."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from ...errors import ConfigError, CredentialsError
from ..over_grpc.address import ServerAddress, shown, split_url

__all__ = ["Token", "parse_server"]

_SCHEMES = {"grpc": False, "http": False, "grpcs": True, "https": True}
_FORM = "grpc://HOST:PORT, or grpcs://HOST:PORT for TLS"


def parse_server(text: str) -> ServerAddress:
    """Read the address of a server.

    >>> parse_server("grpc://127.0.0.1:8001").target
    '127.0.0.1:8001'

    Raises:
        ConfigError: it is none, or does not say whether to use TLS.
    """
    parts = split_url(text.strip())
    if parts is None or not parts.hostname or parts.scheme not in _SCHEMES:
        raise ConfigError(f"model.endpoint: {shown(text)} is no address of a gRPC server; write {_FORM}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "model.endpoint: the address holds a user name or password; remove it, and name the variable of a bearer "
            "token in model.key_env"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"model.endpoint: {shown(text)} has more than a host and a port; write {_FORM}")
    tls = _SCHEMES[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServerAddress(f"{host}:{parts.port or (443 if tls else 8001)}", tls)


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
                "be readable on the way; write grpcs://, or set model.allow_plaintext: true"
            )
        return cls(variable, value)

    def __reduce__(self) -> Any:
        raise TypeError("a token does not travel; each worker reads its own environment")

    def metadata(self) -> tuple[tuple[str, str], ...] | None:
        """The headers of a call."""
        return (("authorization", f"Bearer {self.value}"),) if self.value else None

    def mask(self, text: str) -> str:
        """The text without the token, should a server repeat it."""
        return text.replace(self.value, "***") if self.value else text
