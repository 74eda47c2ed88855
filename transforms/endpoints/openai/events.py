"""Server-sent events as bytes come in, https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["EventParser"]


class EventParser:
    """Cuts bytes into the data of events, wherever they are broken; names, ids and comments are left out."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of the events that are whole by now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._lines.append(line[5:].removeprefix(b" ").removesuffix(b"\r"))
            elif line in (b"", b"\r") and self._lines:
                yield b"\n".join(self._lines)
                self._lines = []
