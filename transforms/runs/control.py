"""Why and how a whole job stops before its end, over all its workers.

A job stops for one of four reasons: an interrupt, too many errors, a spent budget, or a fault after which
nothing will ever work. The first worker that knows writes a marker beside the run's record; every other one
looks for it every two seconds. From then on no further input is sent, what is in flight comes home, and open
parts are closed: an input that was not sent is neither a prediction nor an error, and a later run does it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import threading
from collections.abc import Mapping
from typing import Any

from .. import errors
from ..errors import BulkinferError, JobError, StoreError
from ..job.config import StopConfig
from ..storage.store import Store

__all__ = ["ControlSpec", "JobControl", "StopReason"]

logger = logging.getLogger(__name__)

POLL_S = 2.0
#: The error ratio is not judged on fewer finished inputs than this.
LEAST_FINISHED = 100


@dataclasses.dataclass(frozen=True)
class ControlSpec:
    """Where a run keeps its stop marker; plain data that pickles.

    Attributes:
        output_uri: the job's output directory.
        storage: fsspec options of the output's store.
        run_id: the run.
    """

    output_uri: str
    storage: Mapping[str, Any] = dataclasses.field(repr=False)  # it may hold secrets
    run_id: str

    @property
    def marker(self) -> str:
        """The marker's path inside the output."""
        return f"_runs/{self.run_id}/stop.json"


@dataclasses.dataclass(frozen=True)
class StopReason:
    """Why a job stops.

    Attributes:
        reason: interrupt | error_ratio | budget | fatal.
        message: for the user: the fact and the fix.
        error: the class of the error in `errors` that a fatal stop raises.
    """

    reason: str
    message: str
    error: str = ""

    @property
    def drops_waiting(self) -> bool:
        """Inputs that wait to be sent are left to a later run; those within a budget are still sent."""
        return self.reason != "budget"

    def exception(self) -> JobError:
        """The error that a fatal stop raises."""
        kind = getattr(errors, self.error, JobError)
        return kind(self.message) if issubclass(kind, JobError) else JobError(self.message)


class JobControl:
    """One run's stop flag in this process, and the tally that error ratio and budget are judged by.

    Args:
        spec: where the marker lies; None for a flag that this process alone sees.
    """

    _shared: dict[tuple[str, str], JobControl] = {}  # noqa: RUF012  (guarded by _shared_lock)
    _shared_lock = threading.Lock()

    def __init__(self, spec: ControlSpec | None = None) -> None:
        self.spec = spec
        self._store = Store(spec.output_uri, spec.storage) if spec else None
        self._lock = threading.Lock()
        self._reason: StopReason | None = None
        self._set = threading.Event()
        self._finished = 0
        self._failed = 0
        self.workers = 1  #: that divide the budget among them
        self._admitted = 0
        self._sent = 0
        #: What the job's counts are judged by; set by the engine, so that faults of reading are judged too.
        self.limits: StopConfig | None = None

    @classmethod
    def shared(cls, spec: ControlSpec) -> JobControl:
        """The control of this run in this process, which looks for the marker from now on."""
        key = (spec.output_uri, spec.run_id)
        with cls._shared_lock:
            control = cls._shared.get(key)
            if control is None:
                control = cls._shared[key] = cls(spec)
                threading.Thread(target=control._watch, name="bulkinfer-control", daemon=True).start()
            return control

    @property
    def stopped(self) -> StopReason | None:
        """Why the job stops, None while it runs; cheap enough to ask for every input."""
        return self._reason

    def stop(self, reason: str, message: str, error: BulkinferError | None = None) -> None:
        """Stop the job, here at once and elsewhere within seconds. The first reason stands."""
        why = StopReason(reason, message, type(error).__name__ if error else "")
        with self._lock:
            if self._reason is not None:
                return
            self._reason = why
        self._set.set()
        logger.warning("the job stops: reason=%s %s", reason, message)
        if self._store is not None and self.spec is not None:
            try:
                self._store.write(self.spec.marker, json.dumps(dataclasses.asdict(why)).encode())
            except StoreError as fault:
                # Other workers then stop by their own faults or counts; this one must drain all the same.
                logger.warning("the stop marker could not be written: %s", fault)

    def wait(self, timeout: float) -> bool:
        """Wait until the job stops; False when it did not within `timeout` seconds."""
        return self._set.wait(timeout)

    def raise_if_fatal(self) -> None:
        """Raise the error that ended the job, when it was one after which nothing will work.

        Raises:
            JobError: of the class that the first worker saw.
        """
        if self._reason is not None and self._reason.reason == "fatal":
            raise self._reason.exception()

    def admit(self, inputs: int) -> int:
        """How many of so many further inputs the budget allows to hand to the engine, were each sent once."""
        with self._lock:
            allowed = int(min(inputs, self._budget - self._admitted))
            self._admitted += allowed
        self._stop_where_spent(inputs, allowed)
        return allowed

    def reserve(self, inputs: int) -> int:
        """How many of so many inputs the budget allows to send in a call now; they count as sent, retries as well."""
        with self._lock:
            allowed = int(min(inputs, self._budget - self._sent))
            self._sent += allowed
        self._stop_where_spent(inputs, allowed)
        return allowed

    @property
    def left(self) -> float:
        """Inputs that may still be sent, retries included."""
        return self._budget - self._sent

    @property
    def _budget(self) -> float:
        stop = self.limits
        return math.inf if stop is None or stop.inputs is None else stop.inputs // self.workers

    def _stop_where_spent(self, inputs: int, allowed: int) -> None:
        if allowed == inputs or self.limits is None:
            return
        workers = self.workers
        sent = "they are sent" if workers == 1 else f"one of {workers} workers has sent its part of them"
        self.stop(
            "budget",
            f"stop.inputs allows {self.limits.inputs} inputs, retries included, and {sent}; run the same command "
            "again for the next ones",
        )

    def record(self, *, finished: int, failed: int) -> None:
        """Count finished inputs, those that failed among them, and judge the error ratio by `limits`."""
        with self._lock:
            self._finished += finished
            self._failed += failed
            seen, bad = self._finished, self._failed
        stop = self.limits
        if stop is None or stop.error_ratio >= 1 or seen < LEAST_FINISHED or bad <= stop.error_ratio * seen:
            return
        self.stop(
            "error_ratio",
            f"{bad} of {seen} finished inputs failed, which is more than "
            f"stop.error_ratio={stop.error_ratio:g}; look into the errors table, mend what is wrong there, "
            "or raise stop.error_ratio",
        )

    def poll(self) -> StopReason | None:
        """Look for another worker's marker now."""
        if self._reason is None and self._store is not None and self.spec is not None:
            try:
                why = StopReason(**json.loads(self._store.read(self.spec.marker)))
            except FileNotFoundError:
                return None
            except (StoreError, ValueError, TypeError) as fault:
                logger.warning("the stop marker cannot be read: %s", fault)
                return None
            with self._lock:
                self._reason = self._reason or why
            self._set.set()
        return self._reason

    def close(self) -> None:
        """Forget this run in this process; its watcher ends."""
        if self.spec is not None:
            with self._shared_lock:
                self._shared.pop((self.spec.output_uri, self.spec.run_id), None)

    def _watch(self) -> None:
        while self._shared.get((self.spec.output_uri, self.spec.run_id)) is self if self.spec else False:
            if self.poll() is not None or self._set.wait(POLL_S):
                return
