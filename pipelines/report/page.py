"""Puts a page together: one HTML file with its style and its script inside, which asks no other place for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources

from .markup import Child, Element, element, html

__all__ = ["MOST_BYTES", "grid", "page", "section", "tiles"]


MOST_BYTES = 4_700_000  #: of the cards: with all else the page stays below 5 MB
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
#: What may be drawn over pictures: a key of the script's and the style's, a name, whether it is at first.
_LAYERS = (("masks", "Masks", True), ("boxes", "All boxes", False), ("labels", "Labels", True))


def page(title: str, header: Sequence[Child], sections: Iterable[Element | None], footer: str) -> str:
    """A whole page.

    Args:
        title: of the window.
        header: what stands above the sections.
        sections: with an id and a heading each; those of None are left out.
        footer: the last line.
    """
    style, script = _file("page.css"), _file("page.js")
    found = [one for one in sections if one is not None]
    links = [
        element("li", None, element("a", {"href": f"#{one.get('id')}"}, one.findtext("h2") or ""))
        for one in found
    ]
    # Were anything in it ever taken for a script, or for a reference, a browser would still not follow it.
    policy = f"{_POLICY}; script-src '{_hash(script)}'"
    head = element(
        "head",
        None,
        element("meta", {"charset": "utf-8"}),
        element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("link", {"rel": "icon", "href": "data:,"}),
        element("title", None, title),
        element("style"),
    )
    body = element(
        "body",
        None,
        element("a", {"class": "skip", "href": "#content"}, "Skip to the content"),
        element(
            "header", None, header, element("nav", {"aria-label": "Sections"}, element("ul", None, links))
        ),
        element("main", {"id": "content"}, found),
        element("footer", None, footer),
        element("dialog", {"id": "large"}, _closing(), element("div")),
        element("script"),
    )
    text = "<!doctype html>\n" + html(element("html", {"lang": "en"}, head, body))
    # Both are this package's own files, and stand as they are.
    return text.replace("<style></style>", f"<style>{style}</style>").replace(
        "<script></script>", f"<script>{script}</script>"
    )


def section(key: str, title: str, *inside: Child) -> Element:
    """A part of a page, to which its beginning links."""
    named = f"{key}-heading"
    return element(
        "section", {"id": key, "aria-labelledby": named}, element("h2", {"id": named}, title), *inside
    )


def tiles(facts: Iterable[tuple[str, int | str | None, bool]], label: str) -> Element:
    """Numbers that are read at a glance: a name, a value, whether it is a bad sign."""
    return element(
        "ul",
        {"class": "tiles", "aria-label": label},
        [
            element("li", {"class": "bad" if bad else None}, element("b", None, _number(value)), name)
            for name, value, bad in facts
        ],
    )


def grid(cards: Sequence[Element], choices: Sequence[tuple[str, str]], layers: bool = True) -> list[Element]:
    """Cards, with buttons that choose among them and boxes that say what is drawn over their pictures.

    Args:
        cards: articles.
        choices: key and title of each choice.
        layers: there are pictures.
    """
    buttons = [
        element("button", {"type": "button", "data-choice": key, "aria-pressed": "false"}, title)
        for key, title in [*choices, ("", "All")]
    ]
    shown = element("span", {"id": "shown", "class": "sub", "role": "status"})
    boxes = [element("label", None, _checkbox(key, on), name) for key, name, on in _LAYERS]
    controls = [
        element("div", {"class": "controls", "role": "group", "aria-label": "Which inputs"}, buttons, shown)
    ]
    if layers:
        controls.append(
            element("div", {"class": "controls", "role": "group", "aria-label": "What is drawn"}, boxes)
        )
    return [*controls, element("div", {"class": "grid", "id": "grid"}, cards)]


def _checkbox(layer: str, on: bool) -> Element:
    return element("input", {"type": "checkbox", "data-layer": layer, "checked": "" if on else None})


def _closing() -> Element:
    return element("form", {"method": "dialog"}, element("button", {"autofocus": ""}, "Close"))


def _number(value: int | str | None) -> str:
    if value is None:
        return "not known"
    return value if isinstance(value, str) else f"{value:,}"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
