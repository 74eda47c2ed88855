"""What the check of a source accepts, counts and refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.errors import SourceError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Failure, Reference
from bulkinfer.transforms.sources.rows import RowReader
from bulkinfer.transforms.sources.source import SourceCount, SourceSpec, count_source, inspect_source


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a.jpg", "photos/b.jpg", "photos/sub/c.jpg", "texts/a.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path


def manifest(path: Path, text: str, **columns: Any) -> SourceConfig:
    path.write_text(text)
    return SourceConfig(manifest=str(path), columns=columns)


def read(spec: SourceSpec) -> tuple[list[Reference], list[Failure]]:
    items = [item for split in spec.scan.splits for item in RowReader(spec).read(split)]
    return (
        [item for item in items if isinstance(item, Reference)],
        [item for item in items if isinstance(item, Failure)],
    )


def test_files_are_counted_with_their_bytes(photos: Path) -> None:
    spec = inspect_source(SourceConfig(files="photos/**/*.jpg"))
    assert spec.media_type == "image"
    assert count_source(spec) == SourceCount(3, 15)
    assert count_source(inspect_source(SourceConfig(files="photos/**/*.jpg"), limit=2)) == SourceCount(2, 10)


def test_a_file_that_two_patterns_match_counts_once(photos: Path) -> None:
    patterns = [
        "photos/*.jpg",
        "./photos/a.jpg",
        str(photos / "photos" / "**" / "*.jpg"),
        f"file://{photos}/photos/*",
    ]
    assert count_source(inspect_source(SourceConfig(files=patterns))).inputs == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("photos/*.png", r"source\.files: photos/\*\.png matches no file; check the path"),
        ("photos/z.jpg", r"source\.files: photos/z\.jpg does not exist"),
        (
            ["photos/*.jpg", "texts/*"],
            r"holds image \(photos/[ab]\.jpg\) and text \(texts/a\.txt\).*source\.media",
        ),
    ],
)
def test_files_that_cannot_be_a_source_are_refused(photos: Path, files: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        inspect_source(SourceConfig(files=files))


def test_an_unknown_suffix_needs_a_media_type(photos: Path) -> None:
    (photos / "x.bin").write_bytes(b"x")
    with pytest.raises(
        SourceError, match=r"the suffix of 'x\.bin' does not tell the media type; add source\.media"
    ):
        inspect_source(SourceConfig(files="x.bin"))
    assert inspect_source(SourceConfig(files="x.bin", media="audio")).media_type == "audio"


def test_files_have_no_columns_for_arguments(photos: Path) -> None:
    with pytest.raises(SourceError, match=r"name the columns 'city', but source\.files has no columns"):
        inspect_source(SourceConfig(files="photos/*.jpg"), ["city"])


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    source = SourceConfig(manifest=str(tmp_path / "no.csv"), columns={"uri": "uri"})
    with pytest.raises(SourceError, match=r"source\.manifest: .*no\.csv does not exist or matches no file"):
        inspect_source(source)


@pytest.mark.parametrize(
    ("columns", "needed", "message"),
    [
        ({"uri": "image_uri"}, [], r"source\.columns\.uri names the column 'image_uri'.*has image_url, city"),
        ({"uri": "image_url", "keep": ("ctiy",)}, [], r"source\.columns\.keep.*did you mean 'city'\?"),
        ({"uri": "image_url"}, ["prompt"], r"model\.arguments names the column 'prompt'"),
    ],
)
def test_a_missing_column_is_told_with_those_there_are(
    tmp_path: Path, columns: dict[str, Any], needed: list[str], message: str
) -> None:
    source = manifest(tmp_path / "refs.csv", "image_url,city\na.jpg,Bern\n", **columns)
    with pytest.raises(SourceError, match=message):
        inspect_source(source, needed)


def test_a_manifest_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"refs\.csv has no rows; nothing to do"):
        inspect_source(manifest(tmp_path / "refs.csv", "uri\n", uri="uri"))


def test_a_manifest_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"refs\.xlsx.*must end in \.csv, \.tsv, \.jsonl"):
        inspect_source(manifest(tmp_path / "refs.xlsx", "uri\n", uri="uri"))


def test_broken_rows_become_failures_and_the_others_land(tmp_path: Path) -> None:
    path = tmp_path / "refs.csv"
    source = manifest(
        path, "id,uri\n1,a.jpg\n1,b.jpg\n2\n,c.jpg\n3,\n4,d.txt\n5,e.jpg\n", uri="uri", id="id", keep=()
    )
    source = source.model_copy(update={"columns": source.columns})
    with pytest.raises(SourceError, match="holds image"):
        inspect_source(source)
    path.write_text("id,uri\n1,a.jpg\n1,b.jpg\n2\n,c.jpg\n3,\n5,e.jpg\n")
    spec = inspect_source(source)
    assert count_source(spec) == SourceCount(6, None)
    references, failures = read(spec)
    assert [(item.input_id, item.uri) for item in references] == [
        ("1", f"{tmp_path}/a.jpg"),
        ("5", f"{tmp_path}/e.jpg"),
    ]
    assert [(item.reference.input_id, item.stage, item.error_type) for item in failures] == [
        (f"{path}:3", "list", "duplicate_id"),
        (f"{path}:4", "list", "broken_line"),
        (f"{path}:5", "list", "null_id"),
        ("3", "list", "null_uri"),
    ]
    assert f"as {path}:2 had before" in failures[0].message
    assert "has 1 fields where the header has 2" in failures[1].message


def test_an_id_may_come_again_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("uri\nx.jpg\ny.jpg\n")
    (tmp_path / "b.csv").write_text("uri\nz.jpg\nx.jpg\nx.jpg\n")
    spec = inspect_source(SourceConfig(manifest=f"{tmp_path}/*.csv", columns={"uri": "uri"}))
    references, failures = read(spec)
    assert [item.input_id for item in references] == ["x.jpg", "y.jpg", "z.jpg"]
    assert [item.reference.input_id for item in failures] == [f"{tmp_path}/b.csv:3", f"{tmp_path}/b.csv:4"]
    assert all(f"as {tmp_path}/a.csv:2 had" in item.message for item in failures)


def test_a_value_of_another_type_than_the_first_rows_breaks_its_line(tmp_path: Path) -> None:
    rows = (
        "".join(f'{{"uri": "{i}.jpg", "n": {i}}}\n' for i in range(1200)) + '{"uri": "x.jpg", "n": "many"}\n'
    )
    spec = inspect_source(manifest(tmp_path / "refs.jsonl", rows, uri="uri", keep=("n",)))
    assert spec.keep_schema == pa.schema([("n", pa.int64())])
    references, failures = read(spec)
    assert len(references) == 1200
    assert [(item.error_type, item.reference.input_id) for item in failures] == [("broken_line", "x.jpg")]
    assert "has a str in the column 'n', which holds int64" in failures[0].message


def test_inline_text_is_content(tmp_path: Path) -> None:
    source = manifest(
        tmp_path / "t.jsonl", '{"k": 1, "body": "hi"}\n{"k": 2, "body": null}\n', content="body", id="k"
    )
    references, failures = read(inspect_source(source))
    assert [(item.input_id, item.inline, item.media_type) for item in references] == [("1", "hi", "text")]
    assert [item.error_type for item in failures] == ["null_content"]


def test_versions_come_from_the_row(tmp_path: Path) -> None:
    source = manifest(
        tmp_path / "t.jsonl", '{"k": 1, "body": "hi"}\n{"k": 2, "body": "ho"}\n', content="body", id="k"
    )
    first, second = read(inspect_source(source))[0]
    assert first.version.startswith("blake2b:")
    assert first.version != second.version
    (tmp_path / "a.txt").write_text("x")
    source = manifest(tmp_path / "t.csv", "uri,v\na.txt,7\n", uri="uri", version="v")
    (reference,) = read(inspect_source(source))[0]
    assert reference.version == "given:7"
    assert Fetcher(max_bytes=9, storage={}).content(reference).reference.version == "given:7"


def test_a_table_has_its_partitions_as_columns(tmp_path: Path) -> None:
    for year, city in ((2024, "Bern"), (2025, "New%20York")):
        folder = tmp_path / "lake" / f"year={year}" / f"city={city}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"uri": [f"s3://b/{year}.jpg"], "n": [1.5]}), folder / "part.parquet")
    (tmp_path / "lake" / "_SUCCESS").write_bytes(b"")
    (tmp_path / "lake" / "_metadata.parquet").write_bytes(b"junk")
    spec = inspect_source(
        SourceConfig(table=str(tmp_path / "lake"), columns={"uri": "uri", "keep": ("year", "city")}), ["n"]
    )
    assert spec.keep_schema == pa.schema([("year", pa.int64()), ("city", pa.string())])
    references, _ = read(spec)
    assert [dict(item.columns) for item in references] == [
        {"year": 2024, "city": "Bern", "n": 1.5},
        {"year": 2025, "city": "New York", "n": 1.5},
    ]


def test_a_checked_source_pickles_with_its_scan(tmp_path: Path) -> None:
    spec = inspect_source(manifest(tmp_path / "refs.csv", "uri\na.jpg\na.jpg\n", uri="uri"))
    scan = spec.scan
    copy = pickle.loads(pickle.dumps(spec))
    assert copy.__dict__["scan"].rows == scan.rows == 2
    assert read(copy)[1][0].error_type == "duplicate_id"


def test_the_check_does_not_import_beam() -> None:
    code = "import sys, bulkinfer.transforms.sources.source; sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_braces_stand_for_several_patterns(photos: Path) -> None:
    assert count_source(inspect_source(SourceConfig(files="photos/{a,b}.{jpg,png}"))).inputs == 2
    manifest = inspect_source(SourceConfig(files=["photos/{[ab]*,a}.jpg"]))
    assert count_source(manifest).inputs == 2  # a.jpg matches both
    with pytest.raises(SourceError, match=r"stands for photos/\*\.gif, photos/\*\.webp, which match no file"):
        inspect_source(SourceConfig(files="photos/*.{gif,webp}"))


@pytest.mark.parametrize("key", ["files", "manifest", "table"])
def test_a_store_that_is_not_there_is_told_in_one_line_without_its_secrets(key: str) -> None:
    where = {"files": "s3://b/*.jpg", "manifest": "s3://b/m.jsonl", "table": "s3://b/t"}[key]
    storage = {
        "key": "k",
        "secret": "planted-secret",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(SourceError) as caught:
        columns = {} if key == "files" else {"uri": "u"}
        inspect_source(SourceConfig(**{key: where}, storage=storage, columns=columns))
    assert "\n" not in str(caught.value)
    assert where in str(caught.value)
    assert "source.storage" in str(caught.value)
    assert "planted-secret" not in str(caught.value)
