"""Cuts texts into tokens, so that answers have a usage and can be cut at `max_tokens`."""

from __future__ import annotations

import re

__all__ = ["count_tokens", "tokens_of"]

#: A piece of a word of at most six letters, one sign, or white space; with the space before it.
_TOKEN = re.compile(r" ?\w{1,6}| ?[^\w\s]|\s")


def tokens_of(text: str) -> list[str]:
    """The text's tokens; joined they are the text."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens a text has."""
    return len(tokens_of(text))
