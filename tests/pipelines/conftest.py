"""One embedded server serves the whole test process: starting one costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bulkinfer.pipelines.embedded.server import serve


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with serve() as server:
        yield server.endpoint
