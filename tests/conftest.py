"""Shared by all tests: `support` is importable, and no test inherits the developer's own credentials or endpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_credentials_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLARIFAI_PAT", "CLARIFAI_SESSION_TOKEN", "CLARIFAI_API_BASE", "CLARIFAI_PAT_FILE"):
        monkeypatch.delenv(name, raising=False)
