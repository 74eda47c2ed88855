"""How far two models agree: Cohen's kappa, the commonest confusions, how scores move, how alike texts are."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .pairs import Pairs

__all__ = [
    "Labels",
    "Scores",
    "Texts",
    "labels_of",
    "mean",
    "scores_of",
    "similarity",
    "texts_of",
    "unequal_texts",
]

_CONFUSIONS = 20


@dataclasses.dataclass(frozen=True)
class Labels:
    """How labels agree.

    Attributes:
        compared: pairs in which both rows have a label.
        equal: of these, pairs of one label.
        kappa: Cohen's (1960): 1 for full agreement, 0 for what chance gives; None where one label is all there is.
        confusions: the commonest pairs of unequal labels, and how often they occur.
    """

    compared: int
    equal: int
    kappa: float | None
    confusions: list[tuple[str, str, int]]

    @property
    def agreement(self) -> float | None:
        """The share of equal labels."""
        return self.equal / self.compared if self.compared else None


@dataclasses.dataclass(frozen=True)
class Scores:
    """How scores move from one output to the other.

    Attributes:
        compared: pairs in which both rows have a score.
        mean: of the differences, the other output's score less the one's.
        mean_absolute: of the differences without their signs.
        shifts: (from, count) of each bin of a twentieth that holds a difference.
    """

    compared: int
    mean: float | None
    mean_absolute: float | None
    shifts: list[tuple[float, int]]


@dataclasses.dataclass(frozen=True)
class Texts:
    """How alike texts are.

    Attributes:
        compared: pairs in which both rows have a text.
        equal: of these, pairs of one text.
        looked_at: unequal pairs that were read.
        similarity: their mean, 0 to 1 by the words that both texts have in the same order; None where none was read.
    """

    compared: int
    equal: int
    looked_at: int = 0
    similarity: float | None = None


def labels_of(pairs: Pairs) -> Labels:
    """Compare labels."""
    a, b, names = pairs.labels()
    both = (a >= 0) & (b >= 0)
    a, b = a[both], b[both]
    count = len(a)
    size = max(1, len(names))
    codes, counts = np.unique(a.astype(np.int64) * size + b, return_counts=True)
    equal = int((a == b).sum())
    expected = float(np.bincount(a, minlength=size) @ np.bincount(b, minlength=size)) / max(1, count) ** 2
    agreed = equal / max(1, count)
    kappa = (agreed - expected) / (1 - expected) if count and expected < 1 else None
    unequal = [
        (names[code // size], names[code % size], times)
        for code, times in zip(codes.tolist(), counts.tolist(), strict=True)
        if code // size != code % size
    ]
    unequal.sort(key=lambda one: (-one[2], one[0], one[1]))
    return Labels(count, equal, kappa, unequal[:_CONFUSIONS])


def scores_of(pairs: Pairs) -> Scores:
    """Compare scores."""
    shifts = pairs.b.scores[pairs.rows_b] - pairs.a.scores[pairs.rows_a]
    shifts = shifts[np.isfinite(shifts)]
    if not len(shifts):
        return Scores(0, None, None, [])
    bins, counts = np.unique(np.floor(shifts * 20), return_counts=True)
    return Scores(
        len(shifts),
        float(shifts.mean()),
        float(np.abs(shifts).mean()),
        [(one / 20, count) for one, count in zip(bins.tolist(), counts.tolist(), strict=True)],
    )


def texts_of(pairs: Pairs) -> Texts:
    """Compare texts by their hashes."""
    a, b = pairs.a.texts[pairs.rows_a], pairs.b.texts[pairs.rows_b]
    both = (a != 0) & (b != 0)
    return Texts(int(both.sum()), int((a == b)[both].sum()))


def unequal_texts(pairs: Pairs) -> NDArray[np.bool_]:
    """Which pairs have two texts that are not the same."""
    a, b = pairs.a.texts[pairs.rows_a], pairs.b.texts[pairs.rows_b]
    unequal: NDArray[np.bool_] = (a != 0) & (b != 0) & (a != b)
    return unequal


def similarity(a: str, b: str) -> float:
    """How alike two texts are, 0 to 1, by their words.

    >>> similarity("a cat sat", "a cat sits")
    0.6666666666666666
    """
    return difflib.SequenceMatcher(None, a.split(), b.split(), autojunk=False).ratio()


def mean(numbers: Iterable[float]) -> float | None:
    """The mean of numbers; None of none."""
    found = list(numbers)
    return math.fsum(found) / len(found) if found else None
