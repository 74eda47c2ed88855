"""What the check of a source accepts, counts and refuses."""

from __future__ import annotations

import dataclasses
import datetime
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
from bulkinfer.transforms.job.config import ColumnsConfig, SourceConfig
from bulkinfer.transforms.kept.types import is_json, source_of
from bulkinfer.transforms.kept.values import fitting
from bulkinfer.transforms.records import CONTENT_LIST, Failure, Reference
from bulkinfer.transforms.runs.chunks import from_chunk, to_chunk
from bulkinfer.transforms.sources.pieces import PieceReader, SourceCount, count_source, first_pieces
from bulkinfer.transforms.sources.rows import RowReader
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source


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


def references(spec: SourceSpec) -> list[Reference]:
    reader = PieceReader(spec, None)
    lists = [item for piece in first_pieces(spec) for item in reader.read(piece) if isinstance(item, list)]
    return sorted((one for items in lists for one in items), key=lambda one: one.input_id)


def test_a_folder_named_in_many_ways_gives_the_same_inputs(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spellings = ["photos/*.jpg", "./photos/*.jpg", "photos//*.jpg", f"file://{photos}/photos/*.jpg"]
    spellings += [f"{photos}/photos/*.jpg", "photos/{a,b}.jpg", "photos/sub/../?.jpg"]
    read = [references(inspect_source(SourceConfig(files=text))) for text in spellings]
    monkeypatch.chdir(photos / "photos")
    read.append(references(inspect_source(SourceConfig(files="*.jpg"))))
    assert [one.input_id for one in read[0]] == [f"{photos}/photos/a.jpg", f"{photos}/photos/b.jpg"]
    assert all(one == read[0] for one in read)


def test_equal_names_in_two_folders_are_two_inputs(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "other").mkdir()
    (photos / "other" / "a.jpg").write_bytes(b"another")
    ids = []
    for folder in ("photos", "other"):
        monkeypatch.chdir(photos / folder)
        spec = inspect_source(SourceConfig(files="a.jpg"))
        assert spec.relative_to == ""
        ids += [one.input_id for one in references(spec)]
    assert len(set(ids)) == 2


def test_an_output_of_old_keeps_the_names_that_its_patterns_gave(photos: Path) -> None:
    spec = inspect_source(SourceConfig(files="./photos//*.jpg"), as_written=True)
    assert [one.input_id for one in references(spec)] == ["./photos/a.jpg", "./photos/b.jpg"]
    assert spec.relative_to == str(photos)
    spec = inspect_source(SourceConfig(files=f"file://{photos}/photos/*.jpg"), as_written=True)
    assert (references(spec)[0].input_id, spec.relative_to) == (f"file://{photos}/photos/a.jpg", "")


@pytest.mark.parametrize(
    ("columns", "uri", "relative"),
    [
        ({"uri": "uri"}, "a.jpg", True),
        ({"uri": "uri"}, "s3://b/a.jpg", False),
        ({"uri": "uri", "id": "uri"}, "a.jpg", False),
    ],
)
def test_relative_ids_of_a_manifest_say_what_they_are_relative_to(
    photos: Path, columns: dict[str, str], uri: str, relative: bool
) -> None:
    (photos / "refs.csv").write_text(f"uri\n{uri}\n")
    for spelling in ("refs.csv", f"file://{photos}/refs.csv"):
        spec = inspect_source(SourceConfig(manifest=spelling, columns=columns))
        assert spec.relative_to == (str(photos) if relative else "")


def test_a_broken_line_is_one_input_however_its_manifest_is_spelt(photos: Path) -> None:
    (photos / "refs.csv").write_text("uri,b\na.jpg,1\nx\n")

    def failed(spelling: str, *, as_written: bool = False) -> str:
        config = SourceConfig(manifest=spelling, columns={"uri": "uri"})
        (failure,) = read(inspect_source(config, as_written=as_written))[1]
        assert f"{spelling}:3 has 1 field" in failure.message
        return failure.reference.input_id

    assert failed("refs.csv") == failed(f"{photos}/refs.csv") == f"{photos}/refs.csv:3"
    assert failed("./refs.csv", as_written=True) == "./refs.csv:3"


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
            r"holds image \(/.*/photos/[ab]\.jpg\) and text \(/.*/texts/a\.txt\).*source\.media",
        ),
    ],
)
def test_files_that_cannot_be_a_source_are_refused(photos: Path, files: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        inspect_source(SourceConfig(files=files))


def test_an_unknown_suffix_needs_a_media_type(photos: Path) -> None:
    (photos / "x.bin").write_bytes(b"x")
    with pytest.raises(
        SourceError, match=r"the suffix of '/.*/x\.bin' does not tell the media type; add source\.media"
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


def test_a_kept_column_has_one_type_for_all_rows_of_json(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"uri": f"{i}.jpg", "n": i, "real": i, "big": 2**60, "some": None} for i in range(1200)
    ]
    rows += [{"uri": "x.jpg", "n": "many", "real": 1.5, "big": 0.5, "some": ["late"]}]
    rows[0]["none"] = None
    text = "".join(json.dumps(row) + "\n" for row in rows)
    names = {"n": "n", "real": "real", "large": "big", "some": "some", "none": "none"}
    spec = inspect_source(manifest(tmp_path / "refs.jsonl", text, uri="uri", keep=names))
    assert [
        (field.name, str(field.type), is_json(field), source_of(field)) for field in spec.keep_schema
    ] == [
        ("n", "string", True, "n"),
        ("real", "double", False, "real"),
        ("large", "string", True, "big"),
        ("some", "list<item: string>", False, "some"),
        ("none", "null", False, "none"),
    ]
    references, failures = read(spec)
    assert (len(references), failures) == (1201, [])


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 1.5], "double"), ([2**53 + 1, 1.5], "string"), ([True, 1.5], "string"), ([2**70, 1], "string")],
)
def test_values_of_json_are_not_changed_by_each_other(tmp_path: Path, values: list[Any], kind: str) -> None:
    text = "".join(json.dumps({"uri": f"{n}.jpg", "k": value}) + "\n" for n, value in enumerate(values))
    spec = inspect_source(manifest(tmp_path / "refs.jsonl", text, uri="uri", keep=["k"]))
    assert str(spec.keep_schema.field("k").type) == kind
    kept = kept_values(spec, read(spec)[0])
    assert [json.loads(one) if kind == "string" else one for one in kept] == values


def test_types_of_files_without_rows_do_not_count(tmp_path: Path) -> None:
    empty = {"u": pa.array([], pa.string()), "k": pa.array([], pa.string())}
    spec = inspect_source(table_of(tmp_path, {"u": ["a.jpg"], "k": [1.5]}, empty))
    assert spec.keep_schema == pa.schema([("k", pa.float64())])


def test_a_footer_tells_whether_whole_numbers_are_exact_as_doubles(tmp_path: Path) -> None:
    spec = inspect_source(table_of(tmp_path, {"u": ["a.jpg"], "k": [2**53]}, {"u": ["b.jpg"], "k": [0.5]}))
    assert spec.keep_schema == pa.schema([("k", pa.float64())])


def test_times_of_nanoseconds_are_kept_and_those_that_would_wrap_round_are_told(tmp_path: Path) -> None:
    fine = [1_769_904_000_123_456_789, -1_234_567_890_123_456_789, None]
    pq.write_table(
        pa.table({"u": ["a.jpg", "b.jpg", "c.jpg"], "k": pa.array(fine, pa.timestamp("ns"))}),
        tmp_path / "a.parquet",
        use_deprecated_int96_timestamps=True,
    )
    far = [datetime.datetime(9999, 12, 31), datetime.datetime(2026, 1, 31, 0, 0, 0, 5)]
    pq.write_table(
        pa.table({"u": ["d.jpg", "e.jpg"], "k": far}),
        tmp_path / "b.parquet",
        use_deprecated_int96_timestamps=True,
    )
    spec = inspect_source(SourceConfig(table=str(tmp_path), columns={"uri": "u", "keep": ["k"]}))
    references, failures = read(spec)
    field = spec.keep_schema.field("k")
    kept = pa.array([fitting(one.columns["k"], field) for one in references], field.type)
    assert kept.cast(pa.int64()).to_pylist() == [*fine, 1_769_817_600_000_005_000]
    assert [one.message for one in failures] == [
        f"{tmp_path}/b.parquet:1 has a value in the column 'k' that is a time before 1678 or after 2261; correct or "
        "remove the line"
    ]


def test_a_text_of_parquet_that_is_no_utf8_costs_its_row(tmp_path: Path) -> None:
    uris = pa.array([b"a.jpg", b"\xff.jpg", b"c.jpg"]).view(pa.string())
    keep = pa.array([b"fine", b"good", b"\xff"]).view(pa.string())
    references, failures = read(inspect_source(table_of(tmp_path, {"u": uris, "k": keep})))
    assert [item.input_id for item in references] == ["a.jpg"]
    assert [item.error_type for item in failures] == ["broken_line"] * 2
    assert "has a value in the column 'k' that is not UTF-8: invalid start byte" in failures[1].message


def test_of_many_files_a_bad_one_is_one_error_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkinfer.transforms.sources.manifests.parquet.FOOTERS", 2)
    monkeypatch.setattr("bulkinfer.transforms.sources.source.FOOTERS", 2)
    source = table_of(tmp_path, *({"u": [f"{n}.jpg"], "k": [n]} for n in range(5)))
    (tmp_path / "1.parquet").write_bytes(b"PAR1 broken")
    pq.write_table(pa.table({"v": ["b.jpg"]}), tmp_path / "3.parquet")
    spec = inspect_source(source)
    assert spec.scan.rows == 5
    found = [item for piece in first_pieces(spec) for item in PieceReader(spec, None).read(piece)]
    failures = [item for item in found if isinstance(item, Failure)]
    assert sum(len(item) for item in found if isinstance(item, list)) == 3
    assert [(item.reference.input_id, item.stage, item.error_type) for item in failures] == [
        (f"{tmp_path}/1.parquet", "list", "broken_file"),
        (f"{tmp_path}/3.parquet", "list", "broken_file"),
    ]


def test_a_partition_is_a_number_only_where_all_are_and_the_folder_decides(tmp_path: Path) -> None:
    for key in ("year=2026/day=2026-01-31", "year=99999999999999999999/day=x"):
        (tmp_path / "lake" / key).mkdir(parents=True)
        table = pa.table({"u": [f"{key}.jpg"], "day": pa.array([20_484], pa.date32())})
        pq.write_table(table, tmp_path / "lake" / key / "part.parquet")
    source = SourceConfig(table=f"{tmp_path}/lake", columns={"uri": "u", "keep": ["year", "day"]})
    spec = inspect_source(source)
    assert spec.keep_schema == pa.schema([("year", pa.string()), ("day", pa.string())])
    assert [dict(one.columns) for one in read(spec)[0]] == [
        {"year": "2026", "day": "2026-01-31"},
        {"year": "99999999999999999999", "day": "x"},
    ]


def test_inline_text_is_content(tmp_path: Path) -> None:
    source = manifest(
        tmp_path / "t.jsonl", '{"k": 1, "body": "hi"}\n{"k": 2, "body": null}\n', content="body", id="k"
    )
    references, failures = read(inspect_source(source))
    assert [(item.input_id, item.inline, item.media_type) for item in references] == [("1", "hi", "text")]
    assert [item.error_type for item in failures] == ["null_content"]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_list_is_content_that_keeps_its_items(tmp_path: Path, suffix: str) -> None:
    rows = [{"k": "a", "words": ["one", "zw\u00f6"]}, {"k": "b", "words": ["one"]}]
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ColumnsConfig(content="words", id="k")

    references, failures = read(
        inspect_source(SourceConfig(manifest=str(path), columns=columns, media="text"))
    )

    assert not failures
    assert [one.columns[CONTENT_LIST] for one in references] == [["one", "zw\u00f6"], ["one"]]
    assert [one.inline for one in references] == ['["one", "zw\u00f6"]', '["one"]']
    assert len({one.version for one in references}) == 2
    again = from_chunk(to_chunk(references))
    assert [one.columns[CONTENT_LIST] for one in again] == [["one", "zw\u00f6"], ["one"]]
    fetched = Fetcher(max_bytes=99, storage={}).content(references[0])
    assert fetched.reference.columns[CONTENT_LIST] == ["one", "zw\u00f6"]


def test_a_list_is_no_picture(tmp_path: Path) -> None:
    source = manifest(tmp_path / "t.jsonl", '{"k": 1, "body": ["hi"]}\n', content="body", id="k")

    _, failures = read(inspect_source(source.model_copy(update={"media": "image"})))

    assert [one.error_type for one in failures] == ["null_content"]


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
    ("value", "folder"),
    [
        ("a b", "gold=a%20b"),
        (7, "gold=7"),
        (7.5, "gold=7.5"),
        (True, "gold=true"),
        (None, "gold=" + "_" * 26),
    ],
)
def test_a_partition_whose_path_is_too_long_for_the_store_is_told_before_it_is_paid_for(
    tmp_path: Path, value: Any, folder: str
) -> None:
    row = json.dumps({"u": "a.jpg", "k": value, "city": "Bern"}) + "\n"
    keep = {"gold": "k", "city": "city"}
    spec = inspect_source(manifest(tmp_path / "m.jsonl", row, uri="u", keep=keep))
    path = len(f"{folder}/city=Bern")
    enough, short = (dataclasses.replace(spec, folders=tuple(keep), folder_bytes=path - n) for n in (0, 1))

    assert read(enough)[1] == []
    (bad,) = read(short)[1]
    assert bad.error_type == "long_partition"
    assert f"a path {path} bytes long, and the store of output.uri leaves {path - 1}" in bad.message


def kept_values(spec: SourceSpec, references: list[Reference]) -> list[Any]:
    """The kept column `k` of these rows, as the table holds it."""
    field = spec.keep_schema.field("k")
    return pa.array([fitting(one.columns["k"], field) for one in references], field.type).to_pylist()  # type: ignore[no-any-return]


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
    assert kept_values(spec, good) == kept
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
    assert [reference.columns["k"] for reference in good] == values  # as arguments get them
    assert kept_values(spec, good) == ["1", '"a"', None, '{"b": [true]}', '"\u00e4"']
    assert spec.keep_schema.field("k").type == pa.string()
