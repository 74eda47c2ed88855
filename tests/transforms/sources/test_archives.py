"""Patterns that look into archives: each is a piece, read once and in order; whatever is broken costs itself."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.errors import SourceError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Failure, Reference
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from bulkinfer.transforms.sources.archives import Archive, Budget
from bulkinfer.transforms.sources.opener import Opener
from bulkinfer.transforms.sources.pieces import PieceReader, SourceCount, count_source, first_pieces
from bulkinfer.transforms.sources.read_references import ReadReferences
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from support.archives import tar, zipped
from support.s3_server import s3_server


def spec_of(*files: str, limit: int | None = None, **source: Any) -> SourceSpec:
    return inspect_source(SourceConfig(files=list(files), **source), limit=limit)


def read(spec: SourceSpec, completed: Any = None) -> list[Reference | Failure]:
    """What the pieces of a source hold, read as the workers do."""
    reader = PieceReader(spec, completed)
    found: list[Reference | Failure] = []
    for piece in first_pieces(spec):
        for unit in reader.units(piece):
            for item in reader.read(unit) if isinstance(unit, Archive) else [unit]:
                found += [item] if isinstance(item, Failure) else item
    return found


def ids(spec: SourceSpec) -> list[str]:
    return [item.input_id for item in read(spec) if isinstance(item, Reference)]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three archives of each kind with a picture and a text for each of two samples."""
    for number in range(3):
        contents = {}
        for sample in range(2):
            for suffix in ("jpg", "txt"):
                contents[f"./s/{number}-{sample}.{suffix}"] = f"{number} {sample} {suffix}".encode()
        tar(tmp_path / f"shard-{number}.tar", contents)
        tar(tmp_path / f"shard-{number}.tar.gz", contents, "w:gz")
        zipped(tmp_path / f"{number}.zip", contents)
    return tmp_path


@pytest.mark.parametrize("archives", ["shard-*.tar", "shard-*.tar.gz", "[012].zip"])
def test_all_members_of_all_archives_are_read_once_with_their_content(shards: Path, archives: str) -> None:
    kind = "zip" if "zip" in archives else "tar"
    spec = spec_of(f"{kind}://**/*.jpg::{shards}/{archives}")
    names = sorted(path.name for path in shards.iterdir() if path.name.endswith(archives.rpartition(".")[2]))
    names = [name for name in names if ("gz" in name) == ("gz" in archives)]
    expected = {
        f"{kind}://s/{number}-{sample}.jpg::{shards}/{name}": f"{number} {sample} jpg".encode()
        for number, name in enumerate(names)
        for sample in range(2)
    }
    found = read(spec)
    assert {item.input_id: item.inline for item in found if isinstance(item, Reference)} == expected
    assert len(found) == len(expected)
    assert {item.media_type for item in found if isinstance(item, Reference)} == {"image"}
    assert count_source(spec) == SourceCount(6, sum(map(len, expected.values())))


def test_workers_read_archives_and_files_beside_them_once(shards: Path) -> None:
    (shards / "more").mkdir()
    (shards / "more" / "a.jpg").write_bytes(b"x")
    spec = spec_of(
        f"tar://**/*.jpg::{shards}/shard-0.tar", f"zip://s/*.jpg::{shards}/*.zip", f"{shards}/more/*"
    )
    expected = [f"tar://s/0-{sample}.jpg::{shards}/shard-0.tar" for sample in range(2)]
    expected += [
        f"zip://s/{number}-{sample}.jpg::{shards}/{number}.zip" for number in range(3) for sample in range(2)
    ]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        references = (pipeline | ReadReferences(spec)).references | beam.Map(lambda one: one.input_id)
        assert_that(references, equal_to([*expected, f"{shards}/more/a.jpg"]))


def test_a_lone_tar_is_read_as_a_whole_and_a_lone_zip_by_its_table_of_contents(shards: Path) -> None:
    whole, listed = (
        read(spec_of(f"tar://s/*.jpg::{shards}/shard-0.tar")),
        read(spec_of(f"zip://s/*.jpg::{shards}/0.zip")),
    )
    assert [item.inline for item in whole if isinstance(item, Reference)] == [b"0 0 jpg", b"0 1 jpg"]
    assert [item.inline for item in listed if isinstance(item, Reference)] == [None, None]


def test_a_member_without_wildcards_may_be_a_folder(shards: Path) -> None:
    every = ids(spec_of(f"tar://::{shards}/shard-0.tar", media="image"))
    assert len(every) == 4
    assert ids(spec_of(f"tar://s::{shards}/shard-0.tar", media="image")) == every
    assert ids(spec_of(f"tar://s/0-1.jpg::{shards}/shard-*.tar")) == [
        f"tar://s/0-1.jpg::{shards}/shard-0.tar"
    ]


def test_a_member_that_two_patterns_match_counts_once(shards: Path) -> None:
    patterns = (
        f"zip://**/*-0.jpg::{shards}/0.zip",
        f"zip://s/*.jpg::{shards}/*.zip",
        f"zip://**/*.jpg::{shards}/1.zip",
    )
    found = ids(spec_of(*patterns))
    assert sorted(found) == sorted(set(found))
    assert len(found) == 6


def test_archives_in_archives_are_read(tmp_path: Path) -> None:
    for outer in "ab":
        inner = {
            f"{n}.tar": tar(tmp_path / "in", {"x.jpg": f"{outer}{n}".encode()}).read_bytes() for n in range(2)
        }
        zipped(tmp_path / f"{outer}.zip", inner)
    found = read(spec_of(f"tar://*.jpg::zip://*.tar::{tmp_path}/*.zip"))
    assert {item.input_id: item.inline for item in found if isinstance(item, Reference)} == {
        f"tar://x.jpg::zip://{number}.tar::{tmp_path}/{outer}.zip": f"{outer}{number}".encode()
        for outer in "ab"
        for number in range(2)
    }


def test_a_tar_on_s3_is_read_by_few_requests(tmp_path: Path) -> None:
    chance = random.Random(1)
    contents = {f"./{number}.jpg": chance.randbytes(20_000) for number in range(100)}
    with s3_server("shards") as server:
        filesystem = server.filesystem()
        for name in ("a.tar", "b.tar"):
            filesystem.put(str(tar(tmp_path / name, contents)), f"shards/x/{name}")
        spec = spec_of("tar://*.jpg::s3://shards/x/*.tar", storage=server.storage)
        before = server.requests
        found = read(spec)
        # A listing, and for each archive its size and three megabytes.
        assert server.requests - before <= 2 + 2 * 5
        assert [item.inline for item in found if isinstance(item, Reference)] == [*contents.values()] * 2


def test_what_is_done_is_left_out_before_it_is_read(shards: Path) -> None:
    class Done:
        def remaining(self, references: list[Reference], _: object = None) -> list[Reference]:
            assert all(reference.inline is None for reference in references)
            return [reference for reference in references if "-1.jpg" in reference.input_id]

        def flush(self) -> None:
            """Nothing was found out."""

    found = read(spec_of(f"tar://**/*.jpg::{shards}/shard-*.tar"), Done())
    assert sorted(item.inline for item in found if isinstance(item, Reference)) == [
        f"{number} 1 jpg".encode() for number in range(3)
    ]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_member_keeps_the_version_of_its_archive(tmp_path: Path, kind: str) -> None:
    (tar if kind == "tar" else zipped)(tmp_path / "x", {"a.jpg": b"x"})
    (member,) = read(spec_of(f"{kind}://*.jpg::{tmp_path}/[x]"))
    assert isinstance(member, Reference)
    assert member.version == ("size:1,mtime:0" if kind == "tar" else "crc32:8cdc1683,size:1")
    text = Reference(member.input_id, member.uri, "text", member.version, 1, b"x")
    assert Fetcher(max_bytes=9, storage={}).content(text).reference.version == member.version


def test_a_damaged_archive_costs_what_stands_behind_the_damage(shards: Path) -> None:
    (shards / "shard-1.tar").write_bytes((shards / "shard-1.tar").read_bytes()[:1600])
    (shards / "shard-2.tar").write_bytes(b"none")
    found = read(spec_of(f"tar://**/*.jpg::{shards}/shard-*.tar"))
    assert sorted(item.input_id.partition("::")[0] for item in found if isinstance(item, Reference)) == [
        "tar://s/0-0.jpg",
        "tar://s/0-1.jpg",
        "tar://s/1-0.jpg",
    ]
    first, second = sorted(
        (one for one in found if isinstance(one, Failure)), key=lambda one: one.reference.input_id
    )
    assert (first.reference.input_id, first.error_type, first.retryable) == (
        f"{shards}/shard-1.tar",
        "broken_file",
        False,
    )
    assert first.message == (
        f"{shards}/shard-1.tar could not be read: damaged, or no tar archive: unexpected end of data; what stands in "
        "it behind its member 2 is in no table; write it anew, or move it away"
    )
    assert "shard-2.tar could not be read: damaged, or no tar archive" in second.message
    assert "behind" not in second.message


def test_a_member_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"a.jpg": b"aaaa", "b.jpg": b"bbbb", "c.jpg": b"c" * 99})
    archive.write_bytes(archive.read_bytes().replace(b"aaaa", b"axaa"))
    damaged, good, large = read(spec_of(f"zip://*.jpg::{tmp_path}/*.zip", max_bytes=50))
    assert isinstance(good, Reference)
    assert isinstance(damaged, Failure)
    assert isinstance(large, Failure)
    assert (damaged.stage, damaged.error_type) == ("read", "unreadable")
    assert "Bad CRC-32" in damaged.message
    assert (large.stage, large.error_type) == ("read", "too_large")
    assert large.reference.inline is damaged.reference.inline is None


def test_a_name_that_comes_again_is_a_row_of_its_own(tmp_path: Path) -> None:
    tar(tmp_path / "x.tar", {"a.jpg": b"1", "b.txt": b"", "./a.jpg": b"2"})
    first, again = read(spec_of(f"tar://*.jpg::{tmp_path}/x.tar"))
    assert isinstance(first, Reference)
    assert first.inline == b"1"
    assert isinstance(again, Failure)
    assert (again.reference.input_id, again.error_type) == (f"{tmp_path}/x.tar:3", "duplicate_id")
    assert again.message.startswith(
        f"{tmp_path}/x.tar has 'a.jpg' again as its member 3; only the first is sent."
    )


def test_a_limit_takes_the_first_members(shards: Path) -> None:
    spec = spec_of(f"tar://**/*.jpg::{shards}/shard-*.tar", limit=3)
    assert count_source(spec).inputs == 3
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        references = (pipeline | ReadReferences(spec)).references | beam.Map(lambda one: one.input_id)
        members = [("0-0", 0), ("0-1", 0), ("1-0", 1)]
        assert_that(
            references, equal_to([f"tar://s/{name}.jpg::{shards}/shard-{n}.tar" for name, n in members])
        )


def test_equal_members_of_several_archives_are_sent_once(tmp_path: Path) -> None:
    for name in "ab":
        zipped(tmp_path / f"{name}.zip", {"x.txt": b"same", f"{name}.txt": name.encode()})
    spec = spec_of(f"zip://*.txt::{tmp_path}/*.zip", deduplicate="content")
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        references = (pipeline | ReadReferences(spec)).references
        assert_that(references | beam.Map(lambda one: len(one.aliases)), equal_to([1, 0, 0]))


def test_a_stopped_job_reads_an_archive_no_further(tmp_path: Path, shards: Path) -> None:
    spec = spec_of(f"tar://**/*.jpg::{shards}/shard-*.tar")
    reader = PieceReader(spec, None)
    units = [unit for piece in first_pieces(spec) for unit in reader.units(piece)]
    control = ControlSpec(str(tmp_path / "out"), {}, "run-archives")
    JobControl.shared(control).stop("interrupt", "the user said so")
    try:
        opener = Opener(spec, control=JobControl.shared(control))
        opener.begin()
        assert [item for unit in units for item in opener.open(unit)] == []
    finally:
        JobControl.shared(control).close()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_that_are_too_many_to_look_at_are_estimated(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tar if kind == "tar" else zipped
    for number in range(8):
        make(tmp_path / f"{number}.{kind}", {f"{name}.jpg": b"x" * 600 for name in range(5)})
    monkeypatch.setattr(Budget, "MEMBERS", 10)
    spec = spec_of(f"{kind}://*.jpg::{tmp_path}/*.{kind}")
    count = count_source(spec)
    assert not count.exact
    assert 36 <= count.inputs <= 44
    assert count.bytes == pytest.approx(count.inputs * 600, rel=0.02)
    assert count_source(spec_of(f"{kind}://*.jpg::{tmp_path}/*.{kind}", limit=20)) == SourceCount(20, 12_000)


def test_what_names_no_archive_is_refused_before_anything_is_read(shards: Path) -> None:
    with pytest.raises(SourceError, match=r"looks into a folder; name the archives .*/\*\.zip"):
        spec_of(f"zip://*.jpg::{shards}")
    with pytest.raises(SourceError, match=r"matches no file"):
        spec_of(f"zip://*.png::{shards}/*.zip")
    with pytest.raises(SourceError, match=r"matches no file"):
        spec_of(f"zip://*.jpg::{shards}/none-*.zip")
    for path in shards.glob("*.zip"):
        path.write_bytes(b"no zip")
    with pytest.raises(
        SourceError, match=r"source\.files: .*\.zip cannot be read: damaged, or no zip archive: File is"
    ):
        spec_of(f"zip://*.jpg::{shards}/*.zip")


def test_brackets_may_be_part_of_an_archives_name(tmp_path: Path) -> None:
    tar(tmp_path / "2026 [all].tar", {"a.jpg": b"x"})
    assert ids(spec_of(f"tar://*.jpg::{tmp_path}/2026 [all].tar")) == [
        f"tar://a.jpg::{tmp_path}/2026 [all].tar"
    ]
