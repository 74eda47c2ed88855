"""The inputs that runs at an output still answer for, by the job that did them: what the index of `compact` holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...runs.record import RunRecord
from ...storage.store import Store
from ..commit.dropped import read_dropped
from ..input_index import IdLookup, InputIndex
from ..outcomes import read_inputs

__all__ = ["alive_by_job"]


def alive_by_job(store: Store, runs: Sequence[RunRecord]) -> dict[str, InputIndex]:
    """Read which inputs have rows that these runs wrote, and how they ended.

    Args:
        runs: in their order, committed, from the first on.

    Returns:
        By the fingerprint of the job, the one that ran last standing last. An input is with several where the later one
        left the rows of the earlier ones (`on_change: keep_both`).

    Raises:
        StoreError: an index cannot be read.
    """
    indexes, owners, beside, gone = [InputIndex.empty()], [""], [False], [False]
    for run in runs:
        if len(ids := read_dropped(store, run.run_id)):
            indexes.append(InputIndex.of_ids(ids))
            owners.append("")
            beside.append(False)
            gone.append(True)
        for index in read_inputs(store, run):
            indexes.append(index)
            owners.append(index.job or run.fingerprint)
            beside.append(run.beside)
            gone.append(False)
    lengths = [len(index) for index in indexes]
    everything = InputIndex.concat(indexes)
    names = sorted(set(owners), key=lambda name: len(owners) - owners[::-1].index(name))
    job = np.repeat([names.index(name) for name in owners], lengths)
    stays, dropped = np.repeat(beside, lengths), np.repeat(gone, lengths)
    found = {}
    for number, name in enumerate(names):
        # What counts for a job: its own outcomes, those that replaced them, and what dropped them.
        rows = np.flatnonzero((job == number) | dropped | ~stays)
        latest = np.sort(rows[IdLookup(everything.ids[rows]).order])
        alive = latest[(job[latest] == number) & ~dropped[latest]]
        if len(alive):
            found[name] = everything.take(alive)
    return found
