"""Tables of Delta Lake and Iceberg as sources: the rows of one snapshot, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deltalake
import fsspec
import pyarrow as pa
import pytest
from bulkinfer.transforms.errors import EmptySourceError, SourceError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.sources.pieces import PieceReader, count_source, first_pieces
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from pyiceberg.catalog.sql import SqlCatalog
from support.s3_server import s3_server, s3_storage

COLUMNS = {"content": "body", "id": "key", "keep": ["city"]}


def part(*keys: str, city: str = "Bern") -> pa.Table:
    return pa.table(
        {"key": list(keys), "body": [f"body of {key}" for key in keys], "city": [city] * len(keys)}
    )


def source(table: Path | str, **more: Any) -> SourceConfig:
    return SourceConfig(table=str(table), media="text", columns=COLUMNS, **more)


def keys(spec: SourceSpec) -> dict[str, str]:
    """Ids and cities of all inputs."""
    reader = PieceReader(spec, None)
    found = [one for piece in first_pieces(spec) for item in reader.read(piece) for one in item]
    assert len(found) == count_source(spec).inputs
    return {one.input_id: one.columns["city"] for one in found}


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """Four versions: two cities, one row deleted, one added, all compacted."""
    table = tmp_path / "delta"
    deltalake.write_deltalake(table, part("a", "b"), partition_by=["city"])
    deltalake.write_deltalake(table, part("c", city="Zug am See"), mode="append")
    deltalake.DeltaTable(table).delete("key = 'a'")
    deltalake.write_deltalake(table, part("d"), mode="append")
    deltalake.DeltaTable(table).optimize.compact()
    return table


def test_a_delta_table_is_its_latest_version(delta: Path) -> None:
    spec = inspect_source(source(delta))

    assert keys(spec) == {"b": "Bern", "c": "Zug am See", "d": "Bern"}
    assert spec.snapshot == "version 4 of Delta"


@pytest.mark.parametrize(
    ("version", "expected"), [(0, {"a", "b"}), (1, {"a", "b", "c"}), (2, {"b", "c"}), (3, {"b", "c", "d"})]
)
def test_an_older_version_has_the_rows_that_it_had(delta: Path, version: int, expected: set[str]) -> None:
    assert set(keys(inspect_source(source(delta, snapshot=version)))) == expected


def test_a_version_that_is_not_there_is_told(delta: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read version 99 of the Delta table .*source\.snapshot"):
        inspect_source(source(delta, snapshot=99))


def test_a_delta_table_without_rows_is_empty(delta: Path) -> None:
    deltalake.DeltaTable(delta).delete()
    with pytest.raises(EmptySourceError, match=r"version 5 of Delta .* has no rows"):
        inspect_source(source(delta))


def test_columns_under_other_names_are_refused(delta: Path) -> None:
    log = delta / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"]["delta.columnMapping.mode"] = "name"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for checkpoint in (delta / "_delta_log").glob("*.checkpoint*"):
        checkpoint.unlink()
    with pytest.raises(SourceError, match=r"columnMapping|maps its columns"):
        inspect_source(source(delta))


def test_a_file_of_a_delta_table_is_no_manifest(delta: Path) -> None:
    with pytest.raises(SourceError, match=r"in source\.table"):
        inspect_source(SourceConfig(manifest=f"{delta}/**/*.parquet", media="text", columns=COLUMNS))


def test_a_delta_table_on_s3_is_read_with_the_options_of_the_source(delta: Path) -> None:
    with s3_server("lake") as server:
        storage = s3_storage(server.url)
        fsspec.filesystem("s3", **storage).put(str(delta), "lake/delta", recursive=True)

        spec = inspect_source(source("s3://lake/delta", storage=storage))

        assert set(keys(spec)) == {"b", "c", "d"}


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    made = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/warehouse")
    made.create_namespace("lake")
    return made


def test_an_iceberg_table_is_its_current_snapshot_and_an_older_one_by_its_id(
    tmp_path: Path, catalog: SqlCatalog
) -> None:
    table = catalog.create_table("lake.texts", schema=part("x").schema)
    table.append(part("a", "b"))
    first = table.current_snapshot()
    table.append(part("c", city="Zug"))
    table.delete("key = 'a'")
    folder = table.location()

    spec = inspect_source(source(folder))
    assert first is not None
    assert keys(spec) == {"b": "Bern", "c": "Zug"}
    assert spec.snapshot == f"snapshot {table.current_snapshot().snapshot_id} of Iceberg"
    assert set(keys(inspect_source(source(folder, snapshot=first.snapshot_id)))) == {"a", "b"}
    assert set(keys(inspect_source(source(table.metadata_location)))) == {"b", "c"}
    with pytest.raises(SourceError, match=f"has no snapshot 7; the latest are: .*{first.snapshot_id}"):
        inspect_source(source(folder, snapshot=7))


def test_an_iceberg_table_without_a_snapshot_is_told(catalog: SqlCatalog) -> None:
    table = catalog.create_table("lake.texts", schema=part("x").schema)
    with pytest.raises(SourceError, match="the latest are: none yet"):
        inspect_source(source(table.location()))


def test_renamed_columns_are_refused(catalog: SqlCatalog) -> None:
    table = catalog.create_table("lake.texts", schema=part("x").schema)
    table.append(part("a"))
    with table.update_schema() as update:
        update.rename_column("body", "words")
    table.append(part("b").rename_columns(["key", "words", "city"]))

    with pytest.raises(SourceError, match=r"renamed columns \(body, words\)"):
        inspect_source(source(table.location()))


@pytest.mark.parametrize(
    "keys_of_source",
    [
        {"files": "*.txt", "snapshot": 1},
        {"manifest": "a.csv", "format": "delta", "columns": COLUMNS},
        {"table": "t", "format": "parquet", "snapshot": 1, "columns": COLUMNS},
    ],
    ids=["files", "a manifest", "parquet"],
)
def test_snapshots_belong_to_tables_of_lakes(keys_of_source: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        SourceConfig(**keys_of_source)
