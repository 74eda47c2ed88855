"""The one way to stderr of a running job: above the bar where a terminal shows one, else a plain line."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["LineHandler", "behind_bar", "say"]

_bars: list[Console] = []


def say(line: str) -> None:
    """Write a line to stderr, above the bar if there is one; a terminal that is gone is no fault."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: stderr was closed
        if _bars:
            # The terminal wraps: cut into lines of its width, a path could not be copied.
            _bars[-1].print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)  # noqa: T201  (for a person)


@contextlib.contextmanager
def behind_bar(console: Console) -> Iterator[None]:
    """Send lines through the console of a bar until the block ends, so that neither overwrites the other."""
    _bars.append(console)
    try:
        yield
    finally:
        _bars.remove(console)


class LineHandler(logging.Handler):
    """Writes a log's records by `say`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            say(self.format(record))
        except Exception:  # noqa: BLE001  (as every handler of `logging`: a bad record must not end a job)
            self.handleError(record)
