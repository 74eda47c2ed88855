"""One pass through the ids of a manifest: how many rows, in which pieces, and which ids come again."""

from __future__ import annotations

import dataclasses
import itertools
from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import SourceError
from ...kept.types import one_schema
from ...storage.faults import redact, source_faults
from ...storage.filesystems import Filesystems
from .files import FileScan, Manifest, Split, check_unchanged
from .formats import scan

__all__ = ["SourceScan", "scan_manifests"]

_ROWS_PER_SPLIT = 50_000
_ROWS_PER_INLINE_SPLIT = 256
_THREADS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class SourceScan:
    """What one pass through the ids of a manifest found.

    Attributes:
        splits: pieces to read, in order.
        rows: how many records there are.
        repeats: for each file, lines whose id came before, and file and line of the first: shape (n, 3).
        kept: the kept columns that any file has, each with the type that holds the values of all.
        faults: files that cannot be read, by their index, and why.
    """

    splits: tuple[Split, ...]
    rows: int
    repeats: dict[int, npt.NDArray[np.int64]]
    kept: Any = None
    faults: Mapping[int, str] = dataclasses.field(default_factory=dict)


def scan_manifests(
    manifests: Sequence[Manifest],
    key: str,
    storage: Mapping[str, Any],
    *,
    kept: Sequence[str] = (),
    limit: int | None,
    inline: bool,
    forgiving: bool = False,
) -> SourceScan:
    """Go once through the column that names the inputs.

    Args:
        key: the column.
        storage: fsspec options of the source.
        limit: read no more rows than these.
        inline: whether the rows hold content, so that pieces must be small.
        kept: columns whose types are told.
        forgiving: a file that cannot be read is told in `faults`, and the others are read.

    Raises:
        SourceError: a file cannot be read, or lacks the column.
    """
    per_split = _ROWS_PER_INLINE_SPLIT if inline else _ROWS_PER_SPLIT

    def one(index: int, left: int | None) -> FileScan:
        manifest = manifests[index]
        fix = "every file of a manifest needs the same columns"
        with source_faults(f"cannot read the column {key!r} of {manifest.path}", storage, fix):
            try:
                return scan(
                    manifest,
                    index,
                    key,
                    Filesystems(storage),
                    kept=kept,
                    limit=left,
                    rows_per_split=per_split,
                )
            except (SourceError, pa.ArrowException, LookupError, ValueError) as error:
                if not forgiving:
                    raise
                check_unchanged(manifest, Filesystems(storage))
                fault = redact(" ".join(str(error).split())[:200], storage)
                return FileScan([], array("q"), array("q"), fault=fault)

    scans: list[FileScan] = []
    if limit is not None:
        left = limit
        for index in range(len(manifests)):
            scans.append(one(index, left))
            left -= len(scans[-1].lines)
            if left < 1:
                break
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            scans = list(pool.map(lambda index: one(index, None), range(len(manifests))))
    splits = tuple(itertools.chain.from_iterable(item.splits for item in scans))
    faults = {index: item.fault for index, item in enumerate(scans) if item.fault}
    return SourceScan(
        splits,
        sum(len(item.lines) for item in scans) + len(faults),
        _repeats(scans),
        one_schema(item.kept for item in scans if item.lines),
        faults,
    )


def _repeats(scans: Sequence[FileScan]) -> dict[int, npt.NDArray[np.int64]]:
    """Rows whose id came before, by file; ids are compared by 64-bit hashes, all at once."""
    empty: Any = np.empty(0, np.int64)
    hashes = np.concatenate([empty, *(np.frombuffer(item.hashes, np.int64) for item in scans if item.hashes)])
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    again = np.flatnonzero(ranked[1:] == ranked[:-1]) + 1
    if not len(again):
        return {}
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    firsts = order[starts[np.searchsorted(starts, again, side="right") - 1]]
    lines = np.concatenate([empty, *(np.frombuffer(item.lines, np.int64) for item in scans if item.lines)])
    files = np.repeat(np.arange(len(scans)), [len(item.lines) for item in scans])
    table = np.stack([lines[order[again]], files[firsts], lines[firsts]], axis=1)
    of_file = files[order[again]]
    return {int(file): table[of_file == file] for file in np.unique(of_file)}
