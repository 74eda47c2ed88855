"""What the check of a source accepts, counts and refuses."""

from __future__ import annotations

import dataclasses
import json
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


def test_half_a_surrogate_pair_is_one_errors_row_wherever_it_stands(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "t": "whole", "k": "kept"},
        {"id": "2", "t": "half \ud83d", "k": "kept"},
        {"id": "3", "t": "whole", "k": "half \ud83d"},
        {"id": "half \ud83d", "t": "whole", "k": "kept"},
        {"id": "5", "t": "\ud83d\ude00", "k": None},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    good, bad = read(inspect_source(manifest(tmp_path / "m.jsonl", text, id="id", content="t", keep=["k"])))

    assert [reference.input_id for reference in good] == ["1", "5"]
    assert good[1].inline == "\U0001f600"
    assert [failure.error_type for failure in bad] == ["not_text"] * 3
    for failure, line, column in zip(bad, (2, 3, 4), ("t", "k", "id"), strict=True):
        assert f"m.jsonl:{line} has half of a surrogate pair in the column {column!r}" in failure.message
        failure.message.encode()
        failure.reference.input_id.encode()


def test_a_value_that_makes_no_folder_is_told_before_it_is_paid_for(tmp_path: Path) -> None:
    values = ["a" * 253, "a" * 254, "\u00e4" * 42, "\u00e4" * 43, None]
    text = "".join(json.dumps({"u": f"{n}.jpg", "k": value}) + "\n" for n, value in enumerate(values))
    spec = inspect_source(manifest(tmp_path / "m.jsonl", text, uri="u", keep=["k"]))

    good, bad = read(dataclasses.replace(spec, folders=("k",)))

    assert [reference.uri for reference in good] == [f"{tmp_path}/{n}.jpg" for n in (0, 2, 4)]
    assert [failure.error_type for failure in bad] == ["long_partition"] * 2
    assert "256 bytes long, and stores take 255" in bad[0].message
    assert read(spec)[1] == []


@pytest.mark.parametrize(
    ("inside", "kind"),
    [("_delta_log/00000000000000000000.json", "Delta"), ("metadata/v1.metadata.json", "Iceberg")],
)
def test_a_table_with_a_format_of_its_own_is_refused(tmp_path: Path, inside: str, kind: str) -> None:
    pq.write_table(pa.table({"u": ["a.jpg"]}), tmp_path / "part.parquet")
    source = SourceConfig(table=str(tmp_path), columns={"uri": "u"})
    assert inspect_source(source).manifests
    (tmp_path / inside).parent.mkdir()
    (tmp_path / inside).write_text("{}")
    with pytest.raises(SourceError, match=f"an? {kind} table"):
        inspect_source(source)


def table_of(folder: Path, *files: dict[str, Any]) -> SourceConfig:
    for number, columns in enumerate(files):
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    keep = list(dict.fromkeys(name for columns in files for name in columns if name != "u"))
    return SourceConfig(table=str(folder), columns={"uri": "u", "keep": keep})


@pytest.mark.parametrize(
    ("kinds", "values", "kind", "kept"),
    [
        ((pa.int32(), pa.float64()), (1, 1.5), pa.float64(), [1.0, 1.5]),
        ((pa.int32(), pa.int64()), (1, 2**40), pa.int64(), [1, 2**40]),
        ((pa.uint8(), pa.uint64()), (1, 2**64 - 1), pa.uint64(), [1, 2**64 - 1]),
        ((pa.null(), pa.string()), (None, "a"), pa.string(), [None, "a"]),
        ((pa.int64(), pa.float64()), (2**53 + 1, 0.5), pa.string(), ["9007199254740993", "0.5"]),
        ((pa.int64(), pa.uint64()), (-1, 2**64 - 1), pa.string(), ["-1", "18446744073709551615"]),
        ((pa.int32(), pa.string()), (1, "a"), pa.string(), ["1", '"a"']),
        ((pa.string(), pa.list_(pa.int64())), ("a", [1]), pa.string(), ['"a"', "[1]"]),
    ],
)
def test_a_kept_column_has_one_type_for_all_files_and_no_value_is_changed(
    tmp_path: Path,
    kinds: tuple[pa.DataType, ...],
    values: tuple[Any, ...],
    kind: pa.DataType,
    kept: list[Any],
) -> None:
    files = [
        {"u": [f"{number}.jpg"], "k": pa.array([value], type)}
        for number, (type, value) in enumerate(zip(kinds, values, strict=True))
    ]
    spec = inspect_source(table_of(tmp_path, *files))

    good, bad = read(spec)

    assert spec.keep_schema.field("k").type == kind
    assert [reference.columns["k"] for reference in good] == kept
    assert pa.array(kept, kind).to_pylist() == kept
    assert bad == []


def test_a_column_that_only_later_files_have_is_kept(tmp_path: Path) -> None:
    good, bad = read(inspect_source(table_of(tmp_path, {"u": ["a.jpg"]}, {"u": ["b.jpg"], "k": [1]})))
    assert [reference.columns["k"] for reference in good] == [None, 1]
    assert bad == []


@pytest.mark.parametrize("fault", ["garbage", "no column"])
def test_one_bad_file_of_a_table_is_named_before_anything_is_sent(tmp_path: Path, fault: str) -> None:
    source = table_of(tmp_path, {"u": ["a.jpg"]}, {"u": ["b.jpg"]}, {"u": ["c.jpg"]})
    if fault == "garbage":
        (tmp_path / "1.parquet").write_bytes(b"PAR1 and then nothing")
    else:
        pq.write_table(pa.table({"v": ["b.jpg"]}), tmp_path / "1.parquet")
    with pytest.raises(SourceError, match=r"1\.parquet"):
        inspect_source(source)


def test_a_kept_column_of_mixed_types_is_kept_as_json_text(tmp_path: Path) -> None:
    values = [1, "a", None, {"b": [True]}, "\u00e4"]
    text = "".join(json.dumps({"u": f"{n}.jpg", "k": value}) + "\n" for n, value in enumerate(values))
    spec = inspect_source(manifest(tmp_path / "m.jsonl", text, uri="u", keep=["k"]))

    good, bad = read(spec)

    assert bad == []
    assert [reference.columns["k"] for reference in good] == ["1", '"a"', None, '{"b": [true]}', '"\u00e4"']
    assert spec.keep_schema.field("k").type == pa.string()
