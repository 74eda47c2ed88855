"""One pass through the ids of a manifest: how many rows, in which pieces, and which ids come again."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from ...storage.faults import source_faults
from ...storage.filesystems import Filesystems
from .files import FileScan, Manifest, Split
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
    """

    splits: tuple[Split, ...]
    rows: int
    repeats: dict[int, npt.NDArray[np.int64]]


def scan_manifests(
    manifests: Sequence[Manifest], key: str, storage: Mapping[str, Any], *, limit: int | None, inline: bool
) -> SourceScan:
    """Go once through the column that names the inputs.

    Args:
        key: the column.
        storage: fsspec options of the source.
        limit: read no more rows than these.
        inline: whether the rows hold content, so that pieces must be small.

    Raises:
        SourceError: a file cannot be read, or lacks the column.
    """
    per_split = _ROWS_PER_INLINE_SPLIT if inline else _ROWS_PER_SPLIT

    def one(index: int, left: int | None) -> FileScan:
        manifest = manifests[index]
        fix = "every file of a manifest needs the same columns"
        with source_faults(f"cannot read the column {key!r} of {manifest.path}", storage, fix):
            return scan(manifest, index, key, Filesystems(storage), limit=left, rows_per_split=per_split)

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
    return SourceScan(splits, sum(len(item.lines) for item in scans), _repeats(scans))


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
