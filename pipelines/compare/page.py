"""A comparison for a person: some lines of text, or a page with disagreeing pictures side by side."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from bulkinfer.transforms.storage.references import shown

from ..report.cards import card_body, framed, short_name
from ..report.charts import figure_card
from ..report.markup import Child, Element, clipped, element, html, named, visible
from ..report.output import Output
from ..report.page import MOST_BYTES, grid, page, section, tiles
from ..report.pictures.content import Seen, contents
from ..report.pictures.drawing import frame_size
from .comparison import Comparison, Disagreement
from .figures import figures_of
from .shapes import LEAST_IOU

__all__ = ["comparison_page", "comparison_text"]

_WAYS = {"label": "Other label", "regions": "Other regions", "text": "Other text"}


def comparison_text(found: Comparison) -> str:
    """The figures in lines."""
    lines = [f"A: {_model(found.a)}", f"B: {_model(found.b)}", ""]
    lines += [f"{found.both:,} rows in both, {found.only_a:,} only in A, {found.only_b:,} only in B"]
    if not found.both:
        lines.append(
            "rows are compared by input_id and output_index; outputs of two sources have none in common"
        )
    lines += _sentences(found)
    if found.labels.confusions:
        lines += ["", "commonest confusions (A -> B):"]
        for one, other, count in found.labels.confusions[:10]:
            lines.append(f"  {count:>8,}  {_short(one)} -> {_short(other)}")
    if found.disagreements:
        lines += ["", "rows that disagree most:"]
        lines += [f"  {one.what:<8} {_short(one.key[0], 100)}" for one in found.disagreements]
    return "\n".join(lines)


def comparison_page(found: Comparison) -> str:
    """The page as HTML.

    Raises:
        StoreError: a table cannot be read.
    """
    header: list[Child] = [element("h1", None, "Two outputs compared")]
    for name, output in (("A", found.a), ("B", found.b)):
        header.append(
            element("p", {"class": "sub"}, element("b", None, f"{name} "), named(_model(output), 400))
        )
    counts = (
        ("rows in both", found.both, False),
        ("only in A", found.only_a, False),
        ("only in B", found.only_b, False),
    )
    header.append(tiles(counts, "Rows"))
    cards = [figure_card(figure) for figure in figures_of(found)]
    sentences = [element("li", None, line) for line in _sentences(found)]
    pictures = _pictures(found)
    sections = [
        section("agreement-section", "Agreement", element("ul", None, sentences), _figures(cards)),
        section("inputs", "Inputs that disagree most", pictures) if pictures else None,
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    footer = f"Written by bulkinfer compare on {now:%Y-%m-%d %H:%M} UTC. This page is one file and asks for no other."
    return page(f"bulkinfer: {found.a.name} and {found.b.name}", header, sections, footer)


def _figures(cards: list[Element]) -> Element:
    return element("div", {"class": "figures"}, cards)


def _sentences(found: Comparison) -> Iterator[str]:
    """What agrees, one thing a line."""
    labels, scores, texts, shapes = found.labels, found.scores, found.texts, found.shapes
    if labels.agreement is not None:
        kappa = "not defined: one label is all there is" if labels.kappa is None else f"{labels.kappa:.3f}"
        yield f"labels: {labels.agreement:.1%} of {labels.compared:,} equal, Cohen's kappa {kappa}"
    if scores.mean is not None:
        yield f"scores: B is {scores.mean:+.4f} from A in the mean, {scores.mean_absolute:.4f} without signs"
    if texts.compared:
        alike = (
            "" if texts.similarity is None else f", the others alike by {texts.similarity:.0%} of their words"
        )
        drawn = f" ({texts.looked_at} drawn)" if texts.looked_at < texts.compared - texts.equal else ""
        yield f"texts: {texts.equal / texts.compared:.1%} of {texts.compared:,} equal{alike}{drawn}"
    if shapes.rows:
        drawn = f" (of {shapes.of:,}, drawn)" if shapes.rows < shapes.of else ""
        iou = "none" if shapes.mean_iou is None else f"{shapes.mean_iou:.3f}"
        yield (
            f"regions: {shapes.in_a:,} in A, {shapes.in_b:,} in B, {shapes.matched:,} matched at IoU {LEAST_IOU:g}, "
            f"their mean IoU {iou}, in {shapes.rows:,} rows{drawn}"
        )
        if shapes.label_agreement is not None:
            yield f"labels of matched regions: {shapes.label_agreement:.1%} equal"


def _pictures(found: Comparison) -> list[Child]:
    sizes = {
        one.key: size
        for one in found.disagreements
        for side in (one.a, one.b)
        if (size := frame_size(side[1]))
    }
    rows = [one.a[0] for one in found.disagreements]
    source = found.a if found.a.source is not None else found.b
    seen = contents(rows, source.source, source.folder, sizes)
    places = dict.fromkeys(_WAYS, 0)
    cards: list[Element] = []
    length = 0
    for number, one in enumerate(found.disagreements):
        made = _pair(one, seen[one.key], places[one.what], number)
        length += len(html(made))
        if length > MOST_BYTES:
            break
        cards.append(made)
        places[one.what] += 1
    ways = [(key, f"{title} ({places[key]})") for key, title in _WAYS.items() if places[key]]
    return list(grid(cards, ways, any(one.picture for one in seen.values()))) if cards else []


def _pair(one: Disagreement, seen: Seen, place: int, number: int) -> Element:
    """A row as both outputs have it, side by side."""
    sides = [
        element(
            "div",
            {"role": "group", "aria-label": f"Output {name}"},
            element("p", {"class": "sub"}, name),
            card_body(row, masks, seen, f"{short_name(row)} in {name}"),
        )
        for name, (row, masks) in (("A", one.a), ("B", one.b))
    ]
    said = element("p", {"class": "facts"}, _WAYS[one.what])
    return framed(
        (), one.a[0], [said, element("div", {"class": "pair"}, sides)], {one.what: place}, number, "two"
    )


def _model(output: Output) -> str:
    latest = output.latest
    method: Mapping[str, Any] = latest.job.get("model") or {}
    said = (method.get("method"), latest.model_url, latest.model_version)
    return f"{shown(output.store.uri)}: " + " ".join(filter(None, said))


def _short(text: str, most: int = 40) -> str:
    """A text of somebody else's on a terminal: no controls, one line."""
    return clipped(" ".join(visible(text).split()), most)
