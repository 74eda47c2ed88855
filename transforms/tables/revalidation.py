"""Asks the source's store for the versions of finished inputs, and whether another version is of the same content.

Times and etags change where no byte does. Who compared the content of a touched file keeps what was found beside the
run, in `_runs/RUN_ID/seen/`, so that the next run need not read it again: `id` fixed_size_binary(16), `version` and
`content` uint64, as in an index of inputs.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..content.fetch import Fetcher
from ..content.versions import content_code, is_by_content
from ..errors import ReadError
from ..records import Reference
from ..runs.parts import RUNS, new_part_id, run_directory
from ..storage.store import Store
from .input_index import IdLookup, Pairs, hash_ids, ids_of, ids_to_arrow, version_code

__all__ = ["SEEN", "Revalidation", "Sightings"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 32
SEEN = "seen"  #: of a run's directory
_SCHEMA = pa.schema(
    [
        pa.field("id", pa.binary(16), nullable=False),
        pa.field("version", pa.uint64(), nullable=False),
        pa.field("content", pa.uint64(), nullable=False),
    ]
)


class Sightings:
    """The content that inputs had in the versions that runs compared, of each input the latest one.

    Args:
        ids: shape (n, 2), in the order in which they were seen.
        versions: shape (n,).
        contents: shape (n,).
    """

    def __init__(self, ids: Pairs, versions: NDArray[np.uint64], contents: NDArray[np.uint64]) -> None:
        self._lookup, self._versions, self._contents = IdLookup(ids), versions, contents

    @classmethod
    def read(cls, store: Store, runs: Sequence[str]) -> Sightings:
        """Read what these runs saw, in their order."""
        order = {run_id: number for number, run_id in enumerate(runs)}
        found = []
        for entry in store.find(RUNS):
            _, run_id, *rest = entry.path.split("/")
            if len(rest) == 2 and rest[0] == SEEN and run_id in order:
                found.append((order[run_id], entry.path))
        tables = [_read(store, path) for _, path in sorted(found)]
        table = pa.concat_tables([*tables, _SCHEMA.empty_table()])
        return cls(
            ids_of(table.column("id")), table.column("version").to_numpy(), table.column("content").to_numpy()
        )

    def to_table(self) -> Any:
        """The columns of a file that holds all of them."""
        rows = self._lookup.order
        columns = [
            ids_to_arrow(self._lookup.ids),
            pa.array(self._versions[rows]),
            pa.array(self._contents[rows]),
        ]
        return pa.table(columns, schema=_SCHEMA)

    def __len__(self) -> int:
        return len(self._lookup)

    def content(self, ids: Pairs, versions: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The content of each of these inputs in this version; 0 where nobody saw it. Shape (n,)."""
        rows = self._lookup.find(ids)
        known = rows >= 0
        known[known] = self._versions[rows[known]] == versions[known]
        contents = np.zeros(len(ids), np.uint64)
        contents[known] = self._contents[rows[known]]
        return contents


class Revalidation:
    """Asks for versions and contents, and keeps for later runs what it learns. Thread-safe.

    Args:
        store: of the output.
        run_id: the current run.
        fetcher: reads the source.
        seen: what earlier runs know.
    """

    def __init__(self, store: Store, run_id: str, fetcher: Fetcher, seen: Sightings) -> None:
        self._store, self._run_id, self._fetcher, self._seen = store, run_id, fetcher, seen
        self._lock = threading.Lock()
        self._ids: list[Pairs] = []
        self._versions: list[int] = []
        self._contents: list[int] = []

    def changed(
        self,
        references: list[Reference],
        versions: NDArray[np.uint64],
        contents: NDArray[np.uint64],
        read: Callable[[], bytes] | None = None,
        *,
        asks: bool = True,
        compare: bool = True,
    ) -> tuple[NDArray[np.bool_], int]:
        """Tell which finished inputs have another content now.

        Args:
            references: of the inputs.
            versions: that they were done in; shape (n,), 0 where unknown, which counts as the same.
            contents: checksums of what was done; shape (n,), 0 where unknown.
            read: gives the content, where there is one reference.
            asks: ask the store for versions that the listing does not tell, and for contents.
            compare: read the content of those that have another version, and that no earlier run has read.

        Returns:
            Shape (n,), True where it changed; and how many of these have another version alone, as far as was looked.
        """
        changed = np.zeros(len(references), bool)
        known = np.flatnonzero(versions != 0).tolist()
        now = {number: references[number].version for number in known}
        if asks:
            unknown = [number for number in known if not now[number] and references[number].inline is None]
            now.update(zip(unknown, _each(self._version, [references[n] for n in unknown]), strict=True))
        others = [n for n in known if now[n] and version_code(now[n]) != versions[n]]
        changed[others] = True
        touched = [n for n in others if asks and contents[n] and not is_by_content(now[n])]
        if not touched:
            return changed, 0
        found = self._contents_now(
            [references[n] for n in touched],
            [now[n] for n in touched],
            contents[touched],
            read,
            compare=compare,
        )
        changed[np.array(touched)[found == contents[touched]]] = False
        return changed, 0 if compare else int((found == 0).sum())

    def _contents_now(
        self,
        references: list[Reference],
        versions: list[str],
        done: NDArray[np.uint64],
        read: Callable[[], bytes] | None,
        *,
        compare: bool,
    ) -> NDArray[np.uint64]:
        """The checksum of the content that each input has in this version; 0 where nobody knows. Shape (n,)."""
        ids = hash_ids([reference.input_id for reference in references])
        codes = np.array([version_code(version) for version in versions], np.uint64)
        contents = self._seen.content(ids, codes)
        asked = np.flatnonzero(contents == 0)
        if not compare or not len(asked):
            return contents
        found = _each(lambda one: self._content(one, read), [references[n] for n in asked.tolist()])
        contents[asked] = np.array(found, np.uint64)
        new = asked[contents[asked] == done[asked]]
        with self._lock:
            self._ids.append(ids[new])
            self._versions += codes[new].tolist()
            self._contents += contents[new].tolist()
        return contents

    def flush(self) -> None:
        """Write what was learnt since the last time.

        Raises:
            StoreError: the store is full or out of reach.
        """
        with self._lock:
            ids, versions, contents = self._ids, self._versions, self._contents
            self._ids, self._versions, self._contents = [], [], []
        if not versions:
            return
        columns = [
            ids_to_arrow(np.concatenate(ids)),
            pa.array(versions, pa.uint64()),
            pa.array(contents, pa.uint64()),
        ]
        sink = io.BytesIO()
        pq.write_table(pa.table(columns, schema=_SCHEMA), sink, compression="zstd")
        path = f"{run_directory(self._run_id)}/{SEEN}/{new_part_id()}.parquet"
        self._store.write(path, sink.getvalue())

    def _version(self, reference: Reference) -> str:
        """The version that the store tells; "" where it is gone or out of reach, so that its outcome stays."""
        try:
            return self._fetcher.version(reference)
        except ReadError:
            return ""

    def _content(self, reference: Reference, read: Callable[[], bytes] | None) -> int:
        try:
            if read is None:
                return content_code(self._fetcher.fetch(reference.uri or "").data)
            return content_code(read()) if (reference.size or 0) <= self._fetcher.max_bytes else 0
        except Exception:  # noqa: BLE001  (whatever its driver raises is told when the input is to be sent)
            return 0


def _read(store: Store, path: str) -> Any:
    try:
        return pq.ParquetFile(io.BytesIO(store.read(path))).read(_SCHEMA.names).cast(_SCHEMA)
    except (pa.ArrowException, OSError, ValueError) as error:
        # What it says can be found out again.
        logger.warning("ignored: %s cannot be read: %s", store.url(path), type(error).__name__)
        return _SCHEMA.empty_table()


def _each(ask: Callable[[Reference], T], references: Sequence[Reference]) -> list[T]:
    if len(references) < 2:
        return [ask(reference) for reference in references]
    with ThreadPoolExecutor(max_workers=min(_THREADS, len(references))) as pool:
        return list(pool.map(ask, references))
