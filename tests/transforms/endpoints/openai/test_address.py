"""Where the API is, which key it wants, and the proxy on the way."""

from __future__ import annotations

import pytest
from bulkinfer.transforms.endpoints.openai.address import CLARIFAI_API, address_of, key_variable, parse_api
from bulkinfer.transforms.job.config import ModelConfig

CLARIFAI = "https://clarifai.com/openai/chat/models/gpt"


@pytest.mark.parametrize(
    ("keys", "url", "variable"),
    [
        ({"name": "m"}, "https://api.openai.com:443/v1", "OPENAI_API_KEY"),
        ({"url": CLARIFAI}, "https://api.clarifai.com:443/v2/ext/openai/v1", "CLARIFAI_PAT"),
        ({"name": "m", "endpoint": "http://localhost:8000/v1/"}, "http://localhost:8000/v1", None),
        ({"name": "m", "endpoint": "https://h/x", "key_env": "KEY"}, "https://h:443/x", "KEY"),
    ],
)
def test_each_api_has_its_address_and_its_key(
    keys: dict[str, str], url: str, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = ModelConfig(kind="openai", **keys)
    api = parse_api(address_of(model))

    assert (api.url, key_variable(model, api)) == (url, variable)


def test_the_environment_names_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://own.example/v1")
    assert address_of(ModelConfig(kind="openai", name="m")) == "https://own.example/v1"
    assert address_of(ModelConfig(kind="openai", url=CLARIFAI)) == CLARIFAI_API


def test_the_proxy_of_the_environment_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert parse_api("https://h/v1").proxy == "http://proxy:3128"
    assert parse_api("http://h/v1").proxy is None
    assert parse_api("https://inside.example/v1").proxy is None
    assert parse_api("https://127.0.0.1/v1").proxy is None
