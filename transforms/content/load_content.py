"""LoadContent: references -> their bytes, fetched ahead of the calls and never shuffled."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from ..errors import ReadError
from ..records import Content, Failure, Reference, failure_of
from ..runs.chunks import to_chunk
from ..runs.control import ControlSpec, JobControl
from ..runs.rebalance import WorkPass, WorkPassSpec
from ..storage.allowed import EVERYTHING, Allowed
from ..storage.filesystems import local_path
from ..windows import beside
from .faults import PassingReadError
from .fetch import Fetcher
from .media import MAX_PIXELS
from .prefetch import Prefetcher, process_budget

__all__ = ["FAILED", "LEFT", "LoadContent", "Loaded"]

FAILED = "failed"
LEFT = "left"


class Loaded(NamedTuple):
    """Inputs with their bytes, inputs whose bytes cannot be had, and inputs handed back, as chunks of references."""

    contents: beam.PCollection[Content]
    failures: beam.PCollection[Failure]
    left: beam.PCollection[bytes]


class LoadContent(beam.PTransform):
    """Fetch the content of each reference, several at once and ahead of what comes next.

    Every reference leaves in exactly one of the outputs, in any order, with its own timestamp and window.
    What is fetched stays in the process: keep the steps behind this one free of shuffles.

    Args:
        max_bytes: a larger content becomes a failure and is not fetched.
        storage: fsspec options of the source.
        idle_timeout: seconds without a byte after which an HTTP answer is given up.
        file_timeout: seconds that reading one remote file may take.
        max_pixels: a larger picture becomes a failure; None for no limit.
        turn: turn pictures upright by their EXIF orientation.
        allowed: what columns of references, redirects and names of hosts may lead to.
        by_url: do not fetch the input itself, for the server does ($uri).
        reference_columns: columns that hold references of their own, fetched like the content.
        base: the folder that relative references in those columns are relative to.
        prefetch: most inputs fetched ahead by one bundle.
        prefetch_bytes: most bytes fetched ahead in one process.
        control: when the job stops, further inputs are dropped silently; a later run does them.
        work_pass: when it is over, further inputs are handed back; see `runs.rebalance`.
    """

    def __init__(
        self,
        max_bytes: int = 128_000_000,
        storage: Mapping[str, Any] | None = None,
        *,
        idle_timeout: float = 30.0,
        file_timeout: float = 300.0,
        max_pixels: int | None = MAX_PIXELS,
        turn: bool = False,
        allowed: Allowed = EVERYTHING,
        by_url: bool = False,
        reference_columns: tuple[str, ...] = (),
        base: str = "",
        prefetch: int = 64,
        prefetch_bytes: int = 128 << 20,
        control: ControlSpec | None = None,
        work_pass: WorkPassSpec | None = None,
    ) -> None:
        super().__init__()
        self._options = _Options(
            max_bytes,
            dict(storage or {}),
            idle_timeout,
            file_timeout,
            max_pixels,
            turn,
            allowed,
            by_url,
            tuple(reference_columns),
            base,
            prefetch,
            prefetch_bytes,
            control,
            work_pass,
        )

    def expand(self, references: beam.PCollection[Reference]) -> Loaded:
        loaded = references | "Fetch" >> beam.ParDo(_LoadFn(self._options)).with_outputs(
            FAILED, LEFT, main="contents"
        )
        return Loaded(loaded.contents, loaded[FAILED], loaded[LEFT])


@dataclasses.dataclass(frozen=True)
class _Options:
    max_bytes: int
    storage: Mapping[str, Any] = dataclasses.field(repr=False)  # it may hold secrets
    idle_timeout: float
    file_timeout: float
    max_pixels: int | None
    turn: bool
    allowed: Allowed
    by_url: bool
    reference_columns: tuple[str, ...]
    base: str
    prefetch: int
    prefetch_bytes: int
    control: ControlSpec | None
    work_pass: WorkPassSpec | None


class _Pace:
    """Whether local files are read as fast as memory, so that threads would only get into each other's way.

    100 kB from the page cache take 30 us and a switch of threads as much again: reading at once saved a fifth of
    a worker's CPU an image and 100 MB of what waited. A disk or a mount that takes its time gets the threads, and
    is tried again after some inputs. The median of a few reads tells, because a thread that waits for the
    interpreter's lock looks like a slow disk now and then.
    """

    SLOW_S, READS, TRY_AGAIN_AFTER = 0.001, 9, 64

    def __init__(self) -> None:
        self._took: deque[float] = deque([0.0] * self.READS, maxlen=self.READS)
        self._wait = 0

    @property
    def is_fast(self) -> bool:
        """Read the next one at once; asked once for each input."""
        self._wait -= 1
        return self._wait < 0

    def took(self, seconds: float) -> None:
        """A read at once took so long."""
        self._took.append(seconds)
        if sorted(self._took)[self.READS // 2] >= self.SLOW_S:
            self._wait = self.TRY_AGAIN_AFTER


class _LoadFn(beam.DoFn):
    """Hands references to threads; what they finish leaves with later elements or at the bundle's end."""

    def __init__(self, options: _Options) -> None:
        super().__init__()
        self._options = options
        self._ahead: Prefetcher[Any] | None = None
        self._pace = _Pace()

    def setup(self) -> None:
        options = self._options
        self._fetcher = Fetcher(
            max_bytes=options.max_bytes,
            storage=options.storage,
            by_url=options.by_url,
            reference_columns=options.reference_columns,
            base=options.base,
            idle=options.idle_timeout,
            timeout=options.file_timeout,
            max_pixels=options.max_pixels,
            turn=options.turn,
            allowed=options.allowed,
        )

    def start_bundle(self) -> None:
        self.teardown()  # a bundle that failed left its fetches behind
        options = self._options
        self._control = JobControl.shared(options.control) if options.control is not None else None
        self._pass = WorkPass.shared(options.work_pass) if options.work_pass is not None else None
        self._ahead = Prefetcher(
            self._fetcher.content, count=options.prefetch, budget=process_budget(options.prefetch_bytes)
        )

    def process(self, reference: Reference, source: Any = beam.DoFn.WindowedValueParam) -> Iterator[Any]:
        return beside(source, self._load(reference, source))

    def _load(self, reference: Reference, source: Any) -> Iterator[Any]:
        assert self._ahead is not None
        if self._stopped():
            return
        # Content that comes with its reference is handed back by OpenUnits, or not at all.
        if self._is_over and reference.inline is None:
            yield self._left(source, reference)
            return
        if self._held(reference):
            # Handing it to a thread would take several times as long as the rest of its way.
            yield self._output(source, reference, self._read(reference))
            return
        if self._is_local(reference) and self._pace.is_fast:
            started = time.perf_counter()
            result = self._read(reference)
            self._pace.took(time.perf_counter() - started)
            yield self._output(source, reference, result)
            for item in self._ahead.finished():
                yield self._output(*item)
            return
        for item in self._ahead.submit(source, reference):
            yield self._output(*item)

    def finish_bundle(self) -> Iterator[Any]:
        assert self._ahead is not None
        if self._stopped():
            return
        for item in self._ahead.drain():
            yield self._output(*item)

    def teardown(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    def _held(self, reference: Reference) -> bool:
        """Nothing of the input is read from a store."""
        return reference.inline is not None and not self._options.reference_columns

    def _is_local(self, reference: Reference) -> bool:
        options = self._options
        return not (options.by_url or options.reference_columns or local_path(reference.uri or "") is None)

    def _read(self, reference: Reference) -> Content | ReadError:
        try:
            return self._fetcher.content(reference)
        except ReadError as error:
            return error

    def _stopped(self) -> bool:
        if self._control is None or self._control.stopped is None:
            return False
        if self._ahead is not None:
            self._ahead.cancel()
        return True

    @property
    def _is_over(self) -> bool:
        return self._pass is not None and self._pass.over

    def _left(self, source: Any, reference: Reference) -> Any:
        return TaggedOutput(LEFT, source.with_value(to_chunk([reference])))

    def _output(self, source: Any, reference: Reference, result: Content | ReadError) -> Any:
        if isinstance(result, Content):
            if self._is_over and reference.inline is None:
                return self._left(source, reference)  # fetched ahead for nothing; a call would take longer
            return source.with_value(result)
        if self._control is not None:
            self._control.record(finished=1, failed=1)
        if reference.inline is not None:
            reference = dataclasses.replace(reference, inline=None)  # an error row holds no content
        failure = failure_of(reference, result, retryable=isinstance(result, PassingReadError))
        return TaggedOutput(FAILED, source.with_value(failure))
