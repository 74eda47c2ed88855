"""A manifest that others wrote names neither files of this machine nor addresses that only this machine reaches."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.content.fetch import Fetcher
from bulkinfer.transforms.errors import ConfigError, ReadError, SourceError
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.job.job_file import check_sections
from bulkinfer.transforms.records import Failure, Reference
from bulkinfer.transforms.sources.rows import RowReader
from bulkinfer.transforms.sources.source import SourceSpec, inspect_source
from bulkinfer.transforms.storage.allowed import Allowed
from support.http_server import HttpServer, http_server
from support.s3_server import s3_server

FAR = Allowed.of(None, "https://h/refs.csv")


@pytest.fixture(scope="module")
def web() -> Iterator[HttpServer]:
    with http_server() as server:
        yield server


@pytest.mark.parametrize(
    "reference",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "local://etc/passwd",
        "memory://a",
        "zip://a.jpg::/data/a.zip",
        "http://localhost/a.jpg",
        "http://127.1/a.jpg",
        "http://2130706433/a.jpg",
        "http://[::1]:8000/a.jpg",
        "http://[::ffff:127.0.0.1]/a.jpg",
        "http://me:pw@169.254.169.254/latest/meta-data",
        "sftp://localhost/a.jpg",
        "zip://a.jpg::http://127.0.0.1/a.zip",
        "http://[broken/a.jpg",
    ],
)
def test_what_is_on_this_machine_is_refused_from_afar_and_meant_from_here(reference: str) -> None:
    fault = FAR.fault(reference)
    assert fault is not None
    assert "write source.allow with" in fault
    assert "pw@" not in fault
    for here in ("refs.csv", "/data/*.csv", "http://127.0.0.1:9000/refs.csv", "zip://refs.csv::lists.zip"):
        assert Allowed.of(None, here).fault(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "https://h/a.jpg",
        "s3://bucket/a.jpg",
        "zip://a.jpg::gs://b/c.zip",
        "data:,hi",
        "http://10.0.0.1/a.jpg",
    ],
)
def test_what_is_on_the_network_may_be_named_from_anywhere(reference: str) -> None:
    assert FAR.fault(reference) is None
    assert Allowed.of(None, "zip://refs.csv::s3://b/lists.zip").fault(reference) is None


def test_the_schemes_that_a_job_allows_are_the_only_ones() -> None:
    allowed = Allowed.of(("https", "FILE"), "s3://b/refs.csv")
    assert allowed.fault("https://h/a.jpg") is None
    assert allowed.fault("/data/a.jpg") is None
    assert "is of the scheme s3, which source.allow (https, file) does not name" in str(
        allowed.fault("s3://b/a.jpg")
    )
    assert "write source.allow with loopback" in str(allowed.fault("https://127.0.0.1/a.jpg"))
    assert Allowed.of(("http", "loopback"), "s3://b/refs.csv").fault("http://127.0.0.1/a.jpg") is None
    assert Allowed.of(("s3",), "refs.csv").fault("/data/a.jpg") is not None
    assert pickle.loads(pickle.dumps(allowed)) == allowed
    assert str(FAR) == "any scheme; no files and no addresses of this machine"
    assert str(allowed) == "https, file; no addresses of this machine"
    assert str(Allowed.of(None, "refs.csv")) == "any reference"


def refused(uri: str, **columns: Any) -> ReadError:
    fetcher = Fetcher(max_bytes=1000, storage={}, allowed=FAR, reference_columns=tuple(columns), timeout=10)
    with pytest.raises(ReadError) as caught:
        fetcher.content(Reference("a", uri, "text", columns=columns))
    assert caught.value.error_type == "not_allowed"
    return caught.value


def test_redirects_and_names_that_resolve_obey_the_same_rule(web: HttpServer) -> None:
    web.files["secret.txt"] = b"hunter2"
    web.redirects["away.txt"] = web.link("secret.txt")
    web.redirects["relative.txt"] = "/secret.txt"

    for path in ("away.txt", "relative.txt"):
        assert f"{web.link(path)} redirects: {web.link('secret.txt')}: 127.0.0.1 is an address" in str(
            refused(web.link(path))
        )
    assert "localhost is an address of this machine" in str(
        refused(web.link("secret.txt").replace("127.0.0.1", "localhost"))
    )
    assert web.requests["secret.txt"] == 0
    own = Fetcher(max_bytes=1000, storage={})
    assert own.content(Reference("a", web.link("away.txt"), "text")).data == b"hunter2"


def test_columns_of_references_and_other_protocols_obey_it_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hunter2")
    assert "column 'other'" in str(refused("data:,hi", other=str(tmp_path / "a.txt")))
    assert "localhost is an address" in str(refused("ftp://localhost/a.txt"))


def read(spec: SourceSpec) -> list[Reference | Failure]:
    return [item for split in spec.scan.splits for item in RowReader(spec).read(split)]


def test_a_manifest_on_a_store_that_names_local_files_gives_error_rows_and_exit_2_where_it_names_nothing_else(
    tmp_path: Path,
) -> None:
    uris = ["a.jpg", str(tmp_path / "a.jpg")]
    with s3_server("lists") as s3:
        storage = s3.storage
        s3.filesystem().pipe_file(
            "lists/both.jsonl", "".join(json.dumps({"u": uri}) + "\n" for uri in uris).encode()
        )
        s3.filesystem().pipe_file("lists/bad.jsonl", (json.dumps({"u": uris[1]}) + "\n").encode())

        def source(name: str, **keys: Any) -> SourceConfig:
            return SourceConfig(manifest=f"s3://lists/{name}", columns={"uri": "u"}, storage=storage, **keys)

        good, bad = read(inspect_source(source("both.jsonl")))
        with pytest.raises(
            SourceError, match=r"source\.manifest: none of its first references may be read: /"
        ):
            inspect_source(source("bad.jsonl"))
        [meant] = read(inspect_source(source("bad.jsonl", allow=("file",))))

    assert isinstance(good, Reference)
    assert isinstance(bad, Failure)
    assert (bad.error_type, bad.reference.input_id) == ("not_allowed", uris[1])
    assert isinstance(meant, Reference)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"files": "*.jpg", "allow": ["s3"]}, "allow is about what a manifest or a table names"),
        ({"manifest": "a.csv", "allow": ["https://h"]}, "'https://h' is no scheme"),
    ],
)
def test_an_allow_that_cannot_be_meant_is_refused(source: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_sections({"source": {"columns": {"uri": "u"}, **source} if "manifest" in source else source})
