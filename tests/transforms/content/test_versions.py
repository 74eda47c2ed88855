"""The version of a content, by which a changed input is done again."""

from __future__ import annotations

from bulkinfer.transforms.content.versions import version_of


def test_versions_prefer_the_etag() -> None:
    assert version_of({"ETag": '"abc"', "size": 1, "mtime": 2.5}) == "etag:abc"
    assert version_of({"size": 1, "mtime": 2.5}) == "size:1,mtime:2.5"
    assert version_of({"size": 1}) == ""
