"""What a run would find to do: the inputs of a source compared with what earlier runs left in its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..records import Failure, Reference
from ..runs.record import list_runs
from ..sources.archives import Budget
from ..sources.pieces import PieceReader, count_source, first_pieces
from ..sources.source import SourceSpec
from ..storage.store import Store
from .completed import CompletedIndex, CompletedSpec

__all__ = ["Difference", "compare"]


@dataclasses.dataclass
class Difference:
    """The inputs of a source by what the next run does about them.

    Attributes:
        inputs: all of them.
        new: in no table.
        changed: done, but with other content, or for another model, version, method or arguments.
        done: left out, and in `predictions`.
        touched: of these, inputs with another time or etag, whose content is compared before they are sent.
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
    looked = _Look(CompletedIndex.read(store, completed, uncommitted=True))
    for piece in first_pieces(source):
        budget, before = Budget() if source.limit is None else None, dataclasses.replace(looked.found)
        for item in PieceReader(source, looked, budget).read(piece):
            if isinstance(item, Failure):
                looked.found.inputs += 1
                looked.found.unreadable += 1
        if budget is not None and not budget.exact:
            looked.found = _estimated(before, looked.found, budget.share)
    whole = source.limit is None and looked.found.exact
    looked.found.gone = looked.index.predicted - looked.predicted if whole else None
    return looked.found


def _estimated(before: Difference, now: Difference, share: float) -> Difference:
    """What a piece adds to the figures, when only this share of it was looked at."""
    names = ("inputs", "new", "changed", "touched", "done", "failed", "unreadable")
    grown = {
        name: getattr(before, name) + round((getattr(now, name) - getattr(before, name)) / share)
        for name in names
    }
    nbytes = None
    if now.bytes is not None and before.bytes is not None:
        nbytes = before.bytes + round((now.bytes - before.bytes) / share)
    return dataclasses.replace(now, **grown, bytes=nbytes, exact=False)


class _Look:
    """Takes references as a run would, and keeps what they are."""

    def __init__(self, index: CompletedIndex) -> None:
        self.index = index
        self.found = Difference()
        self.predicted = 0

    def remaining(self, references: list[Reference], _: Callable[[], bytes] | None = None) -> list[Reference]:
        """Count references; none of them is kept, for nobody does them."""
        division = self.index.divide(references, compare=False)
        found, kept = self.found, division.kept
        found.inputs += len(references)
        found.new += division.new
        found.changed += division.changed
        found.touched += division.touched
        found.failed += division.failed
        found.done += len(references) - len(kept) - division.failed
        sizes = [one.size for one in kept if one.size is not None]
        if len(sizes) < len(kept):
            found.bytes = None
        elif found.bytes is not None:
            found.bytes += sum(sizes)
        self.predicted += division.predicted
        return []

    def flush(self) -> None:
        """Keep nothing: a comparison writes nothing."""
