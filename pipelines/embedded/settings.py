"""What the embedded server is started with, and the checks of it that come before anything is started."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
from urllib.parse import unquote

from bulkinfer.transforms.errors import ConfigError, JobError

__all__ = ["Settings", "require_demo_extra"]

_MODEL_URL = re.compile(
    r"(?i:https://(?:www\.)?clarifai\.com)/([^\s/?#]+)/([^\s/?#]+)/models/([^\s/?#]+)/?(?:[?#].*)?"
)
_PACKAGES = ("aiohttp", "av", "cv2", "jsonschema", "py3langid")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to serve; plain data, which goes to the serving process as JSON.

    Attributes:
        port: where the model API (gRPC) listens; 0 takes a free port, None does not serve it.
        http_port: where the OpenAI-compatible API (HTTP) listens, likewise.
        host: the interface to listen on; anything but loopback lets other machines in.
        model_url: answer for this model alone; by default for any.
        required_key_env: environment variable with the key that calls must carry; by default they need none.
        workers: worker processes; 0 for one a core.
        requests_per_minute, tokens_per_minute: limits of the OpenAI-compatible API; none by default.
    """

    port: int | None = 0
    http_port: int | None = None
    host: str = "127.0.0.1"
    model_url: str | None = None
    required_key_env: str | None = None
    workers: int = 0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def model(self) -> tuple[str, str, str] | None:
        """User, app and model of the model's URL; ConfigError when it is none."""
        if self.model_url is None:
            return None
        found = _MODEL_URL.fullmatch(self.model_url.strip())
        if found is None:
            shown = re.sub(r"[^/]*@", "***@", self.model_url)  # what stands before an @ may be a password
            raise ConfigError(
                f"{shown!r} is not the URL of a model; write https://clarifai.com/USER/APP/models/MODEL, without a "
                "version or a method"
            )
        user_id, app_id, model_id = map(unquote, found.groups())
        return user_id, app_id, model_id

    def key(self) -> str | None:
        """The key that calls must carry; ConfigError when its variable holds none."""
        if self.required_key_env is None:
            return None
        key = os.environ.get(self.required_key_env)
        if not key:
            raise ConfigError(
                f"the environment variable {self.required_key_env} holds no key; set it, or ask for none"
            )
        return key


def require_demo_extra() -> None:
    """JobError when packages are missing that the server needs."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise JobError(
            f"the embedded model server needs packages that are not installed ({', '.join(missing)}); "
            "install them with: pip install 'bulkinfer[demo]'"
        )
