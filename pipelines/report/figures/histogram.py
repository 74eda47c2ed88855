"""Histograms: bins of equal width between round numbers, or of powers of two."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figure import Figure

__all__ = ["Histogram", "Values", "plain"]

_MOST_BINS = 24
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclasses.dataclass(frozen=True)
class Values:
    """Where the numbers of a histogram come from.

    Attributes:
        columns: to read.
        of: the numbers of a batch, those that are null left out.
        sql: an expression of the same numbers in DuckDB.
        source: what stands behind FROM.
    """

    columns: Sequence[str]
    of: Callable[[Any], NDArray[np.float64]]
    sql: str
    source: str


class Histogram:
    """Counts numbers by size.

    Args:
        key, title, about: see `Figure`.
        values: the numbers.
        unit: behind a bin's bounds, for a person.
        doubling: bins of powers of two, of numbers above 0, in place of equal ones.
        whole: bounds are whole numbers.
        what: what is counted.
    """

    def __init__(
        self,
        key: str,
        title: str,
        about: str,
        values: Values,
        *,
        what: str,
        unit: str = "",
        doubling: bool = False,
        whole: bool = False,
    ) -> None:
        self._named = {"key": key, "title": title, "about": about}
        self._values, self._what, self._unit = values, what, unit
        self._doubling, self._whole = doubling, whole
        self._low, self._high = math.inf, -math.inf
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._first = 0

    @property
    def columns(self) -> Sequence[str]:
        return self._values.columns

    def look(self, batch: Any) -> None:
        numbers = self._numbers(batch)
        if len(numbers):
            self._low = min(self._low, float(numbers.min()))
            self._high = max(self._high, float(numbers.max()))

    def count(self, batch: Any) -> None:
        if self._low > self._high:
            return
        if not len(self._counts):
            self._divide()
        bins = self._bins(self._numbers(batch))
        self._counts += np.bincount(bins, minlength=len(self._counts)).astype(np.int64)

    def figure(self) -> Figure | None:
        if not self._counts.any():
            return None
        filled = np.flatnonzero(self._counts).tolist()
        rows = [(self._start(number), int(self._counts[number])) for number in filled]
        return Figure(
            **self._named,
            kind="columns",
            columns=("from", self._what),
            rows=rows,
            sql=self._sql(),
            labels=[self._label(number) for number in filled],
            step=0 if self._doubling else self._step,
        )

    def _numbers(self, batch: Any) -> NDArray[np.float64]:
        numbers = self._values.of(batch)
        numbers = numbers[np.isfinite(numbers)]
        return numbers[numbers > 0] if self._doubling else numbers

    def _divide(self) -> None:
        if self._doubling:
            self._first = _exponent(self._low)
            self._counts = np.zeros(_exponent(self._high) - self._first + 1, np.int64)
            return
        # Where all numbers are equal, the bin is of their own order of magnitude.
        width = (self._high - self._low) / _MOST_BINS or abs(self._low) / 10
        self._step = _round_step(width, whole=self._whole)
        self._origin = math.floor(self._low / self._step) * self._step
        # A greatest value on the last bound, such as a score of 1, belongs to the bin below it.
        self._last = max(0, math.ceil((self._high - self._origin) / self._step - 1e-9) - (not self._whole))
        self._counts = np.zeros(self._last + 1, np.int64)

    def _bins(self, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        if self._doubling:
            return np.frexp(numbers)[1].astype(np.int64) - 1 - self._first
        bins = np.floor((numbers - self._origin) / self._step)
        return np.minimum(bins, self._last).astype(np.int64)

    def _start(self, number: int) -> float:
        if self._doubling:
            return 2.0 ** (number + self._first)
        return self._origin + self._step * number

    def _label(self, number: int) -> str:
        start = self._start(number)
        if self._whole and not self._doubling and self._step == 1:
            return f"{plain(start)}{self._unit}"
        end = start * 2 if self._doubling else start + self._step
        return f"{plain(start)} to {plain(end)}{self._unit}"

    def _sql(self) -> str:
        if self._doubling:
            start, keep = "pow(2, floor(log2(x)))", "isfinite(x) AND x > 0"
        else:
            bins = f"least(floor((x - {_double(self._origin)}) / {_double(self._step)}), {self._last})"
            start, keep = f"{_double(self._origin)} + {_double(self._step)} * {bins}", "isfinite(x)"
        return (
            f'SELECT {start} AS "from", count(*) AS {self._what}\n'
            f"FROM (SELECT CAST({self._values.sql} AS DOUBLE) AS x FROM {self._values.source})\n"
            f"WHERE {keep} GROUP BY 1 ORDER BY 1"
        )


def plain(number: float) -> str:
    """A number for a person: no more digits than its bins need.

    >>> plain(0.35000000000000003), plain(1048576.0), plain(2.0)
    ('0.35', '1,048,576', '2')
    """
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.4g}"


def _exponent(number: float) -> int:
    return math.frexp(number)[1] - 1


def _round_step(least: float, *, whole: bool) -> float:
    """The smallest round number that is not below `least`."""
    if whole:
        least = max(least, 1.0)
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    step = next(one * power for one in _STEPS if one * power >= least * (1 - 1e-12))
    return float(math.ceil(step)) if whole else step


def _double(number: float) -> str:
    """A literal that DuckDB reads as the same DOUBLE, and not as a DECIMAL."""
    text = repr(float(number))
    return text if "e" in text else f"{text}e0"
