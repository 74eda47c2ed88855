"""Which files a pattern matches, compared with fsspec's own glob."""

from __future__ import annotations

import itertools
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import fsspec
import pytest
from bulkinfer.transforms.errors import SourceError
from bulkinfer.transforms.sources.archives import list_files, whole
from bulkinfer.transforms.sources.listing import Folder, Found, folders, list_folder
from bulkinfer.transforms.sources.patterns import expanded, parse_pattern
from bulkinfer.transforms.storage.filesystems import Filesystems, options_for, resolve
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.s3_server import s3_server

NAMES = st.sampled_from(["a", "b", "ab.jpg", "b.jpg", "c.txt", "a.b.jpg"])
PARTS = st.sampled_from(["*", "**", "a", "?", "a*", "[ab]"])
LEAVES = st.sampled_from(["*.jpg", "*", "b.jpg", "?.*", "**"])


def listed(text: str, storage: dict[str, object] | None = None, *, ordered: bool = False) -> list[str]:
    filesystems = Filesystems(storage or {})
    pattern = parse_pattern(text, filesystems)
    return [found.uri for found in list_files(pattern, whole(pattern), filesystems, ordered=ordered)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.txt", "sub/c.jpg", "sub/deep/d.jpg", "sub/.hidden.jpg", ".git/e.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=8),
    parts=st.lists(PARTS, max_size=2),
    leaf=LEAVES,
)
def test_a_listing_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory, files: set[str], parts: list[str], leaf: str
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name in sorted(files):
        path = root / name
        if not any(parent.is_file() for parent in path.parents) and not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    text = "/".join([str(root), *parts, leaf])
    assume(not Path(text).is_dir())  # a folder by its name stands for all files below it
    local = fsspec.filesystem("file")
    expected = sorted(path for path in local.glob(text) if local.isfile(path))
    assert sorted(listed(text)) == expected
    filesystems = Filesystems({})
    pattern = parse_pattern(text, filesystems)
    pieces = [list_folder(pattern, folder, filesystems) for folder in folders(pattern, filesystems)]
    assert sorted(found.uri for found in itertools.chain(*pieces)) == expected


def test_a_file_where_the_pattern_has_a_folder_is_no_match(tree: Path) -> None:
    assert listed(f"{tree}/a.jpg/b.jpg") == []
    assert listed(f"{tree}/a.jpg/*.jpg") == []


def test_names_with_a_dot_match_only_where_the_pattern_spells_it(tree: Path) -> None:
    assert sorted(listed(f"{tree}/**/*.jpg")) == [
        f"{tree}/a.jpg",
        f"{tree}/sub/c.jpg",
        f"{tree}/sub/deep/d.jpg",
    ]
    assert listed(f"{tree}/sub/.*.jpg") == [f"{tree}/sub/.hidden.jpg"]


def test_a_relative_pattern_gives_relative_references(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert listed("*.jpg") == ["a.jpg"]
    assert listed("./sub/*.jpg") == ["./sub/c.jpg"]


def test_a_directory_stands_for_all_files_below_it(tree: Path) -> None:
    assert sorted(listed(f"{tree}/sub")) == [f"{tree}/sub/c.jpg", f"{tree}/sub/deep/d.jpg"]


def test_an_ordered_listing_goes_folder_by_folder_by_name(tree: Path) -> None:
    (tree / "aa").mkdir()
    (tree / "aa" / "z.jpg").write_bytes(b"x")
    assert [os.path.relpath(uri, tree) for uri in listed(f"{tree}/**/*.jpg", ordered=True)] == [
        "a.jpg",
        "aa/z.jpg",
        "sub/c.jpg",
        "sub/deep/d.jpg",
    ]


def test_a_link_to_its_own_folder_is_not_followed(tree: Path) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    assert len(listed(f"{tree}/**/*.jpg")) == 3


def test_members_of_a_zip_file_are_listed_with_their_checksums(tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("a.jpg", "x/b.jpg", "x/c.txt"):
            file.writestr(name, name)
    assert sorted(listed(f"zip://**/*.jpg::{archive}")) == [
        f"zip://a.jpg::{archive}",
        f"zip://x/b.jpg::{archive}",
    ]
    filesystems = Filesystems({})
    pattern = parse_pattern(f"zip://*.jpg::{archive}", filesystems)
    (found,) = list_folder(pattern, Folder(""), filesystems)
    assert found == Found(f"zip://a.jpg::{archive}", f"crc32:{zlib.crc32(b'a.jpg'):08x},size:5", 5)


@pytest.mark.parametrize("name", ["./{}", "{}"])
def test_members_of_a_tar_match_with_and_without_a_dot(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:  # as `tar cf x.tar .` names them
        for member in ("a.jpg", "x/b.jpg", "x/.hidden.jpg", "c.txt"):
            (tmp_path / "content").write_text(member)
            file.add(tmp_path / "content", name.format(member))
    for pattern in ("tar://*.jpg", "tar://./*.jpg"):
        assert listed(f"{pattern}::{tmp_path}/x.tar") == [f"tar://a.jpg::{tmp_path}/x.tar"]
    assert sorted(listed(f"tar://**/*.jpg::{tmp_path}/x.tar")) == [
        f"tar://a.jpg::{tmp_path}/x.tar",
        f"tar://x/b.jpg::{tmp_path}/x.tar",
    ]
    assert listed(f"tar://x/b.jpg::{tmp_path}/x.tar") == [f"tar://x/b.jpg::{tmp_path}/x.tar"]


def test_objects_of_s3_are_listed_with_their_etags() -> None:
    with s3_server("photos") as server:
        filesystem = server.filesystem()
        for name in ("photos/a/1.jpg", "photos/a/b/2.jpg", "photos/c.txt"):
            filesystem.pipe(name, b"x")
        filesystems = Filesystems(server.storage)
        pattern = parse_pattern("s3://photos/**/*.jpg", filesystems)
        pieces = [list_folder(pattern, folder, filesystems) for folder in folders(pattern, filesystems)]
        found = sorted(itertools.chain(*pieces), key=lambda item: item.uri)
        assert [item.uri for item in found] == ["s3://photos/a/1.jpg", "s3://photos/a/b/2.jpg"]
        assert found[0].version == "etag:9dd4e461268c8034f5c8564e155c67a6"
        assert found[0].size == 1


def test_a_folder_of_s3_is_listed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "100")  # of a page
    with s3_server("many") as server:
        names = [f"many/x/{index:04d}.txt" for index in range(150)]
        server.filesystem().pipe(dict.fromkeys(names, b"x"))
        before = server.requests
        assert listed("s3://many/x/*.txt", server.storage) == [f"s3://{name}" for name in names]
        assert server.requests - before >= 2
        with pytest.raises(OSError, match="bucket does not exist"):
            listed("s3://none/x/*.txt", server.storage)


def test_a_pattern_over_http_is_refused() -> None:
    with pytest.raises(SourceError, match=r"HTTP servers give no listings; name each URL"):
        listed("https://example.org/photos/*.jpg")


def test_two_stars_inside_a_component_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"`\*\*` must be a whole path component"):
        listed(f"{tmp_path}/**.jpg")


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(
        SourceError, match=r"cannot open nope://x/\*\.jpg.*check the address and source\.storage"
    ):
        listed("nope://x/*.jpg")


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr("bulkinfer.transforms.storage.filesystems.url_to_fs", missing)
    with pytest.raises(SourceError, match=r"pip install 'bulkinfer\[gcs\]'"):
        listed("gs://bucket/*.jpg")


def test_flat_options_reach_the_remote_store_only() -> None:
    storage = {"key": "k", "https": {"headers": 1}}
    assert options_for("s3", storage) == {"key": "k", "use_listings_cache": False}
    assert options_for("file", storage) == {}
    assert options_for("https", storage) == {"headers": 1}


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("a.jpg", "", "a.jpg"),
        ("a.jpg", "data", "data/a.jpg"),
        ("a.jpg", "s3://b/refs", "s3://b/refs/a.jpg"),
        ("/x/a.jpg", "data", "/x/a.jpg"),
        ("https://h/a.jpg", "data", "https://h/a.jpg"),
        ("zip://a.jpg::p.zip", "data", "zip://a.jpg::data/p.zip"),
    ],
)
def test_relative_references_are_relative_to_the_manifest(uri: str, base: str, expected: str) -> None:
    assert resolve(uri, base) == expected


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("a/*.{jpg,png}", ["a/*.jpg", "a/*.png"]),
        ("{a,b{1,2}}.jpg", ["a.jpg", "b1.jpg", "b2.jpg"]),
        ("{a,a}.jpg", ["a.jpg"]),
        ("{only}.jpg", ["{only}.jpg"]),
        ("{a,}b", ["ab", "b"]),
    ],
)
def test_braces_are_expanded_as_in_a_shell(text: str, patterns: list[str]) -> None:
    assert sorted(expanded(text)) == sorted(patterns)
