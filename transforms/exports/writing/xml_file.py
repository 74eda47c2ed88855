"""XML that is written element by element, whatever labels and names hold."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

__all__ = ["XmlFile"]

#: What XML 1.0 cannot say, not even by its number.
_NONE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)
_NOTE = "texts with signs that XML cannot hold, which stand as \N{REPLACEMENT CHARACTER}; coco keeps them"


class XmlFile:
    """A file of indented XML.

    Args:
        path: of the file.
        notes: where texts are counted that cannot be said in full.
    """

    def __init__(self, path: Path, notes: Counter[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._notes, self._depth = notes, 0
        self._file.write("<?xml version='1.0' encoding='utf-8'?>\n")

    def __enter__(self) -> XmlFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @contextlib.contextmanager
    def inside(self, name: str, attributes: Mapping[str, object] = {}) -> Iterator[None]:
        """An element that holds what is added in the block."""
        self._file.write(f"{' ' * self._depth}<{name}{self._said(attributes)}>\n")
        self._depth += 1
        yield
        self._depth -= 1
        self._file.write(f"{' ' * self._depth}</{name}>\n")

    def add(self, name: str, text: object = "", attributes: Mapping[str, object] = {}) -> None:
        """An element with a text, or with attributes alone."""
        self._file.write(f"{' ' * self._depth}<{name}{self._said(attributes)}>{self._clean(text)}</{name}>\n")

    def _said(self, attributes: Mapping[str, object]) -> str:
        return "".join(f' {name}="{self._clean(value)}"' for name, value in attributes.items())

    def _clean(self, value: object) -> str:
        text, count = _NONE.subn("\N{REPLACEMENT CHARACTER}", str(value))
        if count:
            self._notes[_NOTE] += 1
        return text.translate(_MARKS)
