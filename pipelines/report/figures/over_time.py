"""What came in over the latest run: rows, and how long their calls took, moment by moment."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..tables import quoted
from .figure import Figure

__all__ = ["OverTime"]

_MOST = 60  #: moments
_SECOND = 1_000_000
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


class OverTime:
    """Counts the rows of a run by when their answers were made.

    Args:
        table: in SQL.
        run_id: the run.
    """

    columns: Sequence[str] = ("created_at", "latency_ms", "run_id")

    def __init__(self, table: str, run_id: str) -> None:
        self._table, self._run = table, run_id
        self._first: int | None = None
        self._last = 0
        self._step = _SECOND
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._timed: NDArray[np.int64] = self._rows
        self._sum: NDArray[np.float64] = np.zeros(0)
        self._most: NDArray[np.float64] = self._sum

    def look(self, batch: Any) -> None:
        moments, _ = self._of(batch)
        if len(moments):
            first = int(moments.min())
            self._first = first if self._first is None else min(self._first, first)
            self._last = max(self._last, int(moments.max()))

    def count(self, batch: Any) -> None:
        if self._first is None:
            return
        if not len(self._rows):
            self._divide(self._first)
        moments, latencies = self._of(batch)
        bins = moments // self._step - self._first // self._step
        timed = np.isfinite(latencies)
        size = len(self._rows)
        self._rows += np.bincount(bins, minlength=size)
        self._timed += np.bincount(bins[timed], minlength=size)
        self._sum += np.bincount(bins[timed], latencies[timed], size)
        np.maximum.at(self._most, bins[timed], latencies[timed])

    def figure(self) -> Figure | None:
        filled = np.flatnonzero(self._rows).tolist()
        if len(filled) < 2:
            return None
        starts = [(self._first or 0) // self._step * self._step + number * self._step for number in filled]
        moments = [datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=one) for one in starts]
        rows = [
            (moment, int(self._rows[number]), *self._latency(number))
            for moment, number in zip(moments, filled, strict=True)
        ]
        seconds = self._step // _SECOND
        return Figure(
            "over_time",
            "Over the latest run",
            f"Rows answered in each {_words(seconds)}, and the mean and the longest time of their calls.",
            kind="line",
            columns=("from", "rows", "mean_ms", "longest_ms"),
            rows=rows,
            sql=self._sql(),
            labels=[f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in moments],
        )

    def _latency(self, number: int) -> tuple[float | None, float | None]:
        if not self._timed[number]:
            return None, None
        return float(self._sum[number] / self._timed[number]), float(self._most[number])

    def _divide(self, first: int) -> None:
        steps = [one * _SECOND for one in _STEPS_S]
        self._step = next(
            (one for one in steps if self._last // one - first // one < _MOST),
            -(-(self._last - first + 1) // (_MOST - 1)),
        )
        size = self._last // self._step - first // self._step + 1
        self._rows, self._timed = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._sum, self._most = np.zeros(size), np.zeros(size)

    def _of(self, batch: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """When the run's rows were made, in microseconds, and their latencies; NaN where there is none."""
        mine = pc.equal(batch.column("run_id"), self._run)
        rows = batch.filter(pc.and_(mine, pc.is_valid(batch.column("created_at"))))
        moments = rows.column("created_at").cast(pa.int64()).to_numpy(zero_copy_only=False)
        latencies = rows.column("latency_ms").cast(pa.float64()).fill_null(float("nan"))
        return moments, latencies.to_numpy(zero_copy_only=False)

    def _sql(self) -> str:
        return (
            f'SELECT make_timestamp(epoch_us(created_at) // {self._step} * {self._step}) AS "from", '
            "count(*) AS rows,\n"
            "  avg(CAST(latency_ms AS DOUBLE)) AS mean_ms, max(CAST(latency_ms AS DOUBLE)) AS longest_ms\n"
            f"FROM {self._table}\n"
            f"WHERE run_id = {quoted(self._run)} AND created_at IS NOT NULL GROUP BY 1 ORDER BY 1"
        )


def _words(seconds: int) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return name if count == 1 else f"{count} {name}s"
    return "second" if seconds == 1 else f"{seconds} seconds"
