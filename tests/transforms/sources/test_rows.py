"""Rows that cannot be sent or stored cost themselves; a manifest that changes under its readers stops them."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulkinfer.transforms.errors import SourceError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Failure, Reference
from bulkinfer.transforms.sources.pieces import PieceReader, first_pieces
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from support.http_server import http_server


def read(spec: SourceSpec) -> tuple[list[Reference], list[Failure]]:
    found: list[Any] = []
    for piece in first_pieces(spec):
        for item in PieceReader(spec, None).read(piece):
            found += [item] if isinstance(item, Failure) else item
    return (
        [item for item in found if isinstance(item, Reference)],
        [item for item in found if isinstance(item, Failure)],
    )


def write_refs(path: Path, length: int) -> None:
    rows = [{"id": f"{number:0{length}}", "text": "hello"} for number in range(40)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".csv":
        text = "id,text\n" + "".join(f"{row['id']},hello\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "jsonl.gz", "parquet"])
def test_a_manifest_that_is_replaced_while_it_is_read_stops_the_run(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"refs.{kind}"
    write_refs(path, 4)
    spec = inspect_source(SourceConfig(manifest=str(path), columns={"content": "text", "id": "id"}))
    pieces = first_pieces(spec)
    reader = PieceReader(spec, None)
    before = [item for found in reader.read(pieces[0]) for item in found]  # type: ignore[union-attr]
    assert before[0].input_id == "0000"

    write_refs(path, 9)
    message = rf"refs\.{kind} was changed while it was read .*, now size:.*so nothing more of it is sent"
    with pytest.raises(SourceError, match=message):
        list(reader.read(pieces[-1]))

    path.unlink()
    with pytest.raises((SourceError, FileNotFoundError), match="now gone"):
        list(reader.read(pieces[-1]))


def test_a_manifest_that_was_replaced_before_its_pass_is_told(tmp_path: Path) -> None:
    path = tmp_path / "refs.csv"
    path.write_text("id,text\n1,hello\n")
    spec = inspect_source(SourceConfig(manifest=str(path), columns={"content": "text", "id": "id"}))
    path.write_text("id,text\n1,hello\n2,hello\n")
    with pytest.raises(SourceError, match=r"refs\.csv was changed while it was read"):
        _ = spec.scan


def test_a_manifest_on_another_store_is_watched_as_well() -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/watched/refs.csv", b"id,text\n1,hello\n")
    source = SourceConfig(manifest="memory://watched/refs.csv", columns={"content": "text", "id": "id"})
    spec = inspect_source(source)
    (piece,) = first_pieces(spec)
    store.pipe("/watched/refs.csv", b"id,text\n2,hello\n")
    with pytest.raises(SourceError, match=r"refs\.csv was changed while it was read"):
        list(PieceReader(spec, None).read(piece))


def test_damage_behind_the_footer_costs_the_rows_that_it_hits(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    texts = pa.array([f"{number:05}" * 50 for number in range(600)])
    rows = pa.table({"id": [str(number) for number in range(600)], "text": texts})
    pq.write_table(rows, path, row_group_size=200, compression="gzip", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset + column.total_compressed_size // 2
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    references, failures = read(
        inspect_source(SourceConfig(manifest=str(path), columns={"content": "text", "id": "id"}))
    )
    assert len(references) + len(failures) == 600
    assert {int(item.input_id) // 200 for item in references} >= {0, 2}
    assert failures
    assert {(item.stage, item.error_type) for item in failures} == {("list", "broken_line")}
    assert "cannot be read: " in failures[0].message


def test_a_fault_of_the_store_is_no_fault_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_refs(path, 4)
    spec = inspect_source(SourceConfig(manifest=str(path), columns={"content": "text", "id": "id"}))
    pieces, scan = first_pieces(spec), spec.scan
    unversioned = dataclasses.replace(spec, manifests=(dataclasses.replace(spec.manifests[0], version=""),))
    unversioned.__dict__["scan"] = scan
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(PieceReader(unversioned, None).read(pieces[0]))


def test_a_url_that_was_signed_anew_is_the_same_input_and_comes_twice_in_one_manifest(tmp_path: Path) -> None:
    uris = [
        "https://me:hunter2@h/a.jpg?w=1&X-Amz-Date=20260131&X-Amz-Signature=firstsecret",
        "https://h/a.jpg?w=1&X-Amz-Date=20260201&X-Amz-Signature=othersecret",
        "https://h/b.jpg?X-Amz-Signature=thirdsecret",
    ]
    path = tmp_path / "refs.jsonl"
    path.write_text("".join(json.dumps({"u": uri}) + "\n" for uri in uris), encoding="utf-8")

    references, [again] = read(inspect_source(SourceConfig(manifest=str(path), columns={"uri": "u"})))

    assert [one.input_id for one in references] == ["https://h/a.jpg?w=1", "https://h/b.jpg"]
    assert [one.uri for one in references] == [uris[0], uris[2]]  # it is fetched with its signature
    assert again.error_type == "duplicate_id"
    assert "secret" not in again.message
    assert "hunter2" not in again.message


def test_the_same_url_in_two_patterns_is_one_input_however_it_is_signed() -> None:
    urls = [
        f"https://127.0.0.1/{name}"
        for name in ("a.jpg?sig=first&sv=1", "a.jpg?sig=other&sv=2", "b.jpg?sig=first")
    ]

    references, failures = read(inspect_source(SourceConfig(files=urls)))

    assert [one.input_id for one in references] == ["https://127.0.0.1/a.jpg", "https://127.0.0.1/b.jpg"]
    assert not failures


def test_a_url_whose_host_no_name_server_knows_is_told_before_anything_is_sent() -> None:
    with pytest.raises(
        SourceError, match=r"source\.files: cannot list http://nowhere\.invalid/a\.jpg: no name server"
    ):
        inspect_source(SourceConfig(files=["http://127.0.0.1/a.jpg", "http://nowhere.invalid/a.jpg"]))


@pytest.mark.parametrize("query", ["", "?X-Amz-Signature=a/b.c"])
def test_a_manifest_behind_a_signed_url_is_read_and_names_its_rows_without_the_signature(query: str) -> None:
    with http_server() as web:
        web.files["lists/refs.csv"] = b"u\nb/a.jpg\n\xff\n"
        here = web.link("lists")
        source = SourceConfig(manifest=f"{here}/refs.csv{query}", columns={"uri": "u"}, media="image")
        [reference], [broken] = read(inspect_source(source))

    assert (reference.input_id, reference.uri) == ("b/a.jpg", f"{here}/b/a.jpg")
    assert broken.reference.input_id == f"{here}/refs.csv:3"


def test_content_in_data_uris_is_read_named_by_its_hash_and_never_shown_whole(tmp_path: Path) -> None:
    uri = "data:image/png;base64," + "iVBORw0KGgo=" * 30
    path = tmp_path / "refs.jsonl"
    path.write_text(json.dumps({"u": uri}) + "\n")

    [picture], _ = read(inspect_source(SourceConfig(manifest=str(path), columns={"uri": "u"})))

    assert picture.uri == uri
    assert picture.input_id.startswith("data:image/png,blake2b:")
    assert len(picture.input_id) < 60
    with pytest.raises(
        SourceError, match=r"image \(data:image/png;base64,\.\.\. \(382 characters\)\) and text"
    ):
        inspect_source(SourceConfig(files=[uri, "data:,hello%20you"]))
    [listed], _ = read(inspect_source(SourceConfig(files=[uri])))
    assert listed == dataclasses.replace(picture, place="")
