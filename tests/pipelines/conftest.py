"""Fixtures of the pipeline tests: one embedded server for the test process, because a start takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bulkinfer.pipelines.embedded.server import serve


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with serve() as server:
        yield server.endpoint
