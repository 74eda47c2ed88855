"""Manifests of every kind: cut anywhere, read once, broken lines alone."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.sources.manifests import formats as module
from bulkinfer.transforms.sources.manifests.files import Row
from bulkinfer.transforms.sources.manifests.formats import columns_of, manifest_of, read_split, scan
from bulkinfer.transforms.sources.manifests.text import split_delimited
from bulkinfer.transforms.storage.filesystems import Filesystems
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILESYSTEMS = Filesystems({})
FIELD = st.text(st.sampled_from('ab ,"\n\r\té'), max_size=6)


def rows_of(
    path: Path, columns: list[str], *, key: str, rows_per_split: int = 2, limit: int | None = None
) -> list[Row]:
    manifest = manifest_of(str(path))
    found = scan(manifest, 0, key, FILESYSTEMS, limit=limit, rows_per_split=rows_per_split)
    rows = []
    for split in found.splits:
        piece = list(read_split(manifest, split, columns, FILESYSTEMS))
        assert len(piece) == split.rows
        rows += piece
    assert list(found.lines) == [row.line for row in rows]
    return rows


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(FIELD, FIELD), max_size=20), per_split=st.integers(1, 5), crlf=st.booleans())
def test_a_csv_cut_anywhere_yields_each_row_once(
    tmp_path: Path, rows: list[tuple[str, str]], per_split: int, crlf: bool
) -> None:
    path = tmp_path / "refs.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\r\n" if crlf else "\n", quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "text"), *rows])

    read = rows_of(path, ["id", "text"], key="id", rows_per_split=per_split)

    assert [(row.values["id"], row.values["text"]) for row in read] == rows


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.one_of(st.none(), st.text(max_size=5), st.integers()), max_size=20),
    split_bytes=st.integers(1, 60),
)
def test_json_lines_cut_at_any_bytes_yield_each_line_once(
    tmp_path: Path, rows: list[Any], split_bytes: int
) -> None:
    path = tmp_path / "refs.jsonl"
    path.write_text("".join("\n" if row is None else json.dumps({"id": row}) + "\n" for row in rows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPLIT_BYTES", split_bytes)
        read = rows_of(path, ["id"], key="id", rows_per_split=1000)

    assert [row.values["id"] for row in read] == [row for row in rows if row is not None]
    assert [row.line for row in read] == [line for line, row in enumerate(rows, 1) if row is not None]


def test_broken_csv_lines_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "refs.csv"
    path.write_bytes(b'id,text\n1,one\n2\n3,"open\n4,four\n5,\xff\n6,"a"b\n7,"two\nlines"\n\n8,eight\n')
    read = rows_of(path, ["id"], key="id", rows_per_split=1)
    assert [row.line for row in read] == [2, 3, 4, 5, 6, 7, 8, 11]
    assert [row.values.get("id") for row in read] == ["1", None, None, "4", None, None, "7", "8"]
    assert read[1].fault == "has 1 fields where the header has 2"
    assert read[2].fault == "has a quote that is not closed, or not doubled inside a field"
    assert read[3].fault == ""
    assert "is not UTF-8" in read[4].fault
    assert "is no CSV" in read[5].fault


def test_a_quote_that_is_never_closed_is_given_up_after_many_lines() -> None:
    lines = [b'1,"open\n', *(b"%d,x\n" % number for number in range(2, 5000))]
    records = list(split_delimited(lines, ",", 2, 2))
    assert [record.fault != "" for record in records] == [True] + [False] * 4998
    assert sum(record.nbytes for record in records) == sum(map(len, lines))


def test_broken_json_lines_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "refs.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id": \n[1]\n\xff\n{"id": 5}\n')
    read = rows_of(path, ["id"], key="id")
    assert [row.fault for row in read] == [
        "",
        "is no JSON: Expecting value at column 1",
        "is a JSON list, not an object",
        "is no JSON: not UTF-8",
        "",
    ]
    assert [row.values.get("id") for row in read] == [1, None, None, None, 5]


def test_json_that_is_nested_too_deeply_costs_only_its_line(tmp_path: Path) -> None:
    path = tmp_path / "refs.jsonl"
    depths = (10, 63, 64, 600, 50_000)
    lines = [
        f'{{"id": {depth}, "k": {text * depth}1{end * depth}}}'
        for depth in depths
        for text, end in (("[", "]"), ('{"a":', "}"))
    ]
    flat = '{"id": 1, "k": [' + ", ".join(['{"a": []}'] * 500) + "]}"
    path.write_text("\n".join([*lines, flat]))

    read = rows_of(path, ["id", "k"], key="id")

    assert [bool(row.fault) for row in read] == [False] * 4 + [True] * 6 + [False]
    assert {row.fault for row in read if row.fault} == {
        "is nested more than 64 levels deep",
        "is no JSON: nested too deeply",
    }


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_compressed_text_reads_as_plain(tmp_path: Path, suffix: str) -> None:
    text = {
        "csv": "id,x\n1,2\n3,4\n",
        "tsv": "id\tx\n1\t2\n3\t4\n",
        "jsonl": '{"id":"1","x":"2"}\n{"id":"3","x":"4"}\n',
    }
    path = tmp_path / f"refs.{suffix}.gz"
    path.write_bytes(gzip.compress(text[suffix].encode()))
    read = rows_of(path, ["id", "x"], key="id", rows_per_split=1)
    assert [(row.values["id"], row.values["x"]) for row in read] == [("1", "2"), ("3", "4")]


def test_parquet_is_cut_within_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "refs.parquet"
    table = pa.table({"id": list(range(5000)), "x": [str(i) for i in range(5000)]})
    pq.write_table(table, path, row_group_size=1500)
    read = rows_of(path, ["id", "x"], key="id", rows_per_split=256)
    assert [row.values["id"] for row in read] == list(range(5000))
    assert [row.line for row in read] == list(range(1, 5001))


def test_a_limit_reads_the_first_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "refs.csv"
    path.write_text("id\n" + "".join(f"{i}\n" for i in range(100)))
    assert [row.values["id"] for row in rows_of(path, ["id"], key="id", limit=3)] == ["0", "1", "2"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "refs.csv"
    path.write_bytes(b"\xef\xbb\xbfid,x\n1,2\n")
    assert columns_of(manifest_of(str(path)), FILESYSTEMS)[0].names == ["id", "x"]


def test_columns_have_the_types_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,n\n1,2\n")
    (tmp_path / "a.jsonl").write_text('{"id": "1", "n": 2, "tags": ["x"]}\n')
    pq.write_table(
        pa.table({"n": pa.array([1], pa.int16()), "d": pa.array(["x"]).dictionary_encode()}),
        tmp_path / "a.pq",
    )
    kinds = [
        columns_of(manifest_of(str(tmp_path / name)), FILESYSTEMS)[0] for name in ("a.csv", "a.jsonl", "a.pq")
    ]
    assert kinds[0] == pa.schema([("id", pa.string()), ("n", pa.string())])
    assert kinds[1] == pa.schema([("id", pa.string()), ("n", pa.int64()), ("tags", pa.list_(pa.string()))])
    assert kinds[2] == pa.schema([("n", pa.int16()), ("d", pa.string())])


def test_content_longer_than_the_csv_module_allows_is_read() -> None:
    line = io.BytesIO(b'1,"' + b"x" * 300_000 + b'"\n')
    (record,) = split_delimited(line, ",", 2, 1)
    assert len(record.values[1]) == 300_000
