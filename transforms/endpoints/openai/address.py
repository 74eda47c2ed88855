"""The address of an OpenAI-compatible API: its scheme, host, port and the path that all its calls begin with."""

from __future__ import annotations

import dataclasses
import os
import urllib.request

from ...errors import ConfigError
from ...job.config import ModelConfig
from ..over_grpc.address import ServerAddress, shown, split_url

__all__ = ["ApiAddress", "address_of", "key_variable", "parse_api"]

PUBLIC_API = "https://api.openai.com/v1"
#: Of models that a job names by a Clarifai URL, https://docs.clarifai.com/compute/inference/open-ai.
CLARIFAI_API = "https://api.clarifai.com/v2/ext/openai/v1"
_FORM = "https://HOST[:PORT]/PATH, which usually ends in /v1"


@dataclasses.dataclass(frozen=True)
class ApiAddress:
    """Where the API is served.

    Attributes:
        server: its host, port, and whether it is encrypted.
        path: what every call's path begins with, without a slash at its end.
    """

    server: ServerAddress
    path: str

    @property
    def proxy(self) -> str | None:
        """The proxy that the environment names for it; looking it up for each call would cost more than the call."""
        if self.server.is_loopback or urllib.request.proxy_bypass(self.server.host):
            return None
        return urllib.request.getproxies().get("https" if self.server.tls else "http")

    @property
    def url(self) -> str:
        """The whole address, which a job file may hold."""
        return f"{self.server.url}{self.path}"


def parse_api(text: str) -> ApiAddress:
    """Read the address of an API.

    >>> parse_api("http://127.0.0.1:8000/v1/").url
    'http://127.0.0.1:8000/v1'

    Raises:
        ConfigError: it is none.
    """
    parts = split_url(text.strip())
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ConfigError(f"model.endpoint: {shown(text)} is no address of an HTTP API; write {_FORM}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "model.endpoint: the address holds a user name or password; remove it, and name the variable of the key "
            "in model.key_env"
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"model.endpoint: {shown(text)} has a query or a fragment; write {_FORM}")
    path = parts.path.rstrip("/")
    for call in ("/chat/completions", "/responses", "/embeddings"):
        if path.endswith(call):
            raise ConfigError(
                f"model.endpoint: the address ends in {call}, which model.method adds by itself; write "
                f"{parts.scheme}://{parts.netloc}{path.removesuffix(call)}"
            )
    tls = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ApiAddress(ServerAddress(f"{host}:{parts.port or (443 if tls else 80)}", tls), path)


def address_of(model: ModelConfig) -> str:
    """What the job says, else Clarifai's API for a model with a URL, else $OPENAI_BASE_URL, else the public API."""
    if model.endpoint is not None:
        return model.endpoint
    return CLARIFAI_API if model.url else os.environ.get("OPENAI_BASE_URL") or PUBLIC_API


def key_variable(model: ModelConfig, address: ApiAddress) -> str | None:
    """The environment variable of the key: the job's, else the API's usual one; none for a server of this machine."""
    if model.key_env is not None or address.server.is_loopback:
        return model.key_env
    return "CLARIFAI_PAT" if address.server.host.endswith("clarifai.com") else "OPENAI_API_KEY"
