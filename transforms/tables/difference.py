"""What a run would find to do: the inputs of a source compared with what earlier runs left in its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..records import Failure, Reference
from ..runs.record import list_runs
from ..sources.archives import Budget
from ..sources.pieces import PieceReader, count_source, first_pieces
from ..sources.source import SourceSpec
from ..storage.store import Store
from .completed import CompletedIndex, CompletedSpec

__all__ = ["Difference", "Look", "compare"]

#: Failures of inputs that the source names all the same; others may hide one.
_NAMING = frozenset(
    {"duplicate_id", "long_partition", "not_allowed", "null_content", "null_uri", "other_media"}
)


@dataclasses.dataclass
class Difference:
    """The inputs of a source by what the next run does about them.

    Attributes:
        inputs: all of them.
        new: in no table.
        changed: done, but with other content, or for another model, version, method or arguments.
        outdated: of these, inputs in `predictions` by a job with another model, version, method or arguments.
        done: left out, and in `predictions`.
        touched: of `changed`, inputs with another time or etag, whose content is compared before they are sent.
        failed: left out, and in `errors`.
        unreadable: rows and files that name no input, each an `errors` row of every run.
        gone: in `predictions`, while the source names them no more; None where only a part of it was looked at.
        bytes: of what is to be done; None where the listing does not tell it.
        exact: false where archives are too many or too large to be looked at all.
    """

    inputs: int = 0
    new: int = 0
    changed: int = 0
    touched: int = 0
    outdated: int = 0
    done: int = 0
    failed: int = 0
    unreadable: int = 0
    gone: int | None = 0
    bytes: int | None = 0
    exact: bool = True

    @property
    def todo(self) -> int:
        """Inputs that the next run sends."""
        return self.new + self.changed


def compare(source: SourceSpec, completed: CompletedSpec) -> Difference:
    """Compare a source with its output, as the next run will; writes nothing.

    What a killed run made durable counts as done, because the next start begins by committing it.

    Raises:
        SourceError: the source cannot be listed or read.
        StoreError: an index of an earlier run cannot be read.
    """
    store = Store(completed.uri, completed.storage)
    if not list_runs(store):
        count = count_source(source)
        return Difference(count.inputs, new=count.inputs, bytes=count.bytes, exact=count.exact)
    return Look.at(source, completed).found


def _estimated(before: Difference, now: Difference, share: float) -> Difference:
    """What a piece adds to the figures, when only this share of it was looked at."""
    names = ("inputs", "new", "changed", "touched", "outdated", "done", "failed", "unreadable")
    grown = {
        name: getattr(before, name) + round((getattr(now, name) - getattr(before, name)) / share)
        for name in names
    }
    nbytes = None
    if now.bytes is not None and before.bytes is not None:
        nbytes = before.bytes + round((now.bytes - before.bytes) / share)
    return dataclasses.replace(now, **grown, bytes=nbytes, exact=False)


class Look:
    """Takes references as a run would, and keeps what they are.

    Args:
        index: of what is done.

    Attributes:
        found: the source's inputs, counted.
        named: marks of the index's rows whose inputs the source names.
        hiding: rows and files of the source that cannot be read, and may name an input.
    """

    def __init__(self, index: CompletedIndex) -> None:
        self.index = index
        self.found = Difference()
        self.named = index.none()
        self.hiding = 0
        self._predicted = 0

    @classmethod
    def at(cls, source: SourceSpec, completed: CompletedSpec, *, whole: bool = False) -> Look:
        """Look at a source.

        Args:
            whole: look into all archives, however many and large they are.

        Raises:
            SourceError: the source cannot be listed or read.
            StoreError: an index of an earlier run cannot be read.
        """
        store = Store(completed.uri, completed.storage)
        looked = cls(CompletedIndex.read(store, completed, uncommitted=True))
        for piece in first_pieces(source):
            budget = Budget() if source.limit is None and not whole else None
            before = dataclasses.replace(looked.found)
            for item in PieceReader(source, looked, budget).read(piece):
                if isinstance(item, Failure):
                    looked.fail(item)
            if budget is not None and not budget.exact:
                looked.found = _estimated(before, looked.found, budget.share)
        everything = source.limit is None and looked.found.exact
        looked.found.gone = looked.index.predicted - looked._predicted if everything else None
        return looked

    def remaining(self, references: list[Reference], _: Callable[[], bytes] | None = None) -> list[Reference]:
        """Count references; none of them is kept, for nobody does them."""
        division = self.index.divide(references, compare=False)
        found, kept = self.found, division.kept
        found.inputs += len(references)
        found.new += division.new
        found.changed += division.changed
        found.touched += division.touched
        found.outdated += division.outdated
        found.failed += division.failed
        found.done += len(references) - len(kept) - division.failed
        sizes = [one.size for one in kept if one.size is not None]
        if len(sizes) < len(kept):
            found.bytes = None
        elif found.bytes is not None:
            found.bytes += sum(sizes)
        self._predicted += division.predicted
        self.named[np.asarray(division.rows, np.int64)] = True
        return []

    def fail(self, failure: Failure) -> None:
        """Count a row or a file that gives no input."""
        self.found.inputs += 1
        self.found.unreadable += 1
        if failure.error_type in _NAMING:
            self.named[self.index.find(failure.reference.input_id)] = True
        else:
            self.hiding += 1

    def flush(self) -> None:
        """Keep nothing: a comparison writes nothing."""
