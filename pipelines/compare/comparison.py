"""`bulkinfer compare`: the figures of two outputs over the same inputs, and the rows that disagree most."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from bulkinfer.transforms.storage.references import shown
from numpy.typing import NDArray

from ..report.cards import KEPT_OUT, key_of
from ..report.output import Output
from ..report.tables import Key
from .agreement import Labels, Scores, Texts, labels_of, mean, scores_of, similarity, texts_of, unequal_texts
from .pairs import Pairs, join, keys_at
from .shapes import Matched, match

__all__ = ["Comparison", "Disagreement", "Shapes", "compare"]

_PICTURES = 5_000  #: pairs whose masks are matched; of more they are drawn
_TEXTS = 200  #: unequal texts that are read
_AT_ONCE = 1250  #: rows whose masks are in memory

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Shapes:
    """How masks, or boxes, agree.

    Attributes:
        rows: that were looked at.
        of: rows that have regions in both outputs.
        in_a: regions of one output in them.
        in_b: of the other.
        matched: pairs of regions.
        mean_iou: of these pairs.
        label_agreement: share of equal labels among them; None where none have two.
    """

    rows: int = 0
    of: int = 0
    in_a: int = 0
    in_b: int = 0
    matched: int = 0
    mean_iou: float | None = None
    label_agreement: float | None = None


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A row in which two outputs disagree.

    Attributes:
        key: of the row.
        a: one output's row, with its masks.
        b: the other's.
        what: in which way.
    """

    key: Key
    a: tuple[Row, Sequence[Row]]
    b: tuple[Row, Sequence[Row]]
    what: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two outputs compared.

    Attributes:
        a: one output.
        b: the other.
        both: rows of predictions that both have.
        only_a: rows that only one has.
        only_b: rows that only the other has.
        labels, scores, texts, shapes: how these agree.
        disagreements: the rows that disagree most.
    """

    a: Output
    b: Output
    both: int
    only_a: int
    only_b: int
    labels: Labels
    scores: Scores
    texts: Texts
    shapes: Shapes
    disagreements: Sequence[Disagreement]

    def to_json(self) -> dict[str, Any]:
        """All figures by name, as `--json` prints them."""
        labels = {**dataclasses.asdict(self.labels), "agreement": self.labels.agreement}
        labels["confusions"] = [
            dict(zip(["a", "b", "count"], one, strict=True)) for one in self.labels.confusions
        ]
        scores = dataclasses.asdict(self.scores)
        scores["shifts"] = [{"from": start, "count": count} for start, count in self.scores.shifts]
        return {
            "a": _side(self.a),
            "b": _side(self.b),
            "rows": {"both": self.both, "only_a": self.only_a, "only_b": self.only_b},
            "labels": labels,
            "scores": scores,
            "texts": dataclasses.asdict(self.texts),
            "regions": dataclasses.asdict(self.shapes),
            "disagreements": [
                {"input_id": one.key[0], "output_index": one.key[1], "what": one.what}
                for one in self.disagreements
            ],
        }


def compare(a: Output, b: Output, sample: int) -> Comparison:
    """Compare two outputs.

    Args:
        a: one output.
        b: the other.
        sample: disagreeing rows to return.

    Raises:
        StoreError: a table cannot be read.
    """
    pairs = join(a.tables["predictions"], b.tables["predictions"])
    with_regions = np.flatnonzero((pairs.a.regions[pairs.rows_a] > 0) | (pairs.b.regions[pairs.rows_b] > 0))
    looked_at = _drawn(pairs, with_regions, _PICTURES)
    matched = dict(_matched(a, b, pairs, looked_at))
    unequal = _drawn(pairs, np.flatnonzero(unequal_texts(pairs)), _TEXTS)
    alike = dict(_similarities(a, b, pairs, unequal))
    texts = dataclasses.replace(texts_of(pairs), looked_at=len(alike), similarity=mean(alike.values()))
    return Comparison(
        a,
        b,
        len(pairs),
        pairs.only_a,
        pairs.only_b,
        labels_of(pairs),
        scores_of(pairs),
        texts,
        _shapes(matched, len(with_regions)),
        list(_disagreements(a, b, pairs, matched, alike, sample)),
    )


def _side(output: Output) -> dict[str, Any]:
    latest = output.latest
    return {
        "output": shown(output.store.uri),
        "model_url": latest.model_url,
        "model_version": latest.model_version,
        "method": (latest.job.get("model") or {}).get("method"),
    }


def _drawn(pairs: Pairs, among: NDArray[np.int64], count: int) -> list[int]:
    """Some of these pairs, drawn by the hashes of their keys: the same ones each time."""
    order = np.argsort(pairs.a.keys[pairs.rows_a[among], 0], kind="stable")
    found: list[int] = among[order[:count]].tolist()
    return found


def _matched(a: Output, b: Output, pairs: Pairs, numbers: Sequence[int]) -> Iterator[tuple[int, Matched]]:
    """The regions of pairs matched, some at a time."""
    keys = keys_at(a.tables["predictions"], pairs.rows_a[list(numbers)].tolist())
    for start in range(0, len(numbers), _AT_ONCE):
        some = {keys[int(pairs.rows_a[number])]: number for number in numbers[start : start + _AT_ONCE]}
        sides = [_regions(output, some) for output in (a, b)]
        for key, number in some.items():
            yield number, match(sides[0].get(key, []), sides[1].get(key, []))


def _regions(output: Output, keys: Mapping[Key, int]) -> dict[Key, list[Row]]:
    """The regions of rows: their masks, or their boxes where they have none."""
    found: dict[Key, list[Row]] = {}
    for mask in output.tables["masks"].rows(keys, without=("concepts", "mask", "polygon")):
        found.setdefault(key_of(mask), []).append(mask)
    boxed = [key for key in keys if key not in found]
    columns = ("input_id", "output_index", "regions")
    for row in output.tables["predictions"].rows(boxed, only=columns):
        found[key_of(row)] = row["regions"] or []
    return found


def _similarities(a: Output, b: Output, pairs: Pairs, numbers: Sequence[int]) -> Iterator[tuple[int, float]]:
    keys = keys_at(a.tables["predictions"], pairs.rows_a[list(numbers)].tolist())
    by_key = {keys[int(pairs.rows_a[number])]: number for number in numbers}
    columns = ("input_id", "output_index", "text")
    sides = [
        {key_of(row): row["text"] for row in output.tables["predictions"].rows(by_key, only=columns)}
        for output in (a, b)
    ]
    for key, number in by_key.items():
        yield number, similarity(sides[0][key], sides[1][key])


def _shapes(matched: Mapping[int, Matched], of: int) -> Shapes:
    found = list(matched.values())
    labelled = sum(one.labelled for one in found)
    return Shapes(
        len(found),
        of,
        sum(one.in_a for one in found),
        sum(one.in_b for one in found),
        sum(len(one.ious) for one in found),
        mean(itertools.chain.from_iterable(one.ious for one in found)),
        sum(one.equal_labels for one in found) / labelled if labelled else None,
    )


def _disagreements(
    a: Output,
    b: Output,
    pairs: Pairs,
    matched: Mapping[int, Matched],
    alike: Mapping[int, float],
    sample: int,
) -> Iterator[Disagreement]:
    """The rows that disagree most: labels of which both models are sure, regions that match least, unlike texts."""
    one, other, _ = pairs.labels()
    unequal = np.flatnonzero((one >= 0) & (other >= 0) & (one != other))
    scores = np.fmin(pairs.a.scores[pairs.rows_a[unequal]], pairs.b.scores[pairs.rows_b[unequal]])
    sure = unequal[np.argsort(-np.nan_to_num(scores), kind="stable")].tolist()[:sample]
    least = sorted((shape.agreement, number) for number, shape in matched.items() if shape.agreement < 1)
    unlike = sorted((value, number) for number, value in alike.items())
    ways = {
        "label": sure,
        "regions": [number for _, number in least[:sample]],
        "text": [number for _, number in unlike[:sample]],
    }
    chosen: dict[int, str] = {}
    for row in itertools.zip_longest(*ways.values()):
        for what, number in zip(ways, row, strict=True):
            if number is not None and len(chosen) < sample:
                chosen.setdefault(number, what)
    keys = keys_at(a.tables["predictions"], pairs.rows_a[list(chosen)].tolist())
    places = {keys[int(pairs.rows_a[number])]: what for number, what in chosen.items()}
    sides = [_whole_rows(output, places) for output in (a, b)]
    for key, what in places.items():
        yield Disagreement(key, sides[0][key], sides[1][key], what)


def _whole_rows(output: Output, keys: Mapping[Key, str]) -> dict[Key, tuple[Row, list[Row]]]:
    rows = output.tables["predictions"].rows(keys, without=KEPT_OUT)
    found: dict[Key, tuple[Row, list[Row]]] = {key_of(row): (row, []) for row in rows}
    for mask in output.tables["masks"].rows(keys, without=("concepts",)):
        found[key_of(mask)][1].append(mask)
    return found
