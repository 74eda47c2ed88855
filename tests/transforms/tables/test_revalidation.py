"""A file that was only touched is read once more and not sent: by its bytes, whatever its time or etag says."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import pytest
from bulkinfer.transforms.content.versions import content_code, local_version
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.sources.pieces import PieceReader, first_pieces
from bulkinfer.transforms.sources.source import inspect_source
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.difference import compare
from hypothesis import given
from hypothesis import strategies as st
from support.archives import tar, zipped
from support.s3_server import s3_server
from support.tables import failure, make_spec, prediction, stage

CONTENT = b"a content that stays"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(CONTENT)
    return path


def done(output: str, name: str, version: str, content: bytes = CONTENT, make=prediction):
    """A run that did this input."""
    number = len(list(Path(output).glob("_runs/*")))
    spec = make_spec(output, f"2026013{number}T120000Z-000001")
    row = make(name, version=version)
    row = dataclasses.replace(
        row, reference=dataclasses.replace(row.reference, content=content_code(content))
    )
    stage(spec, [[row]])
    commit_run(spec.store(), spec.run_id)
    return spec


def asked(spec, **changes) -> CompletedSpec:
    """The next run's question, as a worker gets it."""
    next_run = dataclasses.replace(
        CompletedSpec.of(spec, **changes), run_id=f"20260209T120000Z-{os.urandom(3).hex()}"
    )
    return pickle.loads(pickle.dumps(next_run))


def begun(completed: CompletedSpec) -> CompletedSpec:
    """As if that run had begun."""
    from bulkinfer.transforms.runs.record import begin_run

    begin_run(make_spec(completed.uri).store(), make_spec(completed.uri, completed.run_id))
    return completed


def remaining(completed: CompletedSpec, path: Path, version: str | None = None) -> int:
    now = local_version(path.stat()) if version is None else version
    kept = completed.remaining([Reference("a", str(path), "image", now)])
    completed.flush()
    return len(kept)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


@pytest.mark.parametrize("make", [prediction, failure])
def test_a_file_that_was_only_touched_is_done(tmp_path: Path, file: Path, make) -> None:
    spec = done(str(tmp_path / "out"), "a", local_version(file.stat()), make=make)
    touch(file)
    assert remaining(asked(spec), file) == 0
    assert remaining(asked(spec), file, "") == 0  # the store is asked for its version first
    file.write_bytes(CONTENT[::-1])
    assert remaining(asked(spec), file) == 1
    file.unlink()
    assert remaining(asked(spec), file, "etag:other") == 1  # its row says then why it cannot be read


def test_without_a_known_content_or_a_wish_another_version_is_another_content(
    tmp_path: Path, file: Path
) -> None:
    spec = done(str(tmp_path / "out"), "a", local_version(file.stat()))
    touch(file)
    assert remaining(asked(spec, revalidate=False), file) == 1
    assert remaining(asked(spec, force=True), file) == 1
    assert remaining(asked(spec, max_bytes=len(CONTENT) - 1), file) == 1
    assert remaining(asked(spec, max_bytes=len(CONTENT)), file) == 0
    unknown = make_spec(str(tmp_path / "older"))
    stage(unknown, [[prediction("a")]])
    commit_run(unknown.store(), unknown.run_id)
    assert remaining(asked(unknown), file) == 1


@pytest.mark.parametrize("version", ["given:2", "blake2b:00", "crc32:00000000,size:20"])
def test_a_version_that_is_the_content_or_was_given_stands(tmp_path: Path, file: Path, version: str) -> None:
    spec = done(str(tmp_path / "out"), "a", "given:1")
    assert remaining(asked(spec), file, version) == 1


def test_what_was_compared_is_not_read_again(tmp_path: Path, file: Path) -> None:
    spec = done(str(tmp_path / "out"), "a", local_version(file.stat()))
    touch(file)
    version = local_version(file.stat())
    first = begun(asked(spec))
    assert remaining(first, file) == 0
    assert len(list(Path(spec.uri).glob("_runs/*/seen/*.parquet"))) == 1
    first.flush()
    assert len(list(Path(spec.uri).glob("_runs/*/seen/*.parquet"))) == 1
    file.write_bytes(b"never read")
    assert remaining(asked(spec), file, version) == 0
    assert remaining(asked(spec), file, "etag:another") == 1  # read, and found to be another
    done(spec.uri, "a", "v3", b"other")  # what was seen is the content of what was done before
    assert remaining(asked(spec), file, version) == 1


def test_a_damaged_note_of_what_was_compared_is_ignored(tmp_path: Path, file: Path) -> None:
    spec = done(str(tmp_path / "out"), "a", local_version(file.stat()))
    touch(file)
    assert remaining(begun(asked(spec)), file) == 0
    (note,) = Path(spec.uri).glob("_runs/*/seen/*.parquet")
    note.write_bytes(b"no parquet")
    assert remaining(asked(spec), file) == 0


def test_an_object_with_another_etag_and_the_same_bytes_is_done(tmp_path: Path) -> None:
    with s3_server("photos") as server:
        filesystem = server.filesystem()
        data = os.urandom(6 << 20)
        filesystem.pipe("photos/a.jpg", data)  # one part
        whole = filesystem.info("photos/a.jpg")["ETag"].strip('"')
        spec = done(str(tmp_path / "out"), "a", f"etag:{whole}", data)
        with filesystem.open("photos/a.jpg", "wb", block_size=5 << 20) as parts:
            parts.write(data)
        other = filesystem.info("photos/a.jpg")["ETag"].strip('"')
        assert other != whole
        reference = Reference("a", "s3://photos/a.jpg", "image", f"etag:{other}", len(data))
        assert asked(spec, source_storage=server.storage).remaining([reference]) == []


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_of_an_archive_that_was_packed_anew_are_compared_as_they_are_read(
    tmp_path: Path, kind: str
) -> None:
    (tar if kind == "tar" else zipped)(tmp_path / "x", {"a.jpg": CONTENT, "b.jpg": b"other"})
    name = f"{kind}://a.jpg::{tmp_path}/x"
    spec = done(str(tmp_path / "out"), name, "size:20,mtime:7" if kind == "tar" else "crc32:00000000,size:20")
    source = inspect_source(SourceConfig(files=[f"{kind}://*.jpg::{tmp_path}/[x]"]))
    reader = PieceReader(source, begun(asked(spec)))
    (piece,) = first_pieces(source)
    kept = [item for unit in reader.units(piece) for item in reader.read(unit)]
    assert [one.input_id for references in kept for one in references] == [
        *([name] if kind == "zip" else []),  # a ZIP file's checksums are of the content
        f"{kind}://b.jpg::{tmp_path}/x",
    ]
    assert len(list(Path(spec.uri).glob("_runs/*/seen/*.parquet"))) == (kind == "tar")


def test_a_plan_says_what_will_be_compared_and_reads_nothing(tmp_path: Path, file: Path) -> None:
    spec = done(str(tmp_path / "out"), str(file), local_version(file.stat()))
    touch(file)
    source = inspect_source(SourceConfig(files=[str(file)]))
    found = compare(source, asked(spec))
    assert (found.changed, found.touched, found.done) == (1, 1, 0)
    completed = begun(asked(spec))
    completed.remaining([Reference(str(file), str(file), "image", local_version(file.stat()))])
    completed.flush()
    found = compare(source, asked(spec))
    assert (found.changed, found.touched, found.done) == (0, 0, 1)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_checksum_tells_contents_apart(one: bytes, other: bytes) -> None:
    assert (content_code(one) == content_code(other)) == (one == other)
    assert 0 < content_code(one) < 2**64
