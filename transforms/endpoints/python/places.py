"""Where calls run: a thread of this process, or a process of its own that a thread talks to."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing.connection
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ... import errors
from ...calls.endpoint import Fault, Verdict
from ...errors import EndpointError, JobError
from .model import Done, Model, ModelSpec

__all__ = ["ChildModel", "Runner", "SharedModel", "Thread"]

T = TypeVar("T")
Batch = Sequence[Mapping[str, Any]]


class Thread:
    """A thread that does one thing after the other; it ends with the process, whatever it is doing."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="bulkinfer-python", daemon=True).start()

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do it; the future is of the running loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result, error = work(), None
            except BaseException as raised:  # noqa: BLE001  (told to whoever waits)
                result, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
                loop.call_soon_threadsafe(_settle, future, result, error)

        self._work.put(run)
        return future

    def end(self, last: Callable[[], object] = lambda: None) -> None:
        """End once all that was to do is done, and `last` as well."""
        self._work.put(last)
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class SharedModel:
    """The model of this process, which all threads call."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._model: Model | None = None

    def make(self) -> None:
        """Make the model unless it is made.

        Raises:
            JobError: it cannot be made.
        """
        with self._lock:
            self._model = self._model or Model(self._spec)

    @property
    def ready(self) -> bool:
        """The model is made."""
        return self._model is not None

    def call(self, batch: Batch) -> Done:
        """Call the model."""
        assert self._model is not None
        return self._model.call(batch)

    def kill(self) -> bool:
        """End the call under way, if that can be done; a thread cannot be ended."""
        return False

    def wait(self) -> None:
        """Nothing ends here."""


class ChildModel:
    """A model in a process of its own, which a thread of this one talks to."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._link: multiprocessing.connection.Connection | None = None

    @property
    def ready(self) -> bool:
        """The process lives, and its model is made."""
        return self._process is not None and self._process.poll() is None

    def make(self) -> None:
        """Start a process and wait until its model is made.

        Raises:
            JobError: it cannot be made, as the process says; or it ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # the process ends with this one, when its standard input does
                stdout=2,  # results of commands go to standard output, what a model prints does not
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._link = multiprocessing.connection.Connection(ours.detach())
        told = self._exchange(self._spec)
        if isinstance(told, Fault):
            raise EndpointError(f"model.callable: {self._spec.callee.name} cannot be made: {told.message}")
        if told is not None:
            name, message = told
            raise getattr(errors, name, JobError)(message)

    def call(self, batch: Batch) -> Done:
        """Call the model; a process that dies of it is the fault of the call."""
        done = self._exchange(list(batch))
        return Done(done) if isinstance(done, Fault) else done

    def kill(self) -> bool:
        """End the process, and with it the call under way."""
        if self._process is not None:
            self._process.kill()
        return True

    def wait(self) -> None:
        """Wait until the process has ended, and close what led to it."""
        if self._process is None or self._link is None:
            return
        self._process.wait()
        self._link.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _exchange(self, message: Any) -> Any:
        assert self._process is not None
        assert self._link is not None
        try:
            self._link.send(message)
            return self._link.recv()
        except (EOFError, OSError):
            self.wait()
            cause = _cause(self._process.returncode)
            return Fault(Verdict.SPLIT, "process_died", f"the process of the callable ended by {cause}")


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"signal {name}" + (", as the system does where memory runs out" if name == "SIGKILL" else "")


_PROGRAM = "import sys; from bulkinfer.transforms.endpoints.python import child; child.main(int(sys.argv[1]))"

Runner = SharedModel | ChildModel
