"""Keeps calls to a model in flight: one engine for each process and model, used by all its DoFn instances.

A background thread runs an asyncio loop with the endpoint's session, the limiter and one task a batch. Each DoFn
instance has a submitter: it hands batches in, and takes finished results out, from its own thread. Batches enter while
there is capacity, by number and by bytes; a few wait behind those that are being called, so that the endpoint never
waits for the bundle's thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from ..errors import JobError
from ..metrics import Metrics, process_metrics
from ..records import Failure, Prediction
from ..runs.control import ControlSpec, JobControl
from .batch_sender import BatchSender
from .batching import Item
from .endpoint import Fault, stopping_error
from .limits.choose import limiter_for
from .limits.divided import DividedLimits, part_of
from .limits.local import LocalLimiter
from .limits.message_size import MessageLimit
from .limits.spending import Spending
from .limits.tokens import TokenLimit
from .loop import engine_loop
from .model_call import ModelCall
from .settings import Settings
from .submissions import Capacity, Submission, Submitter

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Seconds that an unused engine stays open: its limits must outlive the pause between two bundles.
LINGER_S = 3.0
POLL_S = 0.2


class Engine:
    """Calls one model for all DoFn instances of a process.

    Args:
        call: the endpoint and the limits of calls.
        control: stops the job; by default a flag that this engine alone sees.
        metrics: counters; by default the process's.

    Raises:
        CredentialsError: the key would travel unencrypted.
    """

    _shared: dict[object, tuple[Engine, int]] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(
        self, call: ModelCall, control: JobControl | None = None, metrics: Metrics | None = None
    ) -> None:
        self.call = call
        self.control = control or JobControl()
        self.control.limits, self.control.workers = call.stop, call.workers
        self.metrics = metrics or process_metrics()
        self.changed = threading.Condition()
        self._capacity = Capacity(call.calls.in_flight, int(call.calls.in_flight_bytes))
        self._submissions: set[Submission] = set()
        self._closed = False
        self._key: object = call.token
        #: Sets this process's part of the rate limits; None where none is divided among workers.
        self.limits: DividedLimits | None = None
        self._on_loop(self._open())

    @classmethod
    def shared(cls, call: ModelCall, control: ControlSpec | None = None) -> Engine:
        """The process's engine for this call, opened when first asked for; each `shared` needs one `release`."""
        key = (call.token, control.output_uri, control.run_id) if control else call.token
        with cls._shared_lock:
            engine, users = cls._shared.get(key, (None, 0))
            if engine is not None and not users and engine.control.stopped:
                engine.close()  # left open by a run that stopped; this is another run
                engine = None
            if engine is None:
                engine = cls(call, JobControl.shared(control) if control else None)
                engine._key = key
            cls._shared[key] = (engine, users + 1)
            return engine

    def release(self) -> None:
        """Give a shared engine back; it closes unless it is asked for again within `LINGER_S`."""
        with self._shared_lock:
            engine, users = self._shared[self._key]
            self._shared[self._key] = (engine, users - 1)
        if users <= 1:
            timer = threading.Timer(LINGER_S, self._close_if_unused)
            timer.daemon = True
            timer.start()

    def open_submitter(self) -> Submitter:
        """The access of one DoFn instance to this engine."""
        return Submitter(self)

    def close(self) -> None:
        """Cancel everything and close the channel."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(concurrent.futures.TimeoutError):
                self._on_loop(self._shut(), timeout=5.0)

    def admit(self, submitter: Submitter, items: Sequence[Item]) -> bool:
        """Take a batch in if there is capacity; what `Submitter.submit` does."""
        nbytes = sum(item.encoded.nbytes for item in items)
        with self.changed:
            if not self._capacity.enter(nbytes):
                return False
            submission = Submission(submitter, items, nbytes)
            submitter.entered(submission)
        engine_loop().call_soon_threadsafe(self._start, submission)
        return True

    def cancel(self, submitter: Submitter) -> None:
        """Cancel a submitter's batches; what `Submitter.cancel` does."""
        with self.changed:
            submissions = submitter.forget()
        if submissions:
            engine_loop().call_soon_threadsafe(self._cancel, submissions)

    # The methods from here to `_watch` run on the loop.

    async def _open(self) -> None:
        endpoint, calls, workers = self.call.endpoint, self.call.calls, self.call.workers
        self._session = await endpoint.open(calls.timeout)
        limiter = limiter_for(calls, workers)
        tokens = TokenLimit(part_of(calls.tokens_per_minute, workers), self.call.answer_tokens)
        if (
            workers > 1
            and isinstance(limiter, LocalLimiter)
            and (calls.calls_per_second or calls.inputs_per_second or calls.tokens_per_minute)
        ):
            self.limits = DividedLimits(limiter, tokens, calls, workers, asyncio.get_running_loop())
        self._settings = Settings(
            session=self._session,
            sizes=MessageLimit(endpoint.limits.overhead_bytes),
            limiter=limiter,
            slots=asyncio.Semaphore(calls.in_flight),
            metrics=self.metrics,
            timeout=calls.timeout,
            retry_for=calls.retry_for,
            model_version=endpoint.version,
            abort=self._abort,
            budget=self.control,
            spending=Spending(self.call.stop, workers, lambda text: self.control.stop("budget", text)),
            tokens=tokens,
        )
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _shut(self) -> None:
        self._watcher.cancel()
        tasks = [submission.task for submission in self._submissions if submission.task is not None]
        self._cancel(list(self._submissions))
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._settings.limiter.close()
        await self._session.close()

    def _start(self, submission: Submission) -> None:
        sender = BatchSender(
            submission.items, self._settings, lambda results: self._emit(submission, results)
        )
        submission.sender = sender
        submission.task = asyncio.get_running_loop().create_task(sender.run())
        self._submissions.add(submission)
        submission.task.add_done_callback(lambda task: self._end(submission, task))
        if self._drops_waiting or submission.generation != submission.submitter.generation:
            submission.task.cancel()

    def _emit(self, submission: Submission, results: Sequence[tuple[Item, Prediction | Failure]]) -> None:
        failed = 0
        for item, value in results:
            item.has_result = True
            failed += isinstance(value, Failure)
        self.metrics.add(inputs_done=len(results) - failed, inputs_failed=failed)
        with self.changed:
            submission.submitter.finished(submission, [(item.token, value) for item, value in results])
            self.changed.notify_all()
        self.control.record(finished=len(results), failed=failed)
        if self._drops_waiting:
            self._cancel_waiting()

    def _end(self, submission: Submission, task: asyncio.Task[None]) -> None:
        self._submissions.discard(submission)
        without_result = sum(not item.has_result for item in submission.items)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, JobError):
            self.control.stop("fatal", str(error), error)
            self._cancel_waiting()
        elif error is not None:
            logger.error("a batch broke the engine: inputs=%d", without_result, exc_info=error)
            self.control.stop("fatal", f"a fault of bulkinfer itself: {type(error).__name__}: {error}")
        self.metrics.add(inputs_dropped=without_result)
        with self.changed:
            self._capacity.leave(submission.nbytes)
            submission.submitter.left(submission, without_result)
            self.changed.notify_all()
        # The submission and its sender refer to each other; contents must be freed without the garbage collector.
        submission.items, submission.sender, submission.task = (), None, None

    def _abort(self, fault: Fault) -> None:
        endpoint = self.call.endpoint
        error = stopping_error(fault, f"{endpoint.address} {endpoint.identity}")
        self.control.stop("fatal", str(error), error)
        self._cancel_waiting()

    def _cancel(self, submissions: Sequence[Submission]) -> None:
        for submission in submissions:
            if submission.task is not None:
                submission.task.cancel()

    def _cancel_waiting(self) -> None:
        # A call under way is paid for, so its answer is awaited; everything else of a stopped job ends at once.
        self._cancel([one for one in self._submissions if one.sender is None or not one.sender.in_call])

    async def _watch(self) -> None:
        while True:
            if self._drops_waiting:
                self._cancel_waiting()
            await asyncio.sleep(POLL_S)

    @property
    def _drops_waiting(self) -> bool:
        stopped = self.control.stopped
        return stopped is not None and stopped.drops_waiting

    def _close_if_unused(self) -> None:
        with self._shared_lock:
            engine, users = self._shared.get(self._key, (None, 0))
            if engine is not self or users:
                return
            del self._shared[self._key]
        self.close()

    def _on_loop(self, work: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, engine_loop()).result(timeout)
