"""Tells a folder of Parquet from a table of Delta Lake or Apache Iceberg."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import SourceError

__all__ = ["refuse_formats"]


def refuse_formats(text: str, below: str, paths: Sequence[str]) -> None:
    """Refuse a folder that has a format of its own.

    A Delta or Iceberg table also holds files of deleted rows and of older versions: as a folder it tells lies.

    Args:
        text: the table, as the job names it.
        below: what the paths of its files begin with.
        paths: of its files.

    Raises:
        SourceError: it is a table of Delta Lake or Apache Iceberg.
    """
    for path in paths:
        inside = path[len(below) :].lstrip("/")
        delta = inside.startswith("_delta_log/")
        if delta or re.fullmatch(r"metadata/[^/]*\.metadata\.json", inside):
            raise SourceError(
                f"source.table: {text} is {'a Delta' if delta else 'an Iceberg'} table ({inside} lies in it), which "
                "is not read as such yet: deleted rows and old versions would be sent; export its current rows to a "
                "folder of Parquet, and name that"
            )
