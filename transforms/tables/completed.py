"""Leaves out the inputs that earlier runs finished.

An input is finished when its id, its content's version and the job's fingerprint (model, version, method,
arguments) are those of its latest outcome, a prediction or an error. A version that is unknown on either side
counts as equal, and so does another version of the same content: a file that was only touched is read once more, and
not sent. An input takes about 40 bytes of memory, and a microsecond.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..content.fetch import Fetcher
from ..metrics import process_metrics
from ..records import Reference
from ..runs.parts import OutputSpec
from ..runs.record import list_runs
from ..storage.allowed import EVERYTHING, Allowed
from ..storage.store import Store
from .input_index import IdLookup, Pairs, hash_ids
from .lost import lost_files
from .outcomes import Jobs, Outcomes
from .revalidation import Revalidation

__all__ = ["CompletedIndex", "CompletedSpec"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CompletedSpec:
    """Which inputs a run leaves out; plain data that pickles, loaded once in each worker process.

    Attributes:
        uri: the output's directory.
        storage: fsspec options of the output.
        run_id: the current run.
        fingerprint: of its job.
        select: "todo" keeps all inputs but the finished ones, "failed" only those in `errors`, "all" every one.
        error_types: with "failed", only errors of these types; empty for all.
        revalidate: ask the source's store for the version of finished inputs whose listing gives none, and compare the
            content of those whose version is another.
        source_storage: fsspec options of the source.
        allowed: what its references may lead to.
        on_change: what another fingerprint means for finished inputs: "redo" keeps them to be done again, and so does
            "refuse", which asks before; "keep" leaves them out; "keep_both" looks at runs with the same one alone.
        max_bytes: a larger content is not read to be compared.
        file_timeout: seconds that reading one may take.
    """

    uri: str
    storage: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    run_id: str = ""
    fingerprint: str = ""
    select: Literal["todo", "failed", "all"] = "todo"
    error_types: tuple[str, ...] = ()
    revalidate: bool = True
    on_change: Literal["refuse", "redo", "keep", "keep_both"] = "redo"
    source_storage: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    allowed: Allowed = EVERYTHING
    max_bytes: int = 128_000_000
    file_timeout: float = 300.0

    @classmethod
    def of(
        cls,
        output: OutputSpec,
        *,
        source_storage: Mapping[str, Any] | None = None,
        allowed: Allowed = EVERYTHING,
        revalidate: bool = True,
        on_change: Literal["refuse", "redo", "keep", "keep_both"] = "redo",
        max_bytes: int = 128_000_000,
        file_timeout: float = 300.0,
        retry_failed: bool = False,
        error_types: Sequence[str] = (),
        force: bool = False,
    ) -> CompletedSpec:
        """Make the spec of a run: `force` leaves nothing out, `retry_failed` all but what failed."""
        return cls(
            output.uri,
            output.storage,
            output.run_id,
            output.fingerprint,
            "failed" if retry_failed else "all" if force else "todo",
            tuple(error_types),
            revalidate,
            on_change,
            source_storage or {},
            allowed,
            max_bytes,
            file_timeout,
        )

    def remaining(
        self, references: list[Reference], read: Callable[[], bytes] | None = None
    ) -> list[Reference]:
        """Keep the references that still have to be done, in order; counts the others as skipped.

        Args:
            read: gives the content, where there is one reference.

        Raises:
            StoreError: an index of an earlier run cannot be read.
        """
        division = self.load().divide(references, read)
        process_metrics().add(
            inputs_skipped=len(references) - len(division.kept) - division.undone,
            errors_skipped=division.failed,
            inputs_new=division.new,
            inputs_changed=division.changed,
            inputs_predicted=division.predicted,
            inputs_undone=division.undone,
        )
        return division.kept

    def flush(self) -> None:
        """Keep for later runs which versions turned out to be of the same content.

        Raises:
            StoreError: the store is full or out of reach.
        """
        self.load().revalidation.flush()

    def warn_of_lost(self) -> None:
        """Warn when somebody removed table files whose inputs no later run has done; for the launcher alone.

        Raises:
            StoreError: an index of an earlier run is gone or cannot be read.
        """
        store = Store(self.uri, self.storage)
        if not lost_files(store, list_runs(store)):
            return
        index = self.load()
        if index.lost:
            others = f" and {len(index.gone) - 1} more" if len(index.gone) > 1 else ""
            logger.warning(
                "%s%s, written by earlier runs, are gone: the %d inputs whose rows stood there count as not done",
                store.url(index.gone[0]),
                others,
                index.lost,
            )

    def load(self) -> CompletedIndex:
        """Read the index, once in this process."""
        key = (self.uri, self.run_id, self.fingerprint, self.select, self.error_types, self.on_change)
        with _loaded_lock:
            index = _loaded.get(key)
            if index is None:
                _loaded.clear()
                index = _loaded[key] = CompletedIndex.read(Store(self.uri, self.storage), self)
            return index


_loaded: dict[tuple[Any, ...], CompletedIndex] = {}
_loaded_lock = threading.Lock()


class Division(NamedTuple):
    """References divided into those that this run does and those that it leaves out.

    Attributes:
        kept: those that it does, in order.
        failed: left out, and in `errors`.
        new: kept, and in no table.
        changed: kept, although an earlier run finished them: their content or the job is another.
        undone: left out, and in no table, for this run looks at failed ones alone.
        touched: of `changed`, those whose content was not compared.
        outdated: of `changed`, those in `predictions` by a job with another fingerprint.
        predicted: kept or not, in `predictions` before this run.
        rows: of the index, that stand for the inputs that it knows; shape (k,).
    """

    kept: list[Reference]
    failed: int = 0
    new: int = 0
    changed: int = 0
    undone: int = 0
    touched: int = 0
    outdated: int = 0
    predicted: int = 0
    rows: Any = ()


class CompletedIndex:
    """The latest outcome of every input that an output knows.

    Args:
        spec: which inputs to leave out.
        outcomes: of all runs.

    Attributes:
        revalidation: asks the source's store for versions and contents.
        gone: table files that somebody removed, with the rows of inputs.
    """

    def __init__(self, spec: CompletedSpec, outcomes: Outcomes) -> None:
        self._spec = spec
        fetcher = Fetcher(
            max_bytes=spec.max_bytes,
            storage=spec.source_storage,
            timeout=spec.file_timeout,
            allowed=spec.allowed,
        )
        self.revalidation = Revalidation(Store(spec.uri, spec.storage), spec.run_id, fetcher, outcomes.seen)
        inputs = outcomes.inputs
        self._lookup = IdLookup(inputs.ids)
        self._versions, self._codes, self._current = inputs.versions, inputs.error_codes, outcomes.current
        self._contents = inputs.contents
        types = inputs.error_types
        wanted = [not spec.error_types or kind in spec.error_types for kind in types]
        self._wanted = np.array([*wanted, False], bool)  # the last one, code -1, stands for success
        self._lost, self._absent, self.gone = outcomes.lost, outcomes.absent, outcomes.gone

    @classmethod
    def read(cls, store: Store, spec: CompletedSpec, *, uncommitted: bool = False) -> CompletedIndex:
        """Read the indexes of all committed runs at an output.

        Args:
            uncommitted: also what runs have made durable whose commit is yet to come.
        """
        jobs = {"keep": Jobs.ALIKE, "keep_both": Jobs.OWN}.get(spec.on_change, Jobs.APART)
        return cls(spec, Outcomes.read(store, spec.run_id, spec.fingerprint, jobs, uncommitted=uncommitted))

    def __len__(self) -> int:
        return len(self._lookup)

    @property
    def lost(self) -> int:
        """Inputs whose latest outcome is gone from the tables."""
        return int(self._lost[self._lookup.order].sum())

    @property
    def predicted(self) -> int:
        """Inputs whose latest outcome is in `predictions`."""
        latest = self._lookup.order
        return int(((self._codes[latest] < 0) & ~self._absent[latest]).sum())

    @property
    def outdated(self) -> int:
        """Of these, inputs by a job with another fingerprint."""
        latest = self._lookup.order
        return int(((self._codes[latest] < 0) & ~self._absent[latest] & ~self._current[latest]).sum())

    def none(self) -> NDArray[np.bool_]:
        """A mark for each row of the index, not set yet."""
        return np.zeros(len(self._absent), bool)

    def find(self, input_id: str) -> NDArray[np.int64]:
        """The row that stands for an input, shape (1,); empty where there is none."""
        rows = self._lookup.find(hash_ids([input_id]))
        return rows[rows >= 0]

    def present(self, but: NDArray[np.bool_] | None = None) -> Pairs:
        """The ids of the inputs that are in a table, without those of marked rows; shape (n, 2)."""
        there = ~self._absent if but is None else ~self._absent & ~but
        return self._lookup.ids[there[self._lookup.order]]

    def divide(
        self,
        references: list[Reference],
        read: Callable[[], bytes] | None = None,
        *,
        compare: bool = True,
    ) -> Division:
        """Keep the references that still have to be done, in order, and count the others by what they are.

        Args:
            read: gives the content, where there is one reference.
            compare: read the content of what an earlier run did in another version.
        """
        if not references:
            return Division(references)
        if not len(self._lookup) and self._spec.select != "failed":  # a first run
            return Division(references, new=len(references))
        rows = self._lookup.find(hash_ids([reference.input_id for reference in references]))
        known = rows >= 0
        known[known] = ~self._absent[rows[known]]
        changed, touched, outdated = np.zeros(len(references), bool), 0, 0
        if self._spec.select == "failed":
            keep = np.zeros(len(references), bool)
            keep[known] = self._wanted[self._codes[rows[known]]]
        else:
            keep = ~known
            keep[known] = ~self._current[rows[known]]
            outdated = int((self._codes[rows[known & keep]] < 0).sum())
            done = np.flatnonzero(~keep)
            keep[done], touched = self.revalidation.changed(
                [references[number] for number in done.tolist()],
                self._versions[rows[done]],
                self._contents[rows[done]],
                read,
                asks=self._spec.revalidate and self._spec.select == "todo",
                compare=compare,
            )
            changed = keep & known
            keep |= self._spec.select == "all"
        kept = references if keep.all() else [references[number] for number in np.flatnonzero(keep).tolist()]
        return Division(
            kept,
            failed=int((self._codes[rows[known & ~keep]] >= 0).sum()),
            new=int((keep & ~known).sum()),
            changed=int(changed.sum()),
            undone=int((~keep & ~known).sum()),
            touched=touched,
            outdated=outdated,
            predicted=int((self._codes[rows[known]] < 0).sum()),
            rows=rows[known],
        )
