"""The system's Chromium, in which the tests look at pages as a person would."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Opened", "browser", "opened"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium; the tests that want one are skipped where none is installed."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(
            "NO BROWSER: the report was looked at by nobody. Install Chromium (Debian: apt-get install chromium) and "
            "run the tests again"
        )
    from playwright.sync_api import sync_playwright

    # A container's root has no user namespace to put Chromium's own sandbox into.
    arguments = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield running
        finally:
            running.close()


@dataclasses.dataclass
class Opened:
    """An open page, and what a person would find in the developer's tools.

    Attributes:
        page: Playwright's.
        said: messages on the console and errors of scripts.
        asked: addresses that were asked for, besides the page itself.
    """

    page: Any
    said: list[str]
    asked: list[str]


@contextlib.contextmanager
def opened(
    running: Any, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light", **options: Any
) -> Iterator[Opened]:
    """A page of a file in a window of its own."""
    context = running.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    page = context.new_page()
    found = Opened(page, [], [])
    page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.asked.append(request.url))
    page.goto(path.as_uri())
    found.asked = [url for url in found.asked if url != path.as_uri() and not url.startswith("data:")]
    try:
        yield found
    finally:
        context.close()
