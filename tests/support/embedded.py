"""The embedded model server for tests: one for the whole test session, others with faults on request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bulkinfer.pipelines.embedded_server import EmbeddedServer, serve

__all__ = ["embedded_server", "port_of"]


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[EmbeddedServer]:
    """A running server that answers for any model and asks for no key."""
    with serve() as server:
        yield server


def port_of(server: EmbeddedServer) -> int:
    """The port in its address."""
    return int(server.endpoint.rsplit(":", 1)[1])
