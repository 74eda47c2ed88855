"""`bulkinfer report`: what an output holds, on one page."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from bulkinfer.transforms.storage.references import hide_secrets, shown
from bulkinfer.transforms.storage.store import Store

from .cards import KEPT_OUT, card, key_of
from .charts import figure_card, query
from .figures.chosen import figures_of
from .figures.figure import Figure
from .history import known_before, runs_figure
from .markup import Child, Element, element, html, named
from .output import Output
from .page import MOST_BYTES, grid, page, section, tiles
from .pictures.choices import Choice, choose
from .pictures.content import Seen, contents
from .pictures.drawing import frame_size
from .tables import Key

__all__ = ["SAMPLE", "report_page", "write_page", "write_report"]

SAMPLE = 12  #: inputs that are shown of each choice
_FIRST = ("labels", "region_labels", "answers", "odd_masks")  #: figures that tell a broken model soonest


def write_report(output: Output, to: str | None = None, *, sample: int = SAMPLE, start: int = 0) -> str:
    """Write the page of an output, and return where.

    Args:
        output: what it is about.
        to: a path or any fsspec URL; by default report.html in the output.
        sample: inputs that are shown of each choice.
        start: how many of each choice are left out.

    Raises:
        StoreError: a table cannot be read, or the page cannot be written.
    """
    text = report_page(output, sample=sample, start=start).encode("utf-8", "replace")
    return write_page(output.store, to, "report.html", text)


def write_page(store: Store, to: str | None, name: str, text: bytes) -> str:
    """Write a page to where a person wants it, or else under its name into an output.

    Raises:
        StoreError: it cannot be written.
    """
    if to is None:
        store.write(name, text)
        return store.url(name)
    folder, slash, last = to.rpartition("/")
    Store(folder + slash if folder in ("", "/") and slash else folder or ".").write(last, text)
    return to


def report_page(output: Output, *, sample: int = SAMPLE, start: int = 0) -> str:
    """The page of an output as HTML.

    Raises:
        StoreError: a table cannot be read.
    """
    latest = output.latest
    figures = {
        figure.key: figure for figure in figures_of(dict(output.tables), latest.run_id, len(output.runs))
    }
    runs = runs_figure(output.store, output.runs)
    failures = figures.pop("failures", None)
    totals = figures.pop("totals", None)
    pictures = _pictures(output, figures, sample, start)
    first = [figures.pop(key) for key in _FIRST if key in figures]
    sections = [
        _failures(output, failures),
        _changes(output),
        section("inputs", "Inputs and what was found", pictures) if pictures else None,
        section("figures", "Figures", _cards([*first, *figures.values()])) if first or figures else None,
        section("runs-section", "Runs", _cards([runs], "wide")),
        _job(output),
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    footer = f"Written by bulkinfer report on {now:%Y-%m-%d %H:%M} UTC. This page is one file and asks for no other."
    return page(f"bulkinfer: {output.name}", list(_header(output, totals)), sections, footer)


def _header(output: Output, totals: Figure | None) -> Iterator[Child]:
    latest, held = output.latest, dict(totals.rows) if totals else {}
    yield element("h1", None, named(output.name))
    model = latest.job.get("model") or {}
    said = (model.get("method"), latest.model_url, latest.model_version and f"version {latest.model_version}")
    yield element("p", {"class": "sub"}, named(" · ".join(filter(None, said))))
    count = len(output.runs)
    runs = "1 run" if count == 1 else f"{count:,} runs, the latest"
    yield element("p", {"class": "sub"}, f"{runs} {latest.run_id}, finished {latest.finished_at}")
    failed = held.get("errors", 0)
    facts = (
        ("inputs succeeded", held.get("inputs", 0), False),
        ("inputs failed", failed, failed > 0),
        ("rows of predictions", held.get("predictions", 0), False),
        ("masks", held.get("masks", 0), False),
    )
    yield tiles(facts, "What the tables hold")
    if totals is not None:
        yield query(totals.sql, "of these numbers")


def _failures(output: Output, failures: Figure | None) -> Element | None:
    if failures is None:
        return None
    command = output.retry_command()
    kinds = sorted({row[0] for row in failures.rows if row[3]})
    hint = f"To try those of one type alone, add --error-type {kinds[0]}." if kinds else ""
    drawn = figure_card(failures)
    drawn.set("class", "card failures")
    return section(
        "failures-section",
        "Failures",
        element("p", None, "Tried again by: ", element("code", None, hide_secrets(command)), f" {hint}"),
        drawn,
    )


def _changes(output: Output) -> Element | None:
    latest = output.latest
    outcome: Mapping[str, Any] = latest.outcome
    names = ("new", "changed", "gone", "skipped")
    facts = [(name, outcome.get(name, latest.counts.get(f"inputs_{name}")), False) for name in names]
    failed = latest.counts.get("errors", 0)
    words = {
        "gone": "gone from the source",
        "skipped": "skipped: done before",
        "changed": "changed, done again",
    }
    shown_facts = [(words.get(name, name), value, bad) for name, value, bad in facts]
    return section(
        "changes",
        "The latest run",
        tiles([*shown_facts, ("failed", failed, failed > 0)], "What the latest run found"),
    )


def _pictures(output: Output, figures: Mapping[str, Figure], sample: int, start: int) -> list[Child]:
    """The grid of inputs, with what it leaves out."""
    labels = [row[0] for key in ("labels", "region_labels") if key in figures for row in figures[key].rows]
    predictions, masks = output.tables["predictions"], output.tables["masks"]
    choices = choose(
        predictions,
        masks,
        count=sample,
        start=start,
        labels=list(dict.fromkeys(labels))[:sample],
        latest=output.latest.run_id,
        known=known_before(output.store, output.runs),
    )
    places: dict[Key, dict[str, int]] = {}
    for choice in choices:
        for place, key in enumerate(choice.keys):
            places.setdefault(key, {})[choice.key] = place
    rows = {key_of(row): row for row in predictions.rows(places, without=KEPT_OUT)}
    regions: dict[Key, list[Mapping[str, Any]]] = {}
    for mask in masks.rows(places, without=("concepts",)):
        regions.setdefault(key_of(mask), []).append(mask)
    sizes = {key: size for key, found in regions.items() if (size := frame_size(found))}
    seen = contents(list(rows.values()), output.source, output.folder, sizes)
    cards, left_out = _within_size(
        [(places[key], rows[key], regions.get(key, []), seen[key]) for key in places if key in rows]
    )
    if not cards:
        return []
    return [
        *_notes(list(seen.values()), left_out, start, sample),
        *grid(cards, _titles(choices)),
        _queries(choices),
    ]


Shown = tuple[Mapping[str, int], Mapping[str, Any], Sequence[Mapping[str, Any]], Seen]


def _within_size(shown_rows: Sequence[Shown]) -> tuple[list[Element], int]:
    """The cards that fit into a page, the first ones of each choice first, and how many do not."""
    cards: list[Element] = []
    size = 0
    ordered = sorted(shown_rows, key=lambda one: min(one[0].values()))
    for number, (places, row, masks, seen) in enumerate(ordered):
        made = card(row, masks, seen, places, number)
        size += len(html(made))
        if size > MOST_BYTES:
            return cards, len(ordered) - number
        cards.append(made)
    return cards, 0


def _notes(seen: Sequence[Seen], left_out: int, start: int, sample: int) -> Iterator[Element]:
    missing = [one.missing for one in seen if one.missing]
    if missing and len(missing) == len(seen):
        text = "No input could be read from its source, so that none is shown; the first because "
        yield element("p", {"class": "missing", "role": "note"}, text, named(missing[0], 300))
    elif missing:
        yield element("p", {"class": "note"}, f"{len(missing)} of {len(seen)} inputs could not be read.")
    if left_out:
        text = f"{left_out} inputs are left out, or the page would be larger than 5 MB; --sample and --from-index page."
        yield element("p", {"class": "note"}, text)
    if start:
        yield element("p", {"class": "note"}, f"From index {start} of each choice, {sample} at most.")


def _titles(choices: Sequence[Choice]) -> list[tuple[str, str]]:
    return [(choice.key, f"{choice.title} ({len(choice.keys)})") for choice in choices]


def _queries(choices: Sequence[Choice]) -> Element:
    queries = [
        element(
            "div", None, element("h3", None, choice.title), query(choice.sql, f"of the choice {choice.title}")
        )
        for choice in choices
        if choice.sql
    ]
    return element("details", None, element("summary", None, "How the inputs were chosen"), queries)


def _cards(figures: Sequence[Figure], kind: str = "") -> Element:
    cards = [figure_card(figure) for figure in figures]
    for one in cards:
        one.set("class", f"card {kind}".strip())
    return element("div", {"class": "figures"}, cards)


def _job(output: Output) -> Element:
    latest = output.latest
    job = (
        yaml.safe_dump(dict(latest.job), sort_keys=False, allow_unicode=True)
        if latest.job
        else "(not recorded)"
    )
    versions = ", ".join(f"{name} {version}" for name, version in latest.versions.items())
    return section(
        "job",
        "The job",
        element("p", {"class": "sub"}, named(shown(latest.job_file), 400)) if latest.job_file else None,
        element(
            "pre",
            {"tabindex": "0", "aria-label": "The job file of the latest run, without secrets"},
            hide_secrets(job),
        ),
        element("p", {"class": "sub"}, versions),
    )
