"""Keeps what runs on this machine out of the proxies that an environment names."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

__all__ = ["spare_loopback"]

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def spare_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Name loopback among the hosts without a proxy, for all libraries, and for the processes that start from here.

    Beam's workers, job servers and stores on this machine are reached by channels that are not ours to set up.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    for name in ("no_proxy", "no_grpc_proxy"):
        given = environment.get(name) or environment.get(name.upper()) or ""
        if name == "no_grpc_proxy" and not given:
            continue  # where it is not set, gRPC reads the other one
        hosts = [host.strip() for host in given.split(",") if host.strip()]
        environment[name] = ",".join([*hosts, *(host for host in _LOOPBACK if host not in hosts)])
