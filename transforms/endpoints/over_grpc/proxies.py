"""Which proxy the environment puts between this process and a server, as gRPC's core reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .address import ServerAddress

__all__ = ["proxy_variable"]

#: In the order in which gRPC looks for them (`http_proxy_mapper.cc`), in lower case alone.
_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


def proxy_variable(server: ServerAddress, environment: Mapping[str, str] | None = None) -> str | None:
    """The name of the variable whose proxy the connections to a server take; None where they take none.

    Never its value, which may hold a password.
    """
    environment = os.environ if environment is None else environment
    name = next((name for name in _VARIABLES if environment.get(name)), None)
    if name is None or server.is_loopback:
        return None
    spared = environment.get("no_grpc_proxy") or environment.get("no_proxy") or ""
    hosts = [host.strip() for host in spared.split(",")]
    return None if any(host and server.host.endswith(host) for host in hosts) else name
