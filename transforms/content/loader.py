"""Loads the contents of references, ahead of the calls where a store takes its time; `LoadContent` without Beam."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ReadError
from ..records import Content, Failure, Reference, failure_of
from ..runs.control import JobControl
from ..storage.allowed import EVERYTHING, Allowed
from ..storage.filesystems import local_path
from .faults import PassingReadError
from .fetch import Fetcher
from .held_texts import held_texts
from .media import MAX_PIXELS
from .prefetch import Prefetcher, process_budget

__all__ = ["LoadOptions", "Loaded", "Loader"]

#: What became of a reference, beside the token that it came with; a bare reference was handed back.
Loaded = tuple[Any, "Content | Failure | Reference"]

#: Local files that are read together, before any of them is sent.
_TOGETHER, _TOGETHER_BYTES = 32, 4 << 20


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """How contents are loaded; plain data that pickles. Attributes as `LoadContent` has them."""

    max_bytes: int = 128_000_000
    storage: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)  # it may hold secrets
    idle_timeout: float = 30.0
    file_timeout: float = 300.0
    max_pixels: int | None = MAX_PIXELS
    turn: bool = False
    max_side: int | None = None
    allowed: Allowed = EVERYTHING
    by_url: bool = False
    reference_columns: tuple[str, ...] = ()
    base: str = ""
    prefetch: int = 64
    prefetch_bytes: int = 128 << 20

    def fetcher(self) -> Fetcher:
        """What fetches a single content."""
        return Fetcher(
            max_bytes=self.max_bytes,
            storage=self.storage,
            by_url=self.by_url,
            reference_columns=self.reference_columns,
            base=self.base,
            idle=self.idle_timeout,
            timeout=self.file_timeout,
            max_pixels=self.max_pixels,
            turn=self.turn,
            max_side=self.max_side,
            allowed=self.allowed,
        )


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


class Loader:
    """Loads contents for one bundle after another: `begin`, any number of `load`, `finish`; in one thread.

    When the job stops, further inputs are dropped silently; a later run does them.

    Args:
        options: how.
        control: tells whether the job stops, and counts inputs that failed; None outside a run.
    """

    def __init__(self, options: LoadOptions, control: JobControl | None = None) -> None:
        self._options, self._control = options, control
        self._fetcher = options.fetcher()
        self._ahead: Prefetcher[Any] | None = None
        self._over: Callable[[], bool] = bool
        self._pace = _Pace()

    def begin(self, over: Callable[[], bool] = bool) -> None:
        """Begin a bundle; one that failed left its fetches behind, which are cancelled.

        Args:
            over: tells whether what is not loaded yet is handed back.
        """
        self.close()
        options = self._options
        self._ahead = Prefetcher(
            self._fetcher.content, count=options.prefetch, budget=process_budget(options.prefetch_bytes)
        )
        self._over = over

    def load(self, references: Sequence[Reference], tokens: Sequence[Any]) -> Iterator[list[Loaded]]:
        """Load references, and yield what is there by now, of these and of earlier ones, several at once if quick.

        Args:
            tokens: one a reference; each comes back with what becomes of it.
        """
        assert self._ahead is not None
        if self._stopped():
            return
        if not self._options.reference_columns and all(one.inline is not None for one in references):
            # Handing these to a thread would take several times as long as the rest of their way.
            held = held_texts(references, self._options.max_bytes) or map(self._read, references)
            yield list(zip(tokens, held, strict=True))
            return
        quick: list[Loaded] = []
        nbytes = 0
        for token, one in zip(tokens, references, strict=True):
            if self._over() and one.inline is None:
                quick.append((token, one))
            elif self._is_held(one):
                quick.append((token, self._read(one)))
            elif self._is_local(one) and self._pace.is_fast:
                quick.append((token, self._timed(one)))
                nbytes += one.size or 0
            else:
                if quick:
                    yield quick
                    quick, nbytes = [], 0
                for item in self._ahead.submit(token, one):
                    yield [self._ended(*item)]
            if len(quick) >= _TOGETHER or nbytes >= _TOGETHER_BYTES:
                yield quick
                quick, nbytes = [], 0
        if quick:
            yield quick
        for item in self._ahead.finished():
            yield [self._ended(*item)]

    def finish(self) -> Iterator[list[Loaded]]:
        """Yield what is under way as it comes; then the bundle is over."""
        assert self._ahead is not None
        if not self._stopped():
            for item in self._ahead.drain():
                yield [self._ended(*item)]

    def close(self) -> None:
        """Give up what is under way."""
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    def _is_held(self, reference: Reference) -> bool:
        """Nothing of the input is read from a store."""
        return reference.inline is not None and not self._options.reference_columns

    def _is_local(self, reference: Reference) -> bool:
        options = self._options
        return not (options.by_url or options.reference_columns or local_path(reference.uri or "") is None)

    def _timed(self, reference: Reference) -> Content | Failure:
        started = time.perf_counter()
        result = self._read(reference)
        self._pace.took(time.perf_counter() - started)
        return result

    def _read(self, reference: Reference) -> Content | Failure:
        try:
            return self._fetcher.content(reference)
        except ReadError as error:
            return self._failed(reference, error)

    def _ended(self, token: Any, reference: Reference, result: Content | ReadError) -> Loaded:
        if not isinstance(result, Content):
            return token, self._failed(reference, result)
        if self._over() and reference.inline is None:
            return token, reference  # fetched ahead for nothing; a call would take longer
        return token, result

    def _failed(self, reference: Reference, error: ReadError) -> Failure:
        if self._control is not None:
            self._control.record(finished=1, failed=1)
        if reference.inline is not None:
            reference = dataclasses.replace(reference, inline=None)  # an error row holds no content
        return failure_of(reference, error, retryable=isinstance(error, PassingReadError))

    def _stopped(self) -> bool:
        if self._control is None or self._control.stopped is None:
            return False
        if self._ahead is not None:
            self._ahead.cancel()
        return True
