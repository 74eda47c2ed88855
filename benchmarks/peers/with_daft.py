"""The same by Daft, as its documentation asks for calls of an API: an async batch method with a pool of instances."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import daft
from peer_calls import answers_of, open_call, request_of

IN_FLIGHT, BATCH = 24, 32


@daft.cls(max_concurrency=IN_FLIGHT)
class Model:
    """Calls the endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._call: Any = None

    @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=BATCH)
    async def predict(self, values: daft.Series) -> list[str]:
        """Answer one batch."""
        if self._call is None:
            self._call = open_call(self._endpoint)
        return answers_of(await self._call(request_of(values.to_pylist()), timeout=60))


model = Model(sys.argv[1])
source = Path(sys.argv[2])
if source.is_dir():
    files = daft.from_glob_path(f"{source}/*.jpg")
    rows = files.select(
        daft.col("path").alias("id"), model.predict(daft.col("path").download()).alias("text")
    )
else:
    rows = daft.read_csv(str(source)).select(daft.col("id"), model.predict(daft.col("body")).alias("text"))
rows.write_parquet(sys.argv[3])
