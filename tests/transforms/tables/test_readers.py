"""The tables are read alike by DuckDB, Polars, pandas, PyArrow datasets and Hugging Face datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.records import Failure
from bulkinfer.transforms.rows.footers import footer_metadata
from bulkinfer.transforms.rows.schemas import parquet_options
from bulkinfer.transforms.rows.table_builder import Tables
from clarifai_grpc.grpc.api import resources_pb2
from pycocotools import mask as coco
from support.answers import add, builder_of, output, prediction, region, returned, square

KEEP = pa.schema([("city", pa.string()), ("taken", pa.timestamp("us")), ("visits", pa.int64())])
SHAPES = [square(), square(side=3), square(left=0, top=0, side=30)]


def read_duckdb(path: Path) -> list[dict[str, Any]]:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.sql(f"SELECT * FROM read_parquet('{path}') ORDER BY ALL").to_arrow_table().to_pylist()


def read_polars(path: Path) -> list[dict[str, Any]]:
    return pytest.importorskip("polars").read_parquet(path).to_dicts()


def read_pandas(path: Path) -> list[dict[str, Any]]:
    frame = pytest.importorskip("pandas").read_parquet(path, dtype_backend="pyarrow")
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


def read_dataset(path: Path) -> list[dict[str, Any]]:
    return ds.dataset(path).to_table().to_pylist()


def read_datasets(path: Path) -> list[dict[str, Any]]:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(path.parent / "cache")
    )
    return list(loaded)


READERS = {
    "duckdb": read_duckdb,
    "polars": read_polars,
    "pandas": read_pandas,
    "dataset": read_dataset,
    "datasets": read_datasets,
}


def build(masks: str = "rle") -> Tables:
    builder = builder_of(masks=masks, keep_schema=KEEP, raw=True)
    shapes = [region(shape, id=f"r{at}", value=0.5) for at, shape in enumerate(SHAPES)]
    add(builder, prediction(returned(regions=shapes), input_id="a", columns={"city": "Oslo", "visits": 3}))
    add(builder, prediction(returned(string_value="no region"), input_id="b"))
    concept = resources_pb2.Concept(id="c", name="cat", value=0.75)
    add(builder, prediction(output(resources_pb2.Data(concepts=[concept])), input_id="c"))
    builder.add_failure(Failure(prediction(input_id="d").reference, "call", "refused", "no", status_code=3))
    return builder.finish()


def write(table: Any, path: Path) -> Path:
    schema = table.schema.with_metadata(footer_metadata(table.schema, run_id="run"))
    with pq.ParquetWriter(path, schema, **parquet_options(schema)) as writer:
        if table.num_rows:  # Hugging Face datasets cannot read a row group without rows
            writer.write_table(table.cast(schema))
    return path


@pytest.mark.parametrize("reader", list(READERS))
def test_masks_decode_to_the_pixels_that_the_model_sent(reader: str, tmp_path: Path) -> None:
    rows = READERS[reader](write(build().masks, tmp_path / "masks.parquet"))

    assert len(rows) == len(SHAPES)
    for row, shape in zip(sorted(rows, key=lambda row: row["region_index"]), SHAPES, strict=True):
        assert np.array_equal(coco.decode(dict(row["segmentation"])), shape)
        assert row["area"] == shape.sum()
        assert row["bbox"] == coco.toBbox(dict(row["segmentation"])).tolist()


@pytest.mark.parametrize("reader", list(READERS))
def test_predictions_keep_columns_nulls_and_nested_values(reader: str, tmp_path: Path) -> None:
    rows = {
        row["input_id"]: row
        for row in READERS[reader](write(build().predictions, tmp_path / "predictions.parquet"))
    }

    assert (rows["a"]["city"], rows["a"]["visits"], rows["a"]["taken"]) == ("Oslo", 3, None)
    assert (rows["b"]["city"], rows["b"]["text"], rows["b"]["regions"]) == (None, "no region", None)
    assert [one["region_id"] for one in rows["a"]["regions"]] == ["r0", "r1", "r2"]
    assert rows["c"]["concepts"] == [{"id": "c", "name": "cat", "value": 0.75}]


@pytest.mark.parametrize("reader", list(READERS))
def test_errors_are_read(reader: str, tmp_path: Path) -> None:
    (row,) = READERS[reader](write(build().errors, tmp_path / "errors.parquet"))

    assert (row["input_id"], row["stage"], row["status_code"], row["uri"]) == (
        "d",
        "call",
        3,
        "s3://bucket/d.jpg",
    )


@pytest.mark.parametrize("table", ["predictions", "masks", "errors"])
@pytest.mark.parametrize("reader", [name for name in READERS if name != "datasets"])
def test_an_empty_table_is_read_as_empty(reader: str, table: str, tmp_path: Path) -> None:
    empty = builder_of(keep_schema=KEEP).finish()

    assert READERS[reader](write(getattr(empty, table), tmp_path / "empty.parquet")) == []


def test_datasets_reads_a_file_without_rows_beside_one_with(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    empty = builder_of().finish()
    paths = [
        str(write(build().masks, tmp_path / "1.parquet")),
        str(write(empty.masks, tmp_path / "2.parquet")),
    ]

    loaded = datasets.load_dataset(
        "parquet", data_files=paths, split="train", cache_dir=str(tmp_path / "cache")
    )

    assert loaded.num_rows == len(SHAPES)


def test_datasets_shows_png_masks_as_pictures(tmp_path: Path) -> None:
    rows = read_datasets(write(build("png").masks, tmp_path / "masks.parquet"))

    for row, shape in zip(rows, SHAPES, strict=True):
        assert np.array_equal(np.asarray(row["mask"]) != 0, shape)
        assert row["segmentation"] is None or row["segmentation"]["counts"] is None


def test_readers_that_filter_by_input_find_its_masks(tmp_path: Path) -> None:
    path = write(build().masks, tmp_path / "masks.parquet")

    assert ds.dataset(path).to_table(filter=ds.field("input_id") == "a").num_rows == len(SHAPES)
