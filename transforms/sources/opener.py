"""Opens units of a source as lists of references, until the pass over the work ends and the rest is handed back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..records import Failure, Reference
from ..runs.chunks import MAX_CHUNK, evenly, from_chunk, to_chunk
from ..runs.control import JobControl
from .archives import Archive
from .manifests.files import Split
from .pieces import Completed, PieceReader, is_bounded
from .source import SourceSpec

__all__ = ["Left", "Opener"]


class Left(NamedTuple):
    """A unit that is handed back."""

    unit: Any


class Opener:
    """Opens the units of one bundle after another.

    Args:
        spec: from `inspect_source`.
        completed: leaves out what earlier runs finished, of units that are pieces of a manifest.
        step: most references in a list; between two of them it is asked whether the pass is over.
        parts: that a chunk is cut into when it is handed back.
        control: when the job stops, a unit is read no further; a later run does the rest.
    """

    def __init__(
        self,
        spec: SourceSpec,
        completed: Completed | None = None,
        *,
        step: int = MAX_CHUNK,
        parts: int = 1,
        control: JobControl | None = None,
    ) -> None:
        self._spec, self._completed, self._step, self._parts = spec, completed, step, parts
        self._control = control
        self._over: Callable[[], bool] = bool

    def begin(self, over: Callable[[], bool] = bool) -> None:
        """Begin a bundle.

        Args:
            over: tells whether what is not begun is handed back.
        """
        self._reader = PieceReader(self._spec, self._completed)
        self._over = over

    def open(self, unit: Any) -> Iterator[list[Reference] | Failure | Left]:
        """The references of a chunk, of an archive, or of a piece of the source."""
        if isinstance(unit, bytes):
            yield from self._while_it_lasts(list(from_chunk(unit)))
        elif self._over():
            yield Left(unit)
        else:
            for item in self._read(unit):
                if self._control is not None and self._control.stopped is not None:
                    return
                if isinstance(item, Failure):
                    yield item
                elif is_bounded(unit):
                    yield from self._while_it_lasts(item)
                else:
                    # The rest goes on here: too much content would have to cross a shuffle.
                    yield from self._steps(item)

    def _read(self, unit: Any) -> Iterator[list[Reference] | Failure]:
        """What a unit holds; of a piece of a listing also what the archives hold that lie there."""
        if isinstance(unit, Archive | Split):
            yield from self._reader.read(unit)
            return
        for item in self._reader.units(unit):
            if isinstance(item, Archive):
                yield from self._reader.read(item)
            else:
                yield item

    def _while_it_lasts(self, references: list[Reference]) -> Iterator[list[Reference] | Left]:
        """References until the pass is over; then the rest as chunks."""
        begun = 0
        for some in self._steps(references):
            if self._over():
                for part in evenly(references[begun:], self._parts):
                    yield Left(to_chunk(part))
                return
            yield some
            begun += len(some)

    def _steps(self, references: list[Reference]) -> Iterator[list[Reference]]:
        for first in range(0, len(references), self._step):
            yield references[first : first + self._step]
