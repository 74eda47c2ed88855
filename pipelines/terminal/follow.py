"""Follows a run's progress by this process's counters, or by the parts that remote workers have written."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator

from bulkinfer.transforms.errors import BulkinferError
from bulkinfer.transforms.metrics import process_metrics
from bulkinfer.transforms.preparation import Preparation
from bulkinfer.transforms.runs.parts import run_directory
from bulkinfer.transforms.sources.pieces import count_source
from bulkinfer.transforms.sources.source import SourceSpec
from bulkinfer.transforms.storage.faults import redact

from ..runners.options import workers_of
from .progress import ProgressSnapshot, show_progress

__all__ = ["follow"]

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def follow(job: Preparation) -> Iterator[None]:
    """Show the job's progress until the block ends."""
    here = workers_of(job.config.runner).shared_memory
    snapshot = _OwnCounters() if here else _PartsSoFar(job)
    with show_progress(snapshot, _Total(job.source), _what(job)):
        yield


def _what(job: Preparation) -> str:
    """Say in a line what runs, without the secrets that references may hold."""
    source, call = job.config.source, job.call.endpoint
    read = source.manifest or source.table or ", ".join(source.files or ())
    line = f"{call.signature} of {call.identity} at {call.address}: {read} -> {job.config.output.uri}"
    return redact(f"run {job.output.run_id}: {line}", {})


class _OwnCounters:
    """Reads progress from the counters of this process, since the run began."""

    def __init__(self) -> None:
        self._before = process_metrics().snapshot()

    def __call__(self) -> ProgressSnapshot:
        now = process_metrics().snapshot()
        grown = {name: value - self._before[name] for name, value in now.items()}
        return ProgressSnapshot(
            succeeded=grown["inputs_done"],
            failed=grown["inputs_failed"],
            skipped=grown["inputs_skipped"],
            retries=grown["retries"],
            in_flight=now["in_flight"],
            waits_for_store=now["waiting_for_store"] > 0,
            makes_model=now["waiting_for_model"] > 0,
        )


class _PartsSoFar:
    """Reads progress from the manifests of durable parts that other processes wrote, each once."""

    _EVERY = 8  # the bar asks four times a second; list the store every two seconds

    def __init__(self, job: Preparation) -> None:
        self._store = job.output.store()
        self._directory = f"{run_directory(job.output.run_id)}/parts"
        self._read: set[str] = set()
        self._asked = 0
        self._now = ProgressSnapshot()

    def __call__(self) -> ProgressSnapshot:
        self._asked += 1
        if self._asked % self._EVERY == 1:
            try:
                self._look()
            except (BulkinferError, FileNotFoundError, ValueError) as error:
                # The run itself reports a store that keeps failing.
                logger.debug("no progress this time: %s", type(error).__name__)
        return self._now

    def _look(self) -> None:
        for entry in self._store.files(self._directory):
            if entry.path in self._read:
                continue
            part = json.loads(self._store.read(entry.path))
            self._read.add(entry.path)
            self._now = ProgressSnapshot(
                succeeded=self._now.succeeded + part["predictions"],
                failed=self._now.failed + part["errors"],
                skipped=self._now.skipped + part["metrics"].get("inputs_skipped", 0),
                retries=self._now.retries + part["metrics"].get("retries", 0),
            )


class _Total:
    """The number of inputs in the source, counted in a thread; None until it is known."""

    def __init__(self, source: SourceSpec) -> None:
        self._total: int | None = None
        threading.Thread(target=self._count, args=(source,), name="count", daemon=True).start()

    def __call__(self) -> int | None:
        return self._total

    def _count(self, source: SourceSpec) -> None:
        try:
            self._total = count_source(source).inputs
        except BulkinferError as error:
            logger.debug("the source cannot be counted: %s", error)
