"""The process of its own that a callable runs in: makes the model, and answers batch after batch."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import threading

from ...errors import JobError
from .model import Model

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Serve the process that started this one, until it closes the link.

    Args:
        descriptor: of the socket to it.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # an interrupt is for the job, which lets calls under way end
    threading.Thread(target=_end_with_parent, name="bulkinfer-parent", daemon=True).start()
    link = multiprocessing.connection.Connection(descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError):
        spec = link.recv()
        try:
            model = Model(spec)
        except JobError as error:
            link.send((type(error).__name__, str(error)))
            return
        link.send(None)
        while True:
            link.send(model.call(link.recv()))


def _end_with_parent() -> None:
    """End this process with the one that started it, even in the middle of a call."""
    while os.read(0, 65536):  # not by a file object, whose lock would be held when the interpreter ends
        pass
    os._exit(0)
