"""Members of archives: one spelling of their names, many threads, damage, and how many stay open."""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.storage.archives import (
    ArchiveFileSystem,
    DamagedArchiveError,
    OpenArchives,
    members,
)
from bulkinfer.transforms.storage.filesystems import Filesystems
from support.archives import tar, zipped
from support.http_server import http_server
from support.s3_server import s3_server

NAMES = ["./a.jpg", "b.jpg", "./d//c.jpg", "/e.jpg"]


def read(url: str, storage: Mapping[str, Any] | None = None) -> bytes:
    filesystem, path = Filesystems(storage or {}).open(url)
    content: bytes = filesystem.cat_file(path)
    return content


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_are_named_with_and_without_a_dot(tmp_path: Path, kind: str) -> None:
    make = tar if kind == "tar" else zipped
    archive = make(tmp_path / "x", {name: name.encode() for name in NAMES})
    with archive.open("rb") as file:
        assert [member.name for member in members(kind, file)] == ["a.jpg", "b.jpg", "d/c.jpg", "e.jpg"]
    filesystem, _ = Filesystems({}).open(f"{kind}://::{archive}")
    assert filesystem.ls("", detail=False) == ["a.jpg", "b.jpg", "d", "e.jpg"]
    assert [info["type"] for info in filesystem.ls("d")] == ["file"]
    for name in ("a.jpg", "./a.jpg", "//a.jpg", "./././a.jpg"):
        assert read(f"{kind}://{name}::{archive}") == b"./a.jpg"
    assert read(f"{kind}://d/c.jpg::{archive}") == b"./d//c.jpg"
    with pytest.raises(FileNotFoundError):
        read(f"{kind}://c.jpg::{archive}")


def test_of_members_with_one_name_the_first_counts(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    tar(archive, {"a.txt": b"first", "./a.txt": b"later"})
    assert read(f"tar://a.txt::{archive}") == b"first"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_members_of_a_tar_keep_their_bytes_in_many_threads(tmp_path: Path, suffix: str) -> None:
    chance = random.Random(1)
    contents = {f"./{index}.jpg": chance.randbytes(chance.randrange(1, 50_000)) for index in range(40)}
    archive = tar(tmp_path / f"x.{suffix}", contents, "w:gz" if suffix.endswith("gz") else "w")
    filesystem, _ = Filesystems({}).open(f"tar://::{archive}")
    wanted = [f"./{chance.randrange(40)}.jpg" for _ in range(800 if suffix == "tar" else 40)]
    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(filesystem.cat_file, wanted)) == [contents[name] for name in wanted]


def test_an_archive_in_an_archive_on_s3_is_read(tmp_path: Path) -> None:
    inner = tar(tmp_path / "in.tar", {"./a.txt": b"deep"})
    outer = zipped(tmp_path / "out.zip", {"./in.tar": inner.read_bytes()})
    with s3_server("lake") as server:
        server.filesystem().put(str(outer), "lake/out.zip")
        assert read("tar://a.txt::zip://in.tar::s3://lake/out.zip", server.storage) == b"deep"


def test_an_archive_on_a_web_server_is_read_by_ranges(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3 << 20)
    with http_server() as server:
        server.files["x.tar"] = tar(tmp_path / "x.tar", {"./big": content, "./a.txt": b"small"}).read_bytes()
        assert read(f"tar://a.txt::{server.link('x.tar')}") == b"small"
        assert read(f"tar://big::{server.link('x.tar')}") == content
        server.ranges = False
        with pytest.raises(ValueError, match=r"range requests"):
            read(f"tar://a.txt::{server.link('x.tar')}")


def test_a_link_in_a_tar_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    links = {"d/link": "../a.txt", "nowhere": "gone", "round": "round", "folder": "d"}
    archive = tar(tmp_path / "x.tar", {"a.txt": b"12345"}, links=links)
    filesystem, _ = Filesystems({}).open(f"tar://::{archive}")
    assert filesystem.cat_file("d/link") == b"12345"
    assert filesystem.info("d/link")["size"] == 5
    for name in ("nowhere", "round"):
        with pytest.raises(FileNotFoundError):
            filesystem.cat_file(name)


def test_a_member_that_is_damaged_costs_itself(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"a.txt": b"aaaa", "b.txt": b"bbbb"})
    archive.write_bytes(archive.read_bytes().replace(b"aaaa", b"axaa"))
    assert read(f"zip://b.txt::{archive}") == b"bbbb"
    with pytest.raises(DamagedArchiveError, match=r"damaged, or no zip archive: Bad CRC-32"):
        read(f"zip://a.txt::{archive}")


def test_an_archive_that_is_damaged_or_none_says_so(tmp_path: Path) -> None:
    contents = {f"{name}.txt": name.encode() * 600 for name in "abcd"}
    archive = tar(tmp_path / "x.tar", contents)
    whole = archive.read_bytes()
    header = 512 + 1024  # of the second member
    for damaged in (
        whole[:header] + b"?" * 512 + whole[header + 512 :],
        whole[: header + 100],
        whole[: header + 700],
    ):
        archive.write_bytes(damaged)
        with archive.open("rb") as file, pytest.raises(DamagedArchiveError, match=r"damaged"):
            list(members("tar", file))
    archive.write_bytes(whole[: 4 * header])  # the zeros at the end are a habit
    with archive.open("rb") as file:
        assert len(list(members("tar", file))) == 4
    short = tar(tmp_path / "x.tar.gz", {"a": random.Random(0).randbytes(9000)}, "w:gz")
    short.write_bytes(short.read_bytes()[:5000])
    for kind, content in (
        ("tar", short.read_bytes()),
        ("tar", b""),
        ("tar", b"no tar"),
        ("zip", b"PK no zip"),
    ):
        with pytest.raises(DamagedArchiveError, match=f"damaged, or no {kind} archive: "):
            list(members(kind, io.BytesIO(content)))


def test_what_the_module_cannot_unpack_is_told(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", {"a.txt": b"aaaa"})
    raw = bytearray(archive.read_bytes())
    at = raw.index(b"PK\x01\x02")
    raw[at + 8] |= 1  # encrypted, says the table of contents
    raw[6] |= 1
    archive.write_bytes(raw)
    with pytest.raises(DamagedArchiveError, match=r"packed in a way that cannot be read: .*encrypted"):
        read(f"zip://a.txt::{archive}")


def test_archives_that_were_not_used_for_long_are_closed(tmp_path: Path) -> None:
    files = []

    def connect(kind: str, url: str) -> ArchiveFileSystem:
        files.append(Path(url).open("rb"))  # noqa: SIM115
        return ArchiveFileSystem(kind, files[-1])

    paths = [str(tar(tmp_path / f"{name}.tar", {"a.txt": name.encode()})) for name in "abc"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = OpenArchives(most=2)
        reader = opened.get("tar", paths[0], connect).open("a.txt")
        for path in (*paths[1:], paths[2]):
            opened.get("tar", path, connect)
        assert len(files) == 3
        assert reader.read() == b"a"  # who reads keeps it open
        del reader
        assert [file.closed for file in files] == [True, False, False]
        opened.get("tar", paths[0], connect)
        assert [file.closed for file in files] == [True, True, False, False]
