"""LoadContent: references -> their bytes, fetched ahead of the calls and never shuffled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from ..records import Content, Failure, Reference
from ..runs.control import ControlSpec, JobControl
from ..storage.allowed import EVERYTHING, Allowed
from ..windows import beside
from .loader import Loaded, Loader, LoadOptions
from .media import MAX_PIXELS

__all__ = ["FAILED", "Contents", "LoadContent"]

FAILED = "failed"


class Contents(NamedTuple):
    """Inputs with their bytes, and inputs whose bytes cannot be had."""

    contents: beam.PCollection[Content]
    failures: beam.PCollection[Failure]


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
        max_side: pixels of the longer side above which pictures are made smaller; None for no limit.
        allowed: what columns of references, redirects and names of hosts may lead to.
        by_url: do not fetch the input itself, for the server does ($uri).
        reference_columns: columns that hold references of their own, fetched like the content.
        base: the folder that relative references in those columns are relative to.
        prefetch: most inputs fetched ahead by one bundle.
        prefetch_bytes: most bytes fetched ahead in one process.
        control: when the job stops, further inputs are dropped silently; a later run does them.
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
        max_side: int | None = None,
        allowed: Allowed = EVERYTHING,
        by_url: bool = False,
        reference_columns: tuple[str, ...] = (),
        base: str = "",
        prefetch: int = 64,
        prefetch_bytes: int = 128 << 20,
        control: ControlSpec | None = None,
    ) -> None:
        super().__init__()
        self._options = LoadOptions(
            max_bytes,
            dict(storage or {}),
            idle_timeout,
            file_timeout,
            max_pixels,
            turn,
            max_side,
            allowed,
            by_url,
            tuple(reference_columns),
            base,
            prefetch,
            prefetch_bytes,
        )
        self._control = control

    def expand(self, references: beam.PCollection[Reference]) -> Contents:
        loaded = references | "Fetch" >> beam.ParDo(_LoadFn(self._options, self._control)).with_outputs(
            FAILED, main="contents"
        )
        return Contents(loaded.contents, loaded[FAILED])


class _LoadFn(beam.DoFn):
    """Hands references to a loader; what it finishes leaves with later elements or at the bundle's end."""

    def __init__(self, options: LoadOptions, control: ControlSpec | None) -> None:
        super().__init__()
        self._options, self._control = options, control
        self._loader: Loader | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_loader": None}

    def setup(self) -> None:
        control = JobControl.shared(self._control) if self._control is not None else None
        self._loader = Loader(self._options, control)

    def start_bundle(self) -> None:
        assert self._loader is not None
        self._loader.begin()

    def process(self, reference: Reference, source: Any = beam.DoFn.WindowedValueParam) -> Iterator[Any]:
        assert self._loader is not None
        loaded = self._loader.load([reference], [source.with_value(None)])
        return beside(source, map(_output, itertools.chain.from_iterable(loaded)))

    def finish_bundle(self) -> Iterator[Any]:
        assert self._loader is not None
        return map(_output, itertools.chain.from_iterable(self._loader.finish()))

    def teardown(self) -> None:
        if self._loader is not None:
            self._loader.close()


def _output(loaded: Loaded) -> Any:
    source, value = loaded
    windowed = source.with_value(value)
    return TaggedOutput(FAILED, windowed) if isinstance(value, Failure) else windowed
