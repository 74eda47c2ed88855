"""Shows a run's progress on stderr: a bar in a terminal, else what runs, and a plain line every 30 seconds."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator

from .console import behind_bar, say

__all__ = ["ProgressSnapshot", "show_progress"]

logger = logging.getLogger(__name__)

_LINE_EVERY_S = 30.0
_BAR_EVERY_S = 0.25


@dataclasses.dataclass(frozen=True)
class ProgressSnapshot:
    """Counts at one moment of a run; finished = succeeded + failed.

    Attributes:
        in_flight: calls in flight; None where workers are other processes.
        waits_for_store: calls are held up, because the output's store takes nothing.
        makes_model: a callable is being made, which may take minutes.
    """

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    retries: int = 0
    in_flight: int | None = None
    waits_for_store: bool = False
    makes_model: bool = False


@contextlib.contextmanager
def show_progress(
    snapshot: Callable[[], ProgressSnapshot], total: Callable[[], int | None], what: str
) -> Iterator[None]:
    """Show `snapshot()` until the block ends.

    Args:
        what: what runs, for the first line of a log.
        snapshot: reads the counts; called from a thread of its own.
        total: inputs of the source; None while they are still being counted, or unknown.
    """
    stop = threading.Event()
    show = _bar
    if not sys.stderr.isatty():
        show = _lines
        say(what)
    thread = threading.Thread(target=show, args=(snapshot, total, stop), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def _lines(
    snapshot: Callable[[], ProgressSnapshot], total: Callable[[], int | None], stop: threading.Event
) -> None:
    rate = _Rate()
    while not stop.wait(_LINE_EVERY_S):
        say(describe(snapshot(), total(), rate))


def _bar(
    snapshot: Callable[[], ProgressSnapshot], total: Callable[[], int | None], stop: threading.Event
) -> None:
    from rich.console import Console  # noqa: PLC0415  (only a terminal needs it)
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    rate = _Rate()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True) as progress, behind_bar(console):
        task = progress.add_task("starting", total=None)
        while not stop.wait(_BAR_EVERY_S):
            counts, inputs = snapshot(), total()
            done = counts.succeeded + counts.failed + counts.skipped
            progress.update(task, description=describe(counts, inputs, rate), completed=done, total=inputs)


class _Rate:
    """Inputs a second over the last 30 seconds, so that the ETA follows the endpoint's current speed."""

    _WINDOW_S = 30.0

    def __init__(self) -> None:
        self._points: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def per_second(self, finished: int) -> float:
        now = time.monotonic()
        self._points.append((now, finished))
        while len(self._points) > 2 and now - self._points[1][0] > self._WINDOW_S:
            self._points.pop(0)
        then, before = self._points[0]
        return (finished - before) / (now - then) if now > then else 0.0


def describe(counts: ProgressSnapshot, total: int | None, rate: _Rate) -> str:
    """Format one line: inputs done, inputs a second, in flight, errors, retries, ETA."""
    finished = counts.succeeded + counts.failed
    per_second = rate.per_second(finished)
    done = finished + counts.skipped
    parts = [f"{done}/{total}" if total is not None else f"{done}", f"{per_second:.1f} inputs/s"]
    if counts.in_flight is not None:
        parts.append(f"{counts.in_flight} in flight")
    parts += [f"{counts.failed} errors", f"{counts.retries} retries"]
    if counts.skipped:
        parts.append(f"{counts.skipped} skipped")
    if counts.waits_for_store:
        parts.append("waiting for the output's store")
    if counts.makes_model:
        parts.append("setting up the model")
    if total is not None and per_second > 0:
        parts.append(f"ETA {_clock((total - done) / per_second)}")
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
