"""Runs a job's work; on an interrupt calls in flight still finish, and a failure is reported with its cause.

The work runs in a thread of its own; a pipeline blocks SIGINT for whatever it starts, and `local_runner` keeps signals
from worker processes. The main thread waits for signals, and stops the job through its stop marker; every worker then
sends nothing further, waits for its calls in flight and closes its parts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from bulkinfer.transforms.errors import BulkinferError, JobError, StoppedError
from bulkinfer.transforms.runs.control import JobControl
from bulkinfer.transforms.runs.record import read_run
from bulkinfer.transforms.storage.faults import redact
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.recovery import stop_workers

from ..runners.checks import explained
from ..terminal.console import say

__all__ = ["execute"]


def execute(run: Callable[[], Mapping[str, int] | None], control: JobControl) -> Mapping[str, int] | None:
    """Run a job's work to its end; an interrupt stops it in order.

    Args:
        run: does the work.
        control: stopped by the first interrupt; a second one ends this process at once.

    Returns:
        What `run` returns.

    Raises:
        JobError: the work failed; with the error that the first worker reported, if any.
    """
    outcome = _Outcome()
    thread = threading.Thread(target=_run, args=(run, outcome), name="job", daemon=True)
    with _interrupts(control):
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
    control.poll()  # a worker on another host may have stopped the job since the last poll
    if control.stopped is not None and control.stopped.reason == "fatal":
        raise control.stopped.exception() from outcome.error
    if outcome.error is not None:
        _stop_workers(control)
        raise _explained(outcome.error) from outcome.error
    return outcome.counters


def _stop_workers(control: JobControl) -> None:
    """Stop the workers of a job that failed: when only its job server was lost, they still run in their cluster."""
    if control.spec is None:
        return
    store = Store(control.spec.output_uri, control.spec.storage)
    with contextlib.suppress(BulkinferError):  # the pipeline's own failure is the one to report
        record = read_run(store, control.spec.run_id)
        if record is not None and not record.committed:
            stop_workers(store, [record])


class _Outcome:
    """How the work ended."""

    def __init__(self) -> None:
        self.counters: Mapping[str, int] | None = None
        self.error: BaseException | None = None


def _run(run: Callable[[], Mapping[str, int] | None], outcome: _Outcome) -> None:
    try:
        outcome.counters = run()
    except BaseException as error:  # noqa: BLE001  (raised again by the main thread)
        outcome.error = error


@contextlib.contextmanager
def _interrupts(control: JobControl) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals, and that one belongs to the caller
        return

    def interrupted(number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if control.stopped is not None and control.stopped.reason == "interrupt":
            # Durable parts stay; the next start commits them.
            say(
                f"bulkinfer: {name} again: ended at once; the same command keeps what was durable, and does the rest"
            )
            os._exit(4)
        say(
            f"bulkinfer: {name}: calls under way come home, then the tables are written; once more ends it at once"
        )
        # Writing the marker may take a network request, which is too long for a signal handler.
        threading.Thread(
            target=control.stop, args=("interrupt", f"interrupted by {name}"), daemon=True
        ).start()

    before = {number: signal.signal(number, interrupted) for number in _stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopping_signals() -> list[signal.Signals]:
    signals = [signal.SIGINT, signal.SIGTERM]
    # A terminal that closes sends SIGHUP, unless `nohup` has it ignored: then the job is meant to go on.
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    return signals


def _explained(error: BaseException) -> BulkinferError:
    """Convert a runner's exception to one of our errors; Beam passes a worker's error on as a traceback's text."""
    if isinstance(error, BulkinferError):
        said, beams, _ = str(error).partition(" [while running")
        return type(error)(said) if beams and isinstance(error, JobError | StoppedError) else error
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    # "bulkinfer.transforms.errors.StoreError: message [while running 'Stage']"
    from bulkinfer.transforms import errors  # noqa: PLC0415

    for line in reversed(lines):
        name, colon, message = line.partition(": ")
        kind = getattr(errors, name.rpartition(".")[2], None) if colon else None
        if isinstance(kind, type) and issubclass(kind, JobError):
            return kind(message.partition(" [while running")[0])
    known = explained(str(error))
    if known is not None:
        return known
    return JobError(f"the pipeline failed: {_last_words(error)}; run again with -v for the whole traceback")


def _last_words(error: BaseException) -> str:
    """What an exception says, on one line; of the text of a traceback, what stands below its frames."""
    lines = str(error).rstrip().splitlines()
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
        text = " ".join(lines[frames[-1] + 1 :])
    else:
        text = ": ".join(filter(None, [type(error).__name__, " ".join(lines)]))
    return redact(" ".join(text.partition(" [while running")[0].split()), {})[:500]
