"""Texts of models and of files' names in a terminal, which must not take them for its commands."""

from __future__ import annotations

import re

__all__ = ["printable"]

#: Control characters, and what turns a line's direction or is not seen.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_MOST = 120


def printable(text: str, most: int = _MOST) -> str:
    """A text in one line, shortened, with what a terminal would act upon written out.

    >>> printable("a\\x1b[31mred\\n")
    'a\\\\x1b[31mred\\\\n'
    """
    cut = text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return _ODD.sub(lambda found: repr(found[0])[1:-1], cut)
