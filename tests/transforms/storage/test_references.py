"""References as text: one name however a URL is signed, and nothing secret or long in what is shown."""

from __future__ import annotations

import base64

import pytest
from bulkinfer.transforms.content.media import media_of
from bulkinfer.transforms.storage.faults import redact
from bulkinfer.transforms.storage.filesystems import local_path, protocol_of, resolve, split_chain
from bulkinfer.transforms.storage.references import (
    data_of,
    hide_secrets,
    identity,
    is_data,
    masked,
    masked_value,
    recorded,
    shown,
    told,
    without_query,
)

AWS = (
    "https://b.s3.amazonaws.com/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101%2Fs3&"
    "X-Amz-Date=20260101T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature={}"
)
GOOGLE = (
    "https://storage.googleapis.com/b/a.jpg?X-Goog-Algorithm=GOOG4&X-Goog-Credential=me&X-Goog-Signature={}"
)
AZURE = "https://acc.blob.core.windows.net/c/a.jpg?sv=2024-11-04&se=2026-01-31&sr=b&sp=r&sig={}"
CLOUD_FRONT = "https://d.cloudfront.net/a.jpg?w=1&Expires=1&Signature={}&Key-Pair-Id=K"
OLD_S3 = "https://s3.amazonaws.com/b/a.jpg?AWSAccessKeyId=AKIA&Expires=1700000000&Signature={}"
DATA = "data:image/png;base64," + base64.b64encode(b"\x89PNG" * 200).decode()


@pytest.mark.parametrize("url", [AWS, GOOGLE, AZURE, CLOUD_FRONT, OLD_S3])
def test_a_url_that_is_signed_anew_names_the_same_input(url: str) -> None:
    first, again = url.format("first%2Bsecret"), url.format("anothersecret")
    assert identity(first) == identity(again)
    assert "secret" not in identity(first) + masked(first) + shown(first) + redact(first, {})
    assert masked(first).partition("?")[0] == first.partition("?")[0]
    assert masked(first).endswith("=***") or "Signature=***&" in masked(first)


@pytest.mark.parametrize(
    ("url", "name", "uri"),
    [
        ("https://me:pw@h/a.jpg", "https://h/a.jpg", "https://***@h/a.jpg"),
        ("https://me:p@ss@h/a.jpg", "https://h/a.jpg", "https://***@h/a.jpg"),
        ("https://me:pw@h?w=1", "https://h?w=1", "https://***@h?w=1"),
        ("ftp://me:pw@h/a.jpg", "ftp://h/a.jpg", "ftp://***@h/a.jpg"),
        (
            "zip://a@b.jpg::https://me:pw@h/c.zip?sig=ab",
            "zip://a@b.jpg::https://h/c.zip",
            "zip://a@b.jpg::https://***@h/c.zip?sig=***",
        ),
        (
            "https://h/a.jpg?w=1&api_key=ab#top",
            "https://h/a.jpg?w=1#top",
            "https://h/a.jpg?w=1&api_key=***#top",
        ),
    ],
)
def test_secrets_are_no_part_of_a_name_and_masked_in_a_uri(url: str, name: str, uri: str) -> None:
    assert (identity(url), masked(url)) == (name, uri)


@pytest.mark.parametrize(
    "plain",
    [
        "s3://bucket/me@home/a?sig=1.jpg",
        "photos/what?.jpg",
        "abfss://container@account.dfs.core.windows.net/a.jpg",
        "sftp://me@host/a.jpg",
        "https://h/a.jpg?size=large&page=2",
        "https://h/@me/a.jpg",
        "https://h/a.jpg#top?sig",
        "data/a,b.jpg",
    ],
)
def test_a_reference_without_secrets_stands_as_it_is(plain: str) -> None:
    assert identity(plain) == masked(plain) == recorded(plain) == plain


def test_tokens_that_tell_files_apart_still_do() -> None:
    one, two = "https://h/get?token=hunter2", "https://h/get?token=hunter3"
    assert identity(one) != identity(two)
    assert "hunter" not in identity(one) + masked(one)


def test_a_data_uri_is_content_for_everything_that_looks_at_references() -> None:
    assert (is_data(DATA), protocol_of(DATA), local_path(DATA)) == (True, "data", None)
    assert resolve(DATA, "s3://bucket/folder") == DATA
    assert resolve("data/a.jpg", "s3://b") == "s3://b/data/a.jpg"
    colons = "data:text/plain,a::b://c.jpg"
    assert (protocol_of(colons), split_chain(colons), local_path(colons)) == ("data", (colons, ""), None)
    assert (media_of(DATA), media_of(colons), media_of("data:application/json,{}")) == ("image", "text", None)
    assert data_of(DATA) == b"\x89PNG" * 200
    assert data_of("data:;base64,-_8") == data_of("data:;base64,%2B/8=") == b"\xfb\xff"
    with pytest.raises(ValueError, match="its base64 is broken"):
        data_of("data:;base64,a!b")


def test_no_message_repeats_a_long_reference_whole() -> None:
    long = "photos/" + "a" * 300 + "/b.jpg"
    url = "https://h/" + "a" * 300 + ".jpg"
    for reference in (DATA, long, url):
        assert len(shown(reference)) <= 200
        assert len(told(f"cannot fetch {reference}: no", reference)) <= 230
    for reference in (DATA, url):
        assert len(redact(f"cannot fetch {reference}: no", {})) <= 230
        assert len(hide_secrets(f"cannot fetch {reference}: no")) <= 230
    assert len(recorded(DATA)) < 60
    assert recorded(long) == long


def test_a_servers_message_loses_the_secrets_of_the_reference_in_any_form() -> None:
    uri = "https://me:hunter2@h/a.jpg?sig=ab%2Fcdef"
    said = f"GET {uri}: signature ab/cdef is wrong for hunter2, see https://h/b?x=1\\u0026token=ghijk"
    assert told(said, uri).startswith(
        "GET https://***@h/a.jpg?***: signature *** is wrong for ***, see https://h/b?x=1"
    )
    assert told("a key? yes", "a.jpg") == "a key? yes"


def test_kept_values_lose_the_secrets_of_references_and_nothing_else() -> None:
    signed = AZURE.format("abcd")
    assert masked_value('["https://me:pw@h/a.jpg", 1]') == '["https://***@h/a.jpg", 1]'
    assert masked_value([signed, {"u": signed}]) == [masked(signed), {"u": masked(signed)}]
    assert masked_value("read https://me:pw@h/a.jpg first") == "read https://me:pw@h/a.jpg first"
    assert masked_value(b"https://me:pw@h") == b"https://me:pw@h"


def test_a_query_is_no_part_of_a_files_name() -> None:
    assert without_query("https://h/refs.csv?sig=a/b") == "https://h/refs.csv"
    assert without_query("https://h/refs.csv#a/b") == "https://h/refs.csv"
    assert without_query("s3://h/refs?.csv") == "s3://h/refs?.csv"
