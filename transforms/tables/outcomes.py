"""How every input ended that runs at an output did: their indexes together, in the order of the runs."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..runs.parts import index_directory
from ..runs.record import RunRecord, list_runs
from ..storage.store import Store
from .commit.dropped import read_dropped
from .commit.durable import durable_inputs, read_index
from .input_index import InputIndex
from .lost import lost_files
from .revalidation import Sightings

__all__ = ["Jobs", "Outcomes", "read_inputs"]

logger = logging.getLogger(__name__)


class Jobs(enum.Enum):
    """What the outcome of another model, version, method or of other arguments is to a job."""

    APART = "known, and not its own"
    ALIKE = "as good as its own"
    OWN = "unknown: it looks at its own alone"


@dataclasses.dataclass
class Outcomes:
    """The outcomes of all inputs; of equal ids the last one counts.

    Attributes:
        inputs: of all runs, in the order of the runs.
        current: shape (n,), True where the outcome is as good as the job's own.
        lost: shape (n,), True where its rows are gone with a file that somebody removed.
        absent: shape (n,), True where there are no rows any more, for that or another reason.
        seen: versions of which earlier runs know the content.
        gone: files that somebody removed.
    """

    inputs: InputIndex
    current: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    seen: Sightings
    gone: Sequence[str] = ()

    @classmethod
    def read(
        cls,
        store: Store,
        run_id: str,
        fingerprint: str,
        jobs: Jobs = Jobs.APART,
        *,
        uncommitted: bool = False,
    ) -> Outcomes:
        """Read the indexes of all committed runs but this one.

        Args:
            uncommitted: also what runs have made durable whose commit is yet to come.

        Raises:
            StoreError: an index is gone or cannot be read.
        """
        runs = list_runs(store)
        files = lost_files(store, runs)
        found = [(InputIndex.empty(), *[np.empty(0, bool)] * 3)]
        for run in runs:
            if run.run_id == run_id or not (run.committed or uncommitted):
                continue
            if run.committed and not run.folded_into and len(forgotten := read_dropped(store, run.run_id)):
                # Before the run's own inputs: what it did itself is there.
                none = np.zeros(len(forgotten), bool)
                found.append((InputIndex.of_ids(forgotten), none, none, ~none))
            broken = files.get(run.run_id)
            for index in read_inputs(store, run):
                same = (index.job or run.fingerprint) == fingerprint
                if jobs is Jobs.OWN and not same:
                    continue
                lost = broken.inputs(store, run, index) if broken else np.zeros(len(index), bool)
                found.append((index, np.full(len(index), same or jobs is Jobs.ALIKE), lost, lost))
        gone = tuple(itertools.chain.from_iterable(run.gone for run in files.values()))
        seen = Sightings.read(store, [run.run_id for run in runs])
        indexes, *flags = zip(*found, strict=True)
        inputs = InputIndex.concat(indexes)
        logger.info("finished earlier: inputs=%d indexes=%d", len(inputs), len(indexes) - 1)
        current, without_rows, absent = map(np.concatenate, flags)
        return cls(inputs, current, without_rows, absent, seen, gone)


def read_inputs(store: Store, run: RunRecord) -> Sequence[InputIndex]:
    """Read what a run did; of one that is not committed, what is durable of it.

    What a folded run did stands in the index of another.
    """
    if run.folded_into:
        return []
    found = [read_index(store, entry.path) for entry in store.files(index_directory(run.run_id))]
    # A commit that was interrupted has moved its index first.
    return found if found or run.committed else durable_inputs(store, run.run_id)
