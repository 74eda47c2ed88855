"""Draws figures: bars of a table, columns and lines as SVG that stretches; every one with its numbers and its query."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Sequence
from typing import Any

from .figures.figure import Figure
from .figures.histogram import plain
from .markup import Element, clipped, element, named

__all__ = ["figure_card", "number_text"]

_WIDTH, _HEIGHT = 600, 120  #: of a chart's own units; the page stretches it
_LONGEST_NAME, _LONGEST_CELL = 60, 300


def figure_card(figure: Figure) -> Element:
    """A figure with its heading, its drawing, its numbers as a table, and its query."""
    title = f"{figure.key}-title"
    drawing = {"bars": _bars, "columns": _columns, "line": _line, "table": _numbers}[figure.kind](figure)
    # The table of bars holds the numbers itself.
    numbers = [] if figure.kind in ("bars", "table") else [_folded("Numbers", _numbers(figure))]
    return element(
        "figure",
        {"class": "card", "id": figure.key, "aria-labelledby": title},
        element(
            "figcaption", None, element("h3", {"id": title}, figure.title), element("p", None, figure.about)
        ),
        drawing,
        numbers,
        query(figure.sql, f"of {figure.title}"),
    )


def query(sql: str, what: str) -> Element:
    """A query, folded, with a button that copies it."""
    copy = {"type": "button", "class": "copy", "aria-label": f"Copy the SQL {what}"}
    return _folded("SQL", element("button", copy, "Copy"), element("pre", {"class": "sql"}, sql))


def number_text(value: Any) -> str:
    """A value for a person."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return plain(value)


def _folded(name: str, *inside: Element) -> Element:
    return element("details", None, element("summary", None, name), *inside)


def _bars(figure: Figure) -> Element:
    most = max((row[1] for row in figure.rows), default=0) or 1
    new = figure.columns[2:3] == ("latest_run",)
    rest = figure.columns[3:] if new else figure.columns[2:]
    head = [
        element("th", {"scope": "col"}, _words(name))
        for name in (figure.columns[0], figure.columns[1], *(("latest run",) if new else ()), *rest)
    ]
    rows = []
    for row in figure.rows:
        name = element("th", {"scope": "row", "title": str(row[0])}, named(str(row[0]), _LONGEST_NAME))
        part = row[2] if new else 0
        cells = [_cell(value) for value in (row[3:] if new else row[2:])]
        latest = [_cell(part)] if new else []
        rows.append(element("tr", None, name, _bar_cell(row[1], part, most), latest, cells))
    return _table(figure.title, head, rows, "bars")


def _bar_cell(value: int, part: int, most: int) -> Element:
    bars = [element("rect", {"width": round(100 * value / most, 2), "height": 10, "class": "bar"})]
    if part:
        bars.append(element("rect", {"width": round(100 * part / most, 2), "height": 10, "class": "bar new"}))
    drawn = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return element("td", {"class": "bar"}, element("svg", drawn, bars), _data(value))


def _columns(figure: Figure) -> Element:
    labels = figure.labels or [number_text(row[0]) for row in figure.rows]
    most = max(row[1] for row in figure.rows)
    places = [_place(row[0], figure.step) for row in figure.rows]
    places = [one - places[0] for one in places]  # bins that are empty have no row, but their place
    step = min(_WIDTH / 4, _WIDTH / (places[-1] + 1))
    drawn = []
    for place, row, label in zip(places, figure.rows, labels, strict=True):
        height = max(1.0, _HEIGHT * row[1] / most)
        where = {"x": round(place * step, 2), "y": round(_HEIGHT - height, 2)}
        size = {"width": round(max(step * 0.92, 1), 2), "height": round(height, 2), "class": "bar"}
        drawn.append(element("rect", {**where, **size}, element("title", None, f"{label}: {row[1]:,}")))
    return _plot(figure, drawn, labels, most)


def _line(figure: Figure) -> Element:
    labels = figure.labels or [number_text(row[0]) for row in figure.rows]
    moments = [row[0].timestamp() if isinstance(row[0], datetime.datetime) else row[0] for row in figure.rows]
    span = (moments[-1] - moments[0]) or 1
    xs = [round(_WIDTH * (one - moments[0]) / span, 1) for one in moments]
    most = max(row[1] for row in figure.rows)
    drawn = [_polyline(xs, [row[1] for row in figure.rows], most, "line")]
    slowest = [row[2] for row in figure.rows if len(row) > 2 and row[2] is not None]
    if slowest and len(slowest) == len(figure.rows):
        drawn.append(_polyline(xs, slowest, max(slowest), "line second"))
    return _plot(figure, drawn, labels, most)


def _polyline(xs: Sequence[float], values: Sequence[float], most: float, kind: str) -> Element:
    points = " ".join(
        f"{x},{_HEIGHT - _HEIGHT * value / (most or 1):.1f}" for x, value in zip(xs, values, strict=True)
    )
    return element("polyline", {"points": points, "class": kind, "vector-effect": "non-scaling-stroke"})


def _plot(figure: Figure, drawn: Sequence[Element], labels: Sequence[str], most: float) -> Element:
    about = f"{figure.title}: from {labels[0]} to {labels[-1]}, at most {most:,} {_words(figure.columns[1])} in one"
    box = {
        "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
        "preserveAspectRatio": "none",
        "role": "img",
        "aria-label": about,
    }
    ends = element("p", {"class": "ends", "aria-hidden": "true"}, element("span", None, labels[0]))
    if len(labels) > 1:
        ends.append(element("span", None, labels[-1]))
    top = element("p", {"class": "top", "aria-hidden": "true"}, f"{most:,} {_words(figure.columns[1])}")
    return element("div", {"class": "plot"}, top, element("svg", box, drawn), ends)


def _numbers(figure: Figure) -> Element:
    head = [element("th", {"scope": "col"}, _words(name)) for name in figure.columns]
    rows = []
    for row, label in itertools.zip_longest(figure.rows, figure.labels or ()):
        first = _data(row[0]) if label is None else element("data", {"value": _raw(row[0])}, label)
        rows.append(
            element("tr", None, element("th", {"scope": "row"}, first), [_cell(value) for value in row[1:]])
        )
    return _table(figure.title, head, rows, "numbers")


def _table(title: str, head: Sequence[Element], rows: Sequence[Element], kind: str) -> Element:
    table = element(
        "table",
        {"class": kind},
        element("caption", {"class": "unseen"}, title),
        element("thead", None, element("tr", None, head)),
        element("tbody", None, rows),
    )
    # What is wider than a telephone scrolls by itself, with the keyboard as well.
    return element(
        "div", {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": f"{title}, table"}, table
    )


def _cell(value: Any) -> Element:
    short = not isinstance(value, str) or len(value) <= 30
    return element("td", {"class": "short" if short else None}, _data(value))


def _data(value: Any) -> Element:
    if isinstance(value, str):
        return named(value, _LONGEST_CELL)
    return element("data", {"value": _raw(value)}, number_text(value))


def _raw(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return (
        ""
        if value is None
        else clipped(repr(value) if isinstance(value, float) else str(value), _LONGEST_CELL)
    )


def _words(name: str) -> str:
    return name.replace("_", " ").replace(" ms", " (ms)")


def _place(start: float, step: float) -> int:
    return round(start / step) if step else math.frexp(start)[1]
