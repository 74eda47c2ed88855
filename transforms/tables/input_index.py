"""A compact list of inputs and how they ended, so that neither resume nor commit has to read the tables.

An input is identified by 16 bytes of BLAKE2b of its id, its content's version by 8. Columns of an index file:
`id` fixed_size_binary(16), `version` uint64 (0: unknown), `error_type` string (null: it succeeded), `content` uint64
(a checksum of the content, `content.versions.content_code`; 0 or no such column: unknown).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = [
    "INDEX_SCHEMA",
    "IdLookup",
    "InputIndex",
    "Pairs",
    "hash_column",
    "hash_ids",
    "ids_of",
    "ids_to_arrow",
    "version_code",
]

Pairs = NDArray[np.uint64]

INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("version", pa.uint64(), nullable=False),
        pa.field("error_type", pa.string()),
        pa.field("content", pa.uint64(), nullable=False),
    ]
)


def hash_ids(ids: Iterable[str]) -> Pairs:
    """Hash input ids to 16 bytes each: shape (n, 2), the first eight bytes and the last."""
    blake2b = hashlib.blake2b
    data = b"".join([blake2b(one.encode("utf-8", "surrogatepass"), digest_size=16).digest() for one in ids])
    pairs: Pairs = np.frombuffer(data, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return pairs


def hash_column(column: Any) -> Pairs:
    """Hash an Arrow column of input ids, each distinct id once; shape (rows, 2)."""
    encoded = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    pairs: Pairs = hash_ids(encoded.dictionary.to_pylist())[encoded.indices.to_numpy(zero_copy_only=False)]
    return pairs


def ids_of(column: Any) -> Pairs:
    """The hashed ids of an Arrow column of 16 bytes each; shape (n, 2)."""
    fixed = column.combine_chunks()
    if not len(fixed):
        return np.empty((0, 2), np.uint64)
    raw = np.frombuffer(fixed.buffers()[1], dtype=">u8", count=2 * len(fixed), offset=16 * fixed.offset)
    pairs: Pairs = raw.reshape(-1, 2).astype(np.uint64)
    return pairs


def ids_to_arrow(ids: Pairs) -> Any:
    """An Arrow array of hashed ids."""
    data = pa.py_buffer(ids.astype(">u8").tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, data])


def version_code(version: str) -> int:
    """Hash a content version to eight bytes; 0 when it is unknown."""
    if not version:
        return 0
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest(), "big") or 1


class IdLookup:
    """Finds hashed ids in a sorted array, vectorised.

    Args:
        ids: shape (n, 2); of equal ids, the last one wins.
    """

    def __init__(self, ids: Pairs) -> None:
        # The sort is stable, so the last of equal ids is the one that was given last.
        order = np.lexsort((ids[:, 1], ids[:, 0]))
        ordered = ids[order]
        last = np.ones(len(ids), bool)
        last[:-1] = (ordered[1:] != ordered[:-1]).any(axis=1)
        self.order = order[last]
        self._high = np.ascontiguousarray(ordered[last, 0])
        self._low = np.ascontiguousarray(ordered[last, 1])

    def __len__(self) -> int:
        return len(self._high)

    @property
    def ids(self) -> Pairs:
        """Each id once, in the order of `order`; shape (n, 2)."""
        return np.column_stack([self._high, self._low])

    def find(self, ids: Pairs) -> NDArray[np.int64]:
        """Find for each id its row in the array that was given, or -1; shape (n,)."""
        if not len(self._high):
            return np.full(len(ids), -1, np.int64)
        high, low = ids[:, 0], ids[:, 1]
        start = np.searchsorted(self._high, high, "left")
        stop = np.searchsorted(self._high, high, "right")
        found = np.full(len(ids), -1, np.int64)
        # Two ids hardly ever have equal first halves, so this loops once or twice.
        for step in range(int((stop - start).max(initial=0))):
            at = np.minimum(start + step, len(self._high) - 1)
            hit = (start + step < stop) & (self._low[at] == low)
            found[hit] = self.order[at[hit]]
        return found


@dataclasses.dataclass
class InputIndex:
    """Inputs and how they ended.

    Attributes:
        ids: shape (n, 2).
        versions: shape (n,), uint64.
        error_codes: shape (n,), int16: index into `error_types`, or -1 for an input that succeeded.
        error_types: the error types that occur.
        contents: shape (n,), uint64; 0 where the content's checksum is not known.
        job: the fingerprint of what answered, where the run that keeps the index does not tell it.
    """

    ids: Pairs
    versions: NDArray[np.uint64]
    error_codes: NDArray[np.int16]
    error_types: list[str]
    contents: NDArray[np.uint64]
    job: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> InputIndex:
        """An index without inputs."""
        none = np.empty(0, np.uint64)
        return cls(np.empty((0, 2), np.uint64), none, np.empty(0, np.int16), [], none)

    @classmethod
    def of_ids(cls, ids: Pairs) -> InputIndex:
        """An index of which nothing but the ids is known."""
        none = np.zeros(len(ids), np.uint64)
        return cls(ids, none, np.full(len(ids), -1, np.int16), [], none)

    @classmethod
    def concat(cls, indexes: Sequence[InputIndex]) -> InputIndex:
        """Concatenate indexes."""
        if not indexes:
            return cls.empty()
        types = sorted({kind for index in indexes for kind in index.error_types})
        codes = []
        for index in indexes:
            table = np.array([types.index(kind) for kind in index.error_types] + [-1], np.int16)
            codes.append(table[index.error_codes])
        return cls(
            np.concatenate([index.ids for index in indexes]),
            np.concatenate([index.versions for index in indexes]),
            np.concatenate(codes),
            types,
            np.concatenate([index.contents for index in indexes]),
        )

    def take(self, rows: NDArray[Any]) -> InputIndex:
        """Select inputs by row numbers or by a mask."""
        return InputIndex(
            self.ids[rows],
            self.versions[rows],
            self.error_codes[rows],
            self.error_types,
            self.contents[rows],
        )

    @classmethod
    def from_table(cls, table: Any) -> InputIndex:
        """Read the columns of an index file."""
        if not table.num_rows:
            return cls.empty()
        kinds = table.column("error_type").combine_chunks().dictionary_encode()
        return cls(
            ids_of(table.column("id")),
            table.column("version").to_numpy(),
            kinds.indices.fill_null(-1).to_numpy().astype(np.int16),
            kinds.dictionary.to_pylist(),
            # Earlier versions wrote none.
            table.column("content").to_numpy()
            if "content" in table.column_names
            else np.zeros(table.num_rows, np.uint64),
        )

    def to_table(self) -> Any:
        """Build the columns of an index file."""
        codes = pa.array(self.error_codes, mask=self.error_codes < 0)
        kinds = pa.DictionaryArray.from_arrays(codes, pa.array(self.error_types, pa.string()))
        columns = [
            ids_to_arrow(self.ids),
            pa.array(self.versions),
            kinds.cast(pa.string()),
            pa.array(self.contents),
        ]
        return pa.table(columns, schema=INDEX_SCHEMA)
