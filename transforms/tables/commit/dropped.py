"""`_runs/RUN_ID/dropped.parquet`: inputs whose rows leave the tables when the run is committed; then they are unknown.

Written before the run sends anything, and kept: from then on an outcome of an earlier run counts for none of them.
"""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import StoreError
from ...runs.parts import run_directory
from ...storage.store import Store
from ..input_index import Pairs, ids_of, ids_to_arrow

__all__ = ["read_dropped", "write_dropped"]

_SCHEMA = pa.schema([pa.field("id", pa.binary(16), nullable=False)])


def write_dropped(store: Store, run_id: str, ids: Pairs) -> None:
    """Name the inputs that a run drops; shape (n, 2).

    Raises:
        StoreError: the output cannot be written.
    """
    sink = io.BytesIO()
    pq.write_table(pa.table([ids_to_arrow(ids)], schema=_SCHEMA), sink, compression="zstd")
    store.write(_path(run_id), sink.getvalue())


def read_dropped(store: Store, run_id: str) -> Pairs:
    """The inputs that a run drops, shape (n, 2); mostly none.

    Raises:
        StoreError: the file cannot be read.
    """
    path = _path(run_id)
    try:
        return ids_of(pq.read_table(io.BytesIO(store.read(path)), schema=_SCHEMA).column("id"))
    except FileNotFoundError:
        return np.empty((0, 2), np.uint64)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"cannot read {store.url(path)}: {' '.join(str(error).split())[:200]}; restore the file, or set another "
            "output.uri"
        ) from error


def _path(run_id: str) -> str:
    return f"{run_directory(run_id)}/dropped.parquet"
