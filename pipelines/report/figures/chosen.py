"""Which figures an output has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..tables import Table
from .counted import Counted, Texts, column
from .figure import Figure, Maker, count_figures
from .histogram import Histogram, Values
from .over_time import OverTime
from .totals import Failures, OddMasks, RowCount, Tokens, totals

__all__ = ["figures_of"]

_DULL = ("attempts", "regions", "versions")  #: as a rule all rows have the same, which says nothing


def figures_of(tables: dict[str, Table], latest: str, runs: int) -> list[Figure]:
    """Count all figures that the tables have.

    Args:
        tables: by name.
        latest: id of the latest run.
        runs: how many there were.

    Raises:
        StoreError: a file of a table cannot be read.
    """
    makers: dict[str, Callable[[str], Iterator[Maker]]] = {
        "predictions": lambda sql: _predictions(sql, latest, runs > 1),
        "masks": lambda sql: iter((OddMasks(sql), *_masks(sql))),
        "errors": lambda sql: iter((Failures(sql),)),
    }
    counts, figures = [], []
    for name, table in tables.items():
        rows = RowCount(table)
        counts.append((table, rows))
        figures += count_figures(table, [rows, *makers[name](table.sql)])
    first = totals(counts)
    found = [*([first] if first else []), *figures]
    return [figure for figure in found if figure.key not in _DULL or len(figure.rows) > 1]


def _predictions(sql: str, latest: str, several: bool) -> Iterator[Maker]:
    counted = functools.partial(Counted, latest=latest if several else "")
    rows = functools.partial(Histogram, what="rows")
    about = "The best label of each row."
    yield counted("labels", "Labels", about, column("label", sql), what="rows")
    yield counted("region_labels", "Labels of regions", "All regions.", _region_labels(sql), what="regions")
    about = "A model that is broken gives one answer again and again."
    yield counted("answers", "Answers that repeat", about, _answers(sql), what="rows", repeated=True)
    yield counted("truths", "Yes and no", "Answers of true or false.", column("bool_value", sql), what="rows")
    yield rows("scores", "Scores", "Of the best label of each row.", _numbers("score", sql))
    about = "All regions of all rows."
    yield Histogram("region_scores", "Scores of regions", about, _region_scores(sql), what="regions")
    yield rows("regions", "Regions", "How many a row has.", _numbers("num_regions", sql), whole=True)
    about = "Answers that are whole numbers."
    yield rows("whole_numbers", "Whole numbers", about, _numbers("int_value", sql), whole=True)
    yield rows("numbers", "Numbers", "Answers that are numbers.", _numbers("float_value", sql))
    about = "Characters of the texts answered."
    yield rows("text_lengths", "Length of texts", about, _lengths(sql), doubling=True)
    yield OverTime(sql, latest)
    about = "Milliseconds of the call that answered."
    yield rows("latency", "Time of a call", about, _numbers("latency_ms", sql), doubling=True, unit=" ms")
    about = "Calls in which an input was sent until it was answered."
    yield rows("attempts", "Attempts", about, _numbers("attempts", sql), whole=True)
    about = "Which version of the model answered."
    yield counted("versions", "Versions", about, column("model_version", sql), what="rows")
    yield Tokens(sql)


def _masks(sql: str) -> Iterator[Maker]:
    areas = _numbers("area", sql)
    yield Histogram("areas", "Mask sizes", "Pixels.", areas, what="masks", doubling=True, unit=" px")
    about = "What of a mask or a box did not come as it should."
    yield Counted("notes", "Notes on masks", about, _notes(sql), what="masks")


def _numbers(name: str, sql: str) -> Values:
    def of(batch: Any) -> NDArray[np.float64]:
        return _floats(batch.column(name))

    return Values((name,), of, name, sql)


def _floats(array: Any) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = array.drop_null().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _lengths(sql: str) -> Values:
    return Values(("text",), lambda batch: _floats(pc.utf8_length(batch.column("text"))), "length(text)", sql)


def _region_scores(sql: str) -> Values:
    def of(batch: Any) -> NDArray[np.float64]:
        return _floats(pc.struct_field(pc.list_flatten(batch.column("regions")), "score"))

    return Values(("regions.list.element.score",), of, "region.score", _unnested(sql))


def _region_labels(sql: str) -> Texts:
    def of(batch: Any) -> tuple[Any, Any]:
        regions = batch.column("regions")
        labels = pc.struct_field(pc.list_flatten(regions), "label")
        return labels, pc.list_parent_indices(regions)

    return Texts(("regions.list.element.label",), of, "region.label", _unnested(sql))


def _unnested(sql: str) -> str:
    return f"(SELECT unnest(regions) AS region, run_id FROM {sql})"


def _answers(sql: str) -> Texts:
    names = ("text", "string_value", "json")

    def of(batch: Any) -> tuple[Any, Any]:
        return pc.coalesce(*(batch.column(name).cast(pa.string()) for name in names)), None

    return Texts(names, of, f"coalesce({', '.join(names)})", sql)


def _notes(sql: str) -> Texts:
    def of(batch: Any) -> tuple[Any, Any]:
        words = pc.extract_regex(batch.column("note").cast(pa.string()), "^(?P<word>[a-z_]+)")
        return pc.struct_field(words, "word"), None

    return Texts(("note",), of, "nullif(regexp_extract(note, '^[a-z_]+'), '')", sql)
