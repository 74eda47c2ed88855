"""One server of the OpenAI-compatible API for the test process, called by OpenAI's own client and by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve_http
from openai import OpenAI


@pytest.fixture(scope="session", name="server")
def server_fixture() -> Iterator[EmbeddedServer]:
    with serve_http(workers=1) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: EmbeddedServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.endpoint, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def http(server: EmbeddedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.endpoint, timeout=60) as client:
        yield client
