"""Parses the URL of a model and the address of a server."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import unquote

from ...errors import ConfigError
from ..over_grpc.address import ServerAddress, shown, split_url

__all__ = ["PUBLIC_API", "ModelAddress", "parse_endpoint", "parse_model_url"]

PUBLIC_API = "https://api.clarifai.com"

_MODEL_FORM = "https://clarifai.com/USER/APP/models/MODEL or .../models/MODEL/versions/VERSION"
_ENDPOINT_FORM = "https://HOST, HOST:443 or http://HOST:PORT"
_SEGMENT = re.compile(r"[^\s/?#]+")


@dataclasses.dataclass(frozen=True)
class ModelAddress:
    """A model, and perhaps one of its versions.

    Attributes:
        user_id: the owner of the app.
        app_id: the app that holds the model.
        model_id: the model in that app.
        version_id: the version; None for the latest one.
    """

    user_id: str
    app_id: str
    model_id: str
    version_id: str | None = None

    @property
    def url(self) -> str:
        """The model's page, which is also what `parse_model_url` reads.

        >>> ModelAddress("meta", "sam", "sam2", "v1").url
        'https://clarifai.com/meta/sam/models/sam2/versions/v1'
        """
        version = f"/versions/{self.version_id}" if self.version_id else ""
        return f"https://clarifai.com/{self.user_id}/{self.app_id}/models/{self.model_id}{version}"


def parse_model_url(url: str) -> ModelAddress:
    """Read the URL of a model.

    A trailing slash and a query string are tolerated. Anything else that names no model is refused, a
    trailing `/methods/x` too: the method has a key of its own and would be lost silently.

    >>> parse_model_url("https://clarifai.com/meta/sam/models/sam2/?tab=api").model_id
    'sam2'

    Raises:
        ConfigError: the URL names no model.
    """
    parts = split_url(url.strip())
    if (
        parts is None
        or parts.scheme != "https"
        or parts.netloc.lower() not in ("clarifai.com", "www.clarifai.com")
    ):
        raise ConfigError(
            f"model.url: {shown(url)} is not a model's URL on clarifai.com; write {_MODEL_FORM}"
        )
    path = parts.path[1:].removesuffix("/")
    segments = path.split("/")
    if len(segments) > 4 and segments[2] == "models" and "methods" in segments[4:]:
        raise ConfigError(
            f"model.url: {shown(url)} ends with a method; name the method by model.method and write "
            f"{_MODEL_FORM}"
        )
    if len(segments) >= 4 and segments[2] != "models":
        raise ConfigError(
            f"model.url: {shown(url)} names a resource of type {segments[2]!r}, not a model; write "
            f"{_MODEL_FORM}"
        )
    well_formed = len(segments) == 4 or (len(segments) == 6 and segments[4] == "versions")
    if not well_formed or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ConfigError(f"model.url: {shown(url)} does not name one model; write {_MODEL_FORM}")
    user_id, app_id, _, model_id = map(unquote, segments[:4])
    return ModelAddress(user_id, app_id, model_id, unquote(segments[5]) if len(segments) == 6 else None)


def parse_endpoint(text: str) -> ServerAddress:
    """Read the address of an API.

    The vendor's client probes whether a bare `host:port` speaks TLS; here it must be said, because a wrong
    guess sends the key in the clear.

    >>> parse_endpoint("https://api.clarifai.com").target
    'api.clarifai.com:443'

    Raises:
        ConfigError: the text is no address, or does not say whether to use TLS.
    """
    text = text.strip()
    bare = "://" not in text
    parts = split_url(f"https://{text}" if bare else text)
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ConfigError(f"model.endpoint: {shown(text)} is no address of an API; write {_ENDPOINT_FORM}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "model.endpoint: the address holds a user name or password; remove it and set CLARIFAI_PAT "
            "instead"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(
            f"model.endpoint: {shown(text)} has more than a host and a port; the API is gRPC, so write "
            f"{_ENDPOINT_FORM}"
        )
    if bare and parts.port not in (None, 443):
        raise ConfigError(
            f"model.endpoint: {shown(text)} does not say whether to use TLS; write https://{text} or "
            f"http://{text}"
        )
    tls = parts.scheme == "https"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServerAddress(f"{host}:{parts.port or (443 if tls else 80)}", tls)
