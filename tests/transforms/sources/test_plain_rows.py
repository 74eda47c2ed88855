"""Pieces of manifests read as columns: the same references as row by row, or none at all."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.sources.rows import RowReader
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = st.text(
    st.one_of(st.sampled_from('aé,"\r\n\t {[\ufeff\x00'), st.characters(exclude_categories=["Cs"])),
    max_size=6,
)


def spec_of(path: Path, text: str, **columns: Any) -> SourceSpec:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    named = {"id": "id", "content": "text", **columns}
    return inspect_source(SourceConfig(manifest=str(path), columns=named, media="text"))


def both(spec: SourceSpec) -> list[tuple[list[Reference] | None, list[Any]]]:
    reader = RowReader(spec)
    return [(reader.read_plain(split), list(reader.read(split))) for split in spec.scan.splits]


def csv_of(rows: list[tuple[str, ...]], end: str = "\n", *, last: bool = True) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator=end).writerows([("id", "text", "extra"), *rows])
    return out.getvalue() if last else out.getvalue().removesuffix(end)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_a_csv_reads_as_row_by_row(rows: list[tuple[str, ...]], end: str, last: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = spec_of(Path(folder) / "refs.csv", csv_of(rows, end, last=last), keep=["extra"])
        for plain, slow in both(spec):
            assert plain is None or plain == slow


VALUE = st.one_of(
    TEXT, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.lists(TEXT, max_size=2)
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"id": VALUE, "text": VALUE, "extra": VALUE}),
        min_size=1,
        max_size=6,
    )
)
def test_json_lines_read_as_row_by_row(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = "".join(json.dumps(row) + "\n" for row in [{"id": "0", "text": "a", "extra": None}, *rows])
        spec = spec_of(Path(folder) / "refs.jsonl", text)
        for plain, slow in both(spec):
            assert plain is None or plain == slow


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("refs.csv", "id,text\na,one\nb,two\n"),
        ("refs.csv", "id,text\r\na,one\r\nb,two"),
        ("refs.csv", "\ufeffid,text\na,é\n"),
        ("refs.tsv", "id\ttext\na\tone, two\n"),
        ("refs.jsonl", '{"id": "a", "text": "one"}\n{"text": "", "id": "b"}\n'),
        ("refs.jsonl", '\ufeff{"id": "a", "text": "\\u00e9", "more": [1]}\n'),
    ],
)
def test_what_is_well_is_read_as_columns(tmp_path: Path, name: str, text: str) -> None:
    ((plain, slow),) = both(spec_of(tmp_path / name, text))
    assert plain == slow != []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("refs.csv", 'id,text\na,"one"\n'),
        ("refs.csv", "id,text\na\n"),
        ("refs.csv", "id,text\na,one,more\n"),
        ("refs.csv", "id,text\n\na,one\n"),
        ("refs.csv", "id,text\na,one\rtwo\n"),
        ("refs.csv", "id,text\n,one\n"),
        ("refs.jsonl", '{"id": "a", "text": 1}\n'),
        ("refs.jsonl", '{"id": 1, "text": "one"}\n'),
        ("refs.jsonl", '{"id": "a", "text": "\\ud800"}\n'),
        ("refs.jsonl", '{"id": "a", "text": "one"}\n[1]\n'),
        ("refs.jsonl", '{"id": "a", "text": "one"}\nnone\n'),
        ("refs.jsonl", '{"id": "a"}\n{"id": "b", "text": "one"}\n'),
        (
            "refs.jsonl",
            '{"id": "0", "text": "a"}\n{"id": "a", "text": "one", "x": ' + "[" * 70 + "]" * 70 + "}\n",
        ),
    ],
)
def test_what_is_odd_is_left_to_the_look_at_each_row(tmp_path: Path, name: str, text: str) -> None:
    assert all(plain is None for plain, _ in both(spec_of(tmp_path / name, text)))


def test_what_the_job_asks_of_each_row_is_asked(tmp_path: Path) -> None:
    """Kept columns of one type, ids that come again, folders of partitions, and references."""
    numbers = '{"id": "a", "text": "one", "n": 1}\n'
    assert both(spec_of(tmp_path / "kept.jsonl", numbers, keep=["n"]))[0][0] is None
    assert both(spec_of(tmp_path / "twice.csv", "id,text\na,one\na,two\n"))[0][0] is None
    assert both(spec_of(tmp_path / "image.csv", "id,text\na,one\n"))[0][0] is not None
    spec = spec_of(tmp_path / "refs.csv", "id,text,where\na,one,b.txt\n", content=None, uri="where")
    assert both(spec)[0][0] is None
