"""Blocks of the pages that users read, and the job files that are shipped."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from support.paths import ROOT

__all__ = ["PAGES", "SHIPPED", "Block", "blocks"]

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHIPPED = [
    path
    for path in sorted((ROOT / "configs").rglob("*.yaml"))
    if "\nmodel:" in "\n" + path.read_text("utf-8")
]
_FENCED = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)*(?:^ {4}.*\n)", re.MULTILINE)


class Block(NamedTuple):
    """A block of code: its page, the line that it begins in, its language ("" where it is indented), its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    """All blocks of code of all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _FENCED.finditer(text):
            yield _block(page, text, found.start(2), found[1], found[2])
        # Of the same length, so that lines stay where they are.
        rest = _FENCED.sub(lambda found: re.sub(r"[^\n]", "#", found[0]), text)
        for found in _INDENTED.finditer(rest):
            yield _block(page, text, found.start(), "", found[0])


def _block(page: Path, text: str, start: int, language: str, code: str) -> Block:
    blank = len(code) - len(code.lstrip("\n"))
    return Block(page, text.count("\n", 0, start + blank) + 1, language, textwrap.dedent(code).strip("\n"))
