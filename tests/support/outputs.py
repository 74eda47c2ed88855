"""Writes the tables of an output out of plain rows, with the records of the runs that are said to have made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bulkinfer.transforms.rows.masks import encode_pixels
from bulkinfer.transforms.rows.schemas import errors_schema, masks_schema, parquet_options, predictions_schema
from bulkinfer.transforms.runs.record import RunRecord, write_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.input_index import InputIndex, hash_ids
from numpy.typing import NDArray

__all__ = ["RUN", "error", "mask", "prediction", "region", "write_output", "write_record"]

RUN = "20260131T120000Z-000001"
MODEL = "https://clarifai.com/u/a/models/m"


def prediction(name: str, **values: Any) -> dict[str, Any]:
    """A row of `predictions`."""
    regions = values.get("regions") or []
    row: dict[str, Any] = dict.fromkeys(predictions_schema().names)
    row |= {"input_id": name, "uri": name, "output_index": 0, "run_id": RUN, "media_type": "image"}
    row |= {"status_code": 10000, "num_regions": len(regions), "attempts": 1, "model_url": MODEL}
    return {**row, "latency_ms": 10.0, "model_version": "v1", **values}


def region(index: int, box: Sequence[float] = (0.1, 0.1, 0.5, 0.5), **values: Any) -> dict[str, Any]:
    """A region of a row of `predictions`."""
    return {"region_index": index, "bbox_rel": list(box), **values}


def mask(name: str, index: int, pixels: NDArray[Any] | None = None, **values: Any) -> dict[str, Any]:
    """A row of `masks`; its pixels of shape (height, width), not zero on the object."""
    row: dict[str, Any] = dict.fromkeys(masks_schema().names)
    row |= {"input_id": name, "uri": name, "output_index": 0, "run_id": RUN, "region_index": index}
    if pixels is not None:
        rle = encode_pixels(pixels.astype(np.uint8))
        x, y, width, height = rle.bbox
        row |= {"area": rle.area, "segmentation": {"size": [rle.height, rle.width], "counts": rle.counts}}
        row |= {"bbox_rel": [x / rle.width, y / rle.height, width / rle.width, height / rle.height]}
    return {**row, **values}


def error(name: str, **values: Any) -> dict[str, Any]:
    """A row of `errors`."""
    row = {
        "input_id": name,
        "run_id": RUN,
        "stage": "read",
        "error_type": "missing",
        "message": f"{name} is gone",
    }
    return {**row, "retryable": False, "attempts": 0, "failed_at": 0, **values}


def write_output(
    folder: Path,
    predictions: Sequence[Mapping[str, Any]] = (),
    masks: Sequence[Mapping[str, Any]] = (),
    errors: Sequence[Mapping[str, Any]] = (),
    *,
    keep: Any = None,
    runs: Iterable[str] = (RUN,),
    job: Mapping[str, Any] | None = None,
    group_rows: int = 1000,
    **record: Any,
) -> Path:
    """Write an output of one file a table, and none of a table without rows; returns its folder.

    Args:
        runs: ids of the runs that made it; each index holds the inputs whose rows bear its id.
        keep: schema of kept columns.
        job: the job that the records tell.
        group_rows: rows of a row group.
        record: further fields of the records.
    """
    tables = {"predictions": (predictions, predictions_schema(keep)), "masks": (masks, masks_schema())}
    for name, (rows, schema) in {**tables, "errors": (errors, errors_schema())}.items():
        if rows:
            (folder / name).mkdir(parents=True, exist_ok=True)
            table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
            path = folder / name / f"part-{RUN}-00000.parquet"
            pq.write_table(table, path, row_group_size=group_rows, **parquet_options(schema))
    for sequence, run_id in enumerate(runs, 1):
        ids = {row["input_id"] for row in (*predictions, *errors) if row["run_id"] == run_id}
        write_record(folder, run_id, sorted(ids), sequence=sequence, job=job or {}, **record)
    return folder


def write_record(folder: Path, run_id: str, ids: Sequence[str], **fields: Any) -> None:
    """Write a committed run's record, and the index of the inputs that it did."""
    times = {"started_at": "2026-01-31T12:00:00+00:00", "finished_at": "2026-01-31T12:01:00+00:00"}
    counts = {"inputs": len(ids), "predictions": len(ids), "inputs_new": len(ids), "calls": 3}
    values = {
        "sequence": 1,
        "state": "committed",
        "model_url": MODEL,
        "model_version": "v1",
        "counts": counts,
    }
    write_run(Store(str(folder)), RunRecord(run_id, **{**values, **times, **fields}))
    count = len(ids)
    index = InputIndex(
        hash_ids(ids),
        np.zeros(count, np.uint64),
        np.full(count, -1, np.int16),
        [],
        np.zeros(count, np.uint64),
    )
    (folder / "_runs" / run_id / "index").mkdir()
    pq.write_table(index.to_table(), folder / "_runs" / run_id / "index" / "part-00000.parquet")
