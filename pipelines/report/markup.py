"""Builds HTML and SVG out of elements: no text becomes markup, and characters that hide or turn text are shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from xml.etree import ElementTree as ET

__all__ = ["Child", "Element", "clipped", "element", "html", "named", "visible"]

Element: TypeAlias = ET.Element
Child: TypeAlias = "Element | str | int | Iterable[Child] | None"

_KEPT = frozenset("\n\t")


def element(
    tag: str, attributes: Mapping[str, str | int | float | None] | None = None, *children: Child
) -> Element:
    """An element.

    Args:
        tag: its name.
        attributes: those of None are left out.
        children: elements, texts, and sequences of these; None is nothing.

    >>> html(element("b", {"title": 'a "quote"'}, "<script>"))
    '<b title="a &quot;quote&quot;">&lt;script&gt;</b>'
    """
    given = {name: visible(str(value)) for name, value in (attributes or {}).items() if value is not None}
    made = ET.Element(tag, given)
    _append(made, children)
    return made


def _append(parent: Element, children: Iterable[Child]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, ET.Element):
            parent.append(child)
        elif isinstance(child, str | int):
            _append_text(parent, visible(str(child)))
        else:
            _append(parent, child)


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def html(root: Element) -> str:
    """An element as HTML."""
    return ET.tostring(root, encoding="unicode", method="html")


def visible(text: str) -> str:
    """A text whose characters that are not seen, or turn others round, stand as their numbers.

    >>> visible("a\\x1b[31m\\u202eb\\nc")
    'a\\u27e81B\\u27e9[31m\\u27e8202E\\u27e9b\\nc'
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(one: str) -> str:
    # Cf: joiners belong to letters and emoji of many languages; the others of that kind turn text round or hide.
    if one in _KEPT or one.isprintable() or one in "\u200c\u200d" or unicodedata.category(one) == "Zs":
        return one
    return f"\u27e8{ord(one):X}\u27e9"


def clipped(text: str, most: int) -> str:
    """The beginning of a text, with how much more there is."""
    return text if len(text) <= most else f"{text[:most]} \u2026 ({len(text):,} characters)"


def named(text: str, most: int = 200) -> Element:
    """Somebody else's text, of any direction, without effect on what stands around it."""
    return element("bdi", None, clipped(text, most))
