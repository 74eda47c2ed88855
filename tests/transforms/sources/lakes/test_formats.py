"""Parquet files that belong to a table of Delta Lake, Iceberg, Hudi or Paimon are no folder of Parquet."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.errors import SourceError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.sources.source import inspect_source
from support.s3_server import s3_server

TABLES = [
    ("_delta_log/00000000000000000000.json", "part.parquet", "a Delta"),
    ("metadata/v1.metadata.json", "data/city=Bern/part.parquet", "an Iceberg"),
    (".hoodie/hoodie.properties", "city=Bern/part.parquet", "a Hudi"),
]
HUDI_FILE = "0f9c5a3e-8b1d-4c6f-9a2e-7d5b3c1f8e60-0_0-22-29_20260131235959999.parquet"


def make_table(folder: Path, marker: str, data: str) -> Path:
    for name in (marker, data):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"u": ["a.jpg"]}), folder / data)
    (folder / marker).write_text("{}")
    return folder


def look(**source: str) -> None:
    inspect_source(SourceConfig(columns={"uri": "u"}, **source))


@pytest.mark.parametrize(("marker", "data", "kind"), TABLES)
def test_a_table_with_a_format_of_its_own_is_refused_however_it_is_named(
    tmp_path: Path, marker: str, data: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    table = make_table(lake / "t", marker, data)
    make_table(lake / "t", marker, data.replace("part", "other"))
    folder = str((table / data).parent)
    says = rf"(?:is, or lies in,|holds) {kind} table \(.*\), whose folder also holds deleted rows"
    for named in (f"{table}/**/*.parquet", f"{lake}/*/{data}"):
        with pytest.raises(SourceError, match=rf"source\.table: .* {says}"):
            look(table=named)
    itself = rf"cannot read the {kind.split()[1]} table" if kind in ("a Delta", "an Iceberg") else says
    for named in (str(table), f"{table}/", f"file://{table}"):
        with pytest.raises(SourceError, match=rf"source\.table: .*{itself}"):
            look(table=named)
    for inside in (f"{folder}/*.parquet", f"{folder}/part.parquet", f"{folder}/{{part,other}}.parquet"):
        with pytest.raises(SourceError, match=rf"source\.manifest: .* {says}"):
            look(manifest=inside)
    monkeypatch.chdir(folder)
    with pytest.raises(SourceError, match=says):
        look(manifest="*.parquet")


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        ("a/_delta_log/00000000000000000000.json", "a Delta"),
        ("a/metadata/00000-x.metadata.json", "an Iceberg"),
        ("a/snapshot/LATEST", "a Paimon"),
        ("snapshot/snapshot-17", "a Paimon"),
    ],
)
def test_a_folder_of_such_tables_is_refused(tmp_path: Path, inside: str, kind: str) -> None:
    make_table(tmp_path, inside, "part.parquet")
    with pytest.raises(SourceError, match=rf"source\.table: .* holds {kind} table \({inside}\)"):
        look(table=str(tmp_path))


def test_files_that_hudi_named_are_refused_without_its_folder(tmp_path: Path) -> None:
    pq.write_table(pa.table({"u": ["a.jpg"]}), tmp_path / HUDI_FILE)
    for source in (
        {"table": str(tmp_path)},
        {"manifest": f"{tmp_path}/*.parquet"},
        {"manifest": f"{tmp_path}/{HUDI_FILE}"},
    ):
        with pytest.raises(SourceError, match=r"holds a Hudi table \(.*parquet\)"):
            look(**source)


def test_what_only_lies_near_such_a_table_is_read(tmp_path: Path) -> None:
    make_table(tmp_path / "lake" / "t", *TABLES[0][:2])
    make_table(tmp_path / "lake" / "t", "metadata/notes.json", "x.parquet")
    plain = tmp_path / "lake" / "plain"
    (plain / "metadata").mkdir(parents=True)
    pq.write_table(pa.table({"u": ["a.jpg"]}), plain / "part.parquet")
    look(table=str(plain))
    (tmp_path / "lake" / "t" / "refs.csv").write_text("u\na.jpg\n")
    look(manifest=str(tmp_path / "lake" / "t" / "refs.csv"))


def test_a_table_on_s3_is_told_from_the_folders_above(tmp_path: Path) -> None:
    with s3_server("lake") as server:
        filesystem = server.filesystem()
        pq.write_table(pa.table({"u": ["a.jpg"]}), tmp_path / "part.parquet")
        filesystem.put(str(tmp_path / "part.parquet"), "lake/t/d=1/part.parquet")
        source = SourceConfig(table="s3://lake/t/d=1", columns={"uri": "u"}, storage=server.storage)
        assert inspect_source(source).manifests
        filesystem.pipe("lake/t/_delta_log/00000000000000000000.json", b"{}")
        with pytest.raises(SourceError, match=r"lies in, a Delta table \(s3://lake/t\)"):
            inspect_source(source)
