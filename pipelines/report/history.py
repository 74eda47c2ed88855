"""What the runs at an output did, one after the other, and which inputs the latest one did for the first time."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
from bulkinfer.transforms.runs.parts import RUNS
from bulkinfer.transforms.runs.record import HISTORY, RunRecord, list_runs
from bulkinfer.transforms.storage.references import masked
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.input_index import IdLookup
from bulkinfer.transforms.tables.outcomes import read_inputs

from .figures.figure import Figure
from .tables import MAGIC, quoted

__all__ = ["known_before", "runs_figure"]

_COUNTS = ("inputs", "predictions", "errors", "masks", "calls", "retries")


def runs_figure(store: Store, runs: Sequence[RunRecord]) -> Figure:
    """Every run with its counts."""
    rows = [
        (run.run_id, run.counts.get("inputs", 0), run.started_at, _seconds(run), *_further_counts(run))
        for run in runs
    ]
    folder = masked(store.uri).translate(MAGIC)
    content = f"read_text({quoted(f'{folder}/{RUNS}/*/run.json')})"
    if any(run.folded_into for run in runs):
        content = (
            f"(SELECT content FROM {content} UNION ALL\n  SELECT unnest(CAST(content AS JSON[])) FROM "
            f"read_text({quoted(f'{folder}/{HISTORY}')}))"
        )
    counts = ",\n  ".join(f"{_count(name)} AS {name}" for name in _COUNTS[1:])
    seconds = " - ".join(
        f"epoch(CAST({_text(name)} AS TIMESTAMPTZ))" for name in ("finished_at", "started_at")
    )
    return Figure(
        "runs",
        "Every run",
        "What each run did, the latest one last.",
        kind="bars",
        columns=("run_id", "inputs", "started_at", "seconds", *_COUNTS[1:]),
        rows=rows,
        sql=(
            f"SELECT {_text('run_id')} AS run_id, {_count('inputs')} AS inputs,\n"
            f"  {_text('started_at')} AS started_at,\n  CAST({seconds} AS BIGINT) AS seconds,\n  {counts}\n"
            f"FROM {content} WHERE {_text('state')} = 'committed' AND coalesce({_text('upkeep')}, '') = ''\n"
            "ORDER BY CAST(json_extract(content, '$.sequence') AS BIGINT)"
        ),
    )


def known_before(store: Store, runs: Sequence[RunRecord]) -> IdLookup | None:
    """The inputs that runs before the latest one had done or failed; None where it is the first.

    Raises:
        StoreError: an index cannot be read.
    """
    if len(runs) < 2:
        return None
    older = [run for run in list_runs(store) if run.committed and run.run_id != runs[-1].run_id]
    found = [index.ids for run in older for index in read_inputs(store, run)]
    return IdLookup(np.concatenate(found) if found else np.empty((0, 2), np.uint64))


def _seconds(run: RunRecord) -> int:
    started, finished = (datetime.datetime.fromisoformat(one) for one in (run.started_at, run.finished_at))
    return round((finished - started).total_seconds())


def _further_counts(run: RunRecord) -> list[int]:
    return [run.counts.get(name, 0) for name in _COUNTS[1:]]


def _text(name: str) -> str:
    return f"json_extract_string(content, '$.{name}')"


def _count(name: str) -> str:
    return f"coalesce(CAST(json_extract(content, '$.counts.{name}') AS BIGINT), 0)"
