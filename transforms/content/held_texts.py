"""Texts that come with their references, many at once: they need no look at one alone unless one of them is odd."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from ..records import Content, Reference
from .versions import GIVEN, HASHED, content_code

__all__ = ["held_texts"]


def held_texts(references: Sequence[Reference], max_bytes: int) -> list[Content] | None:
    """The contents of texts, as `Fetcher.content` gives them; None when one of them wants a look of its own.

    Args:
        references: whose content is a text that they hold.
        max_bytes: of one content.
    """
    try:
        datas = [one.inline.encode() for one in references]  # type: ignore[union-attr]
    except (AttributeError, UnicodeEncodeError):
        return None
    if not all(datas) or max(map(len, datas)) > max_bytes:
        return None
    if any(data.startswith(codecs.BOM_UTF8) for data in datas):
        return None
    # Others tell their version when they are read.
    if not all(one.media_type == "text" and one.version.startswith((HASHED, GIVEN)) for one in references):
        return None
    return [
        Content(
            Reference(
                one.input_id,
                one.uri,
                one.media_type,
                one.version,
                len(data),
                None,
                one.columns,
                one.place,
                one.aliases,
                content_code(data),
            ),
            data,
        )
        for one, data in zip(references, datas, strict=True)
    ]
