"""Tells the one media type that a source holds: from suffixes, or from the type of a column of contents."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ..content.media import media_of
from ..errors import SourceError
from ..job.config import SourceConfig
from ..storage.references import shown
from .manifests.files import Row

__all__ = ["manifest_media", "one_media"]


def one_media(seen: dict[str | None, str], key: str) -> str:
    """The media type of references.

    Args:
        seen: by media type, one reference of it; None for those whose suffix tells none.
        key: of the job file, for messages.

    Raises:
        SourceError: there are none or several.
    """
    known = {media: uri for media, uri in seen.items() if media}
    if len(known) == 1:
        return next(iter(known))
    if not known:
        raise SourceError(
            f"{key}: the suffix of {shown(next(iter(seen.values()), 'the first reference'))!r} does not tell the "
            "media type; add source.media: image, text, video or audio"
        )
    examples = " and ".join(f"{media} ({shown(uri)})" for media, uri in sorted(known.items()))
    raise SourceError(
        f"{key} holds {examples}, but a job sends one media type; narrow the pattern, or set source.media to "
        "the one to send"
    )


def manifest_media(source: SourceConfig, key: str, schema: pa.Schema, rows: Sequence[Row]) -> str:
    """The media type of a manifest.

    Args:
        key: of the job file, for messages.
        schema: of its columns.
        rows: its first ones.

    Raises:
        SourceError: they tell none, or several.
    """
    columns = source.columns
    if columns.content is not None:
        kind = schema.field(columns.content).type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return "text"
        raise SourceError(
            f"{key}: the column {columns.content!r} holds {kind}, which does not tell the media type; add "
            "source.media: image, text, video or audio"
        )
    seen: dict[str | None, str] = {}
    for row in rows:
        uri = row.values.get(columns.uri or "")
        if uri:
            seen.setdefault(media_of(str(uri)), str(uri))
    return one_media(seen, key)
