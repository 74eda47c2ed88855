"""The figures of a comparison that a query over both tables gives as well."""

from __future__ import annotations

from collections.abc import Iterator

from ..report.figures.figure import Figure
from .comparison import Comparison
from .pairs import LABEL

__all__ = ["figures_of"]


def figures_of(found: Comparison) -> Iterator[Figure]:
    """The figures that have something to show."""
    labels, scores = found.labels, found.scores
    pairs = _pairs(found)
    if labels.compared:
        yield Figure(
            "agreement",
            "How labels agree",
            "Cohen's kappa is 1 for full agreement and 0 for what chance alone gives.",
            kind="table",
            columns=("compared", "equal", "kappa"),
            rows=[(labels.compared, labels.equal, labels.kappa)],
            sql=_KAPPA.format(pairs=pairs),
        )
    if labels.confusions:
        yield Figure(
            "confusions",
            "Commonest confusions",
            "The label of the one output, and that of the other for the same input.",
            kind="bars",
            columns=("labels", "rows", "one", "other"),
            rows=[(f"{one} \u2192 {other}", count, one, other) for one, other, count in labels.confusions],
            sql=(
                f"SELECT one || ' \u2192 ' || other AS labels, count(*) AS rows, one, other FROM {pairs}\n"
                "WHERE one <> other GROUP BY one, other ORDER BY 2 DESC, 3, 4 LIMIT 20"
            ),
        )
    if scores.shifts:
        yield Figure(
            "shifts",
            "How scores move",
            "The score of the other output less that of the one.",
            kind="columns",
            columns=("from", "rows"),
            rows=list(scores.shifts),
            sql=(
                'SELECT floor((score_b - score_a) * 20) / 20 AS "from", count(*) AS rows\n'
                f"FROM {pairs} WHERE isfinite(score_b - score_a) GROUP BY 1 ORDER BY 1"
            ),
            labels=[f"{start:+.2f} to {start + 0.05:+.2f}" for start, _ in scores.shifts],
            step=0.05,
        )


_KAPPA = """WITH pairs AS (SELECT one, other FROM {pairs} WHERE one IS NOT NULL AND other IS NOT NULL),
  a AS (SELECT one, count(*) AS n FROM pairs GROUP BY 1), b AS (SELECT other, count(*) AS n FROM pairs GROUP BY 1),
  t AS (SELECT count(*) AS n, count(*) FILTER (one = other) AS equal FROM pairs),
  e AS (SELECT coalesce(sum(a.n * b.n), 0) AS chance FROM a JOIN b ON one = other)
SELECT t.n AS compared, t.equal,
  (t.equal / t.n - e.chance / (t.n * t.n)) / nullif(1 - e.chance / (t.n * t.n), 0) AS kappa
FROM t, e"""


def _pairs(found: Comparison) -> str:
    a, b = (output.tables["predictions"].sql for output in (found.a, found.b))
    sides = (
        f"(SELECT input_id, output_index, {LABEL} AS {label}, CAST(score AS DOUBLE) AS {score} FROM {table})"
        for label, score, table in (("one", "score_a", a), ("other", "score_b", b))
    )
    return "({} a\n  JOIN {} b USING (input_id, output_index))".format(*sides)
