"""URLs of models and addresses of endpoints: what is read, and what is refused with which words."""

from __future__ import annotations

import pickle

import pytest
from bulkinfer.transforms.endpoints.clarifai.addresses import (
    PUBLIC_API,
    ModelAddress,
    parse_endpoint,
    parse_model_url,
)
from bulkinfer.transforms.endpoints.over_grpc.address import ServerAddress
from bulkinfer.transforms.errors import ConfigError


@pytest.mark.parametrize(
    "url",
    [
        "https://clarifai.com/meta/sam/models/sam2",
        "https://clarifai.com/meta/sam/models/sam2/",
        "https://clarifai.com/meta/sam/models/sam2?tab=api",
        " https://clarifai.com/meta/sam/models/sam2/?a=b#c ",
        "https://www.clarifai.com/meta/sam/models/sam2",
    ],
)
def test_a_model_url_is_read_with_slash_and_query(url):
    assert parse_model_url(url) == ModelAddress("meta", "sam", "sam2", None)


def test_a_version_is_read_and_written_back():
    url = "https://clarifai.com/meta/sam/models/sam2/versions/abc123"

    assert parse_model_url(url).version_id == "abc123"
    assert parse_model_url(url).url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://clarifai.com/meta/sam/models/sam2/methods/predict", "ends with a method"),
        ("https://clarifai.com/meta/sam/models/sam2/versions/v/methods/x", "ends with a method"),
        ("https://clarifai.com/meta/sam/workflows/sam2", "resource of type 'workflows', not a model"),
        ("https://clarifai.com/meta/sam/models", "does not name one model"),
        ("https://clarifai.com/meta/sam/models/sam2/versions", "does not name one model"),
        ("https://clarifai.com/meta/sam/models/sam2/versions/", "does not name one model"),
        ("https://clarifai.com/meta//models/sam2", "does not name one model"),
        ("https://clarifai.com/meta/sam/models/sam2/other/v", "does not name one model"),
        ("http://clarifai.com/meta/sam/models/sam2", "is not a model's URL on clarifai.com"),
        ("https://example.com/meta/sam/models/sam2", "is not a model's URL on clarifai.com"),
        ("meta/sam/models/sam2", "is not a model's URL on clarifai.com"),
        ("https://clarifai.com:99999/meta/sam/models/sam2", "is not a model's URL on clarifai.com"),
        ("", "is not a model's URL on clarifai.com"),
    ],
)
def test_any_other_url_is_refused_with_the_form_to_write(url, said):
    with pytest.raises(ConfigError) as error:
        parse_model_url(url)

    assert said in str(error.value)
    assert str(error.value).startswith("model.url: ")
    assert "https://clarifai.com/USER/APP/models/MODEL" in str(error.value)


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        (PUBLIC_API, "api.clarifai.com:443", True),
        ("https://host.example:8443/", "host.example:8443", True),
        ("host.example:443", "host.example:443", True),
        ("host.example", "host.example:443", True),
        ("http://127.0.0.1:9001", "127.0.0.1:9001", False),
        ("http://host.example", "host.example:80", False),
        ("http://[::1]:9001", "[::1]:9001", False),
    ],
)
def test_an_endpoint_is_read_and_written_back(text, target, tls):
    endpoint = parse_endpoint(text)

    assert endpoint == ServerAddress(target, tls)
    assert parse_endpoint(endpoint.url) == endpoint
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("http://localhost:1", True),
        ("http://127.8.9.1:1", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1:1", False),
        ("http://localhost.example:1", False),
        ("http://0.0.0.0:1", False),
    ],
)
def test_only_loopback_addresses_are_loopback(text, loopback):
    assert parse_endpoint(text).is_loopback is loopback


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "localhost:9001",
            "does not say whether to use TLS; write https://localhost:9001 or http://localhost",
        ),
        ("https://api.clarifai.com/v2", "has more than a host and a port"),
        ("https://api.clarifai.com?x=1", "has more than a host and a port"),
        ("ftp://host", "is no address of an API"),
        ("http://", "is no address of an API"),
        ("http://host:0", "is no address of an API"),
        ("http://host:port", "is no address of an API"),
        ("https://me:secret@host", "holds a user name or password"),
    ],
)
def test_any_other_endpoint_is_refused(text, said):
    with pytest.raises(ConfigError) as error:
        parse_endpoint(text)

    assert said in str(error.value)
    assert "secret" not in str(error.value)


def test_a_malformed_address_does_not_show_its_password():
    with pytest.raises(ConfigError, match="is no address") as error:
        parse_endpoint("https://me:secret@host:port")

    assert "secret" not in str(error.value)
