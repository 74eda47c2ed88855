"""The address of a server of the protocol."""

from __future__ import annotations

from ...errors import ConfigError
from ..over_grpc.address import ServerAddress, shown, split_url

__all__ = ["parse_server"]

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
