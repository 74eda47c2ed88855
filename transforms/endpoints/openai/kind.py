"""What the preflight asks of a server of the OpenAI-compatible API; see `endpoints.kinds`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from typing import Any

from ...calls.endpoint import CallLimits, Verdict, stopping_error
from ...calls.model_call import ModelCall
from ...errors import EndpointError, MethodError, ModelNotFoundError
from ...job.config import CallsConfig, ModelConfig, StopConfig
from ..arguments.expressions import closest, named_columns
from ..bearer import Token
from ..kinds import EMBEDDED
from .address import ApiAddress, address_of, key_variable, parse_api
from .endpoint import OpenAIEndpoint
from .methods.arguments import Parser
from .session import METHODS
from .statuses import fault_of_http

__all__ = ["OpenAIKind"]


class OpenAIKind:
    """A server that speaks the OpenAI-compatible API over HTTP."""

    def address(self, model: ModelConfig) -> str:
        """What the job says, else Clarifai's for a model with a URL, else $OPENAI_BASE_URL, else the public API."""
        text = address_of(model)
        return text if text == EMBEDDED else parse_api(text).url

    def check(self, model: ModelConfig, address: str) -> None:
        """The key is there, and travels encrypted."""
        _token(model, parse_api(address))

    def published_limits(self, model: ModelConfig, address: str) -> CallLimits:
        """None that holds for all accounts."""
        return CallLimits()

    def columns(self, model: ModelConfig) -> frozenset[str]:
        """Those that arguments and templates name."""
        return named_columns(model.arguments)

    def prepare(
        self,
        model: ModelConfig,
        calls: CallsConfig,
        stop: StopConfig,
        *,
        address: str,
        media_type: str,
        columns: Collection[str],
        workers: int = 1,
    ) -> ModelCall:
        """Ask which models there are, and bind the arguments."""
        api = parse_api(address)
        token = _token(model, api)
        name = model.name or model.url or ""
        arguments = model.arguments or _default(model.method, media_type)
        asked = METHODS[model.method].bind(name, arguments, Parser(media_type, columns))
        known = ask_models(api, token, calls.timeout)
        if model.name and known is not None and model.name not in known:
            raise ModelNotFoundError(
                f"model.name: {api.url} has no model {name!r}; {closest(name, known, 'models')}"
            )
        endpoint = OpenAIEndpoint(
            api, name, model.method, asked, key_variable(model, api), allow_plaintext=model.allow_plaintext
        )
        if asked.most == 1 and "batch_size" not in calls.model_fields_set:
            calls = calls.model_copy(update={"batch_size": 1})
        return ModelCall(endpoint, calls, stop, workers)


def ask_models(api: ApiAddress, token: Token, timeout: float) -> list[str] | None:
    """The names of the models that a server lists; None where it lists none.

    Raises:
        EndpointError: no server is there.
        CredentialsError: the key is refused.
    """
    request = urllib.request.Request(f"{api.url}/models", headers=token.headers())
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=min(timeout, 30)) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        fault = fault_of_http(error.code, {}, error.read(4096))
        if fault.verdict is Verdict.CREDENTIALS:
            raise stopping_error(fault, f"model.endpoint: {api.url}") from None
        if error.code in (400, 422):  # of a request without any parameter
            raise EndpointError(
                f"model.endpoint: {api.url}/models: {token.mask(fault.message)}; check the key and the address"
            ) from None
        return None  # not every server lists its models
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise EndpointError(
            f"model.endpoint: nothing answers at {api.url} ({token.mask(str(reason))}); check the address and that the "
            "server runs"
        ) from None
    return _names(body)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would take the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _names(body: bytes) -> list[str] | None:
    try:
        listed: Any = json.loads(body)
    except ValueError:
        return None
    data = listed.get("data") if isinstance(listed, Mapping) else None
    if not isinstance(data, list):
        return None
    return [str(item["id"]) for item in data if isinstance(item, Mapping) and "id" in item] or None


def _token(model: ModelConfig, api: ApiAddress) -> Token:
    return Token.of(key_variable(model, api), api.server, allow_plaintext=model.allow_plaintext)


def _default(method: str, media_type: str) -> Mapping[str, Any]:
    """The argument of the source's media type, where the job names none."""
    if method == "embeddings":
        return {"input": "$content"}
    name = {"text": "prompt", "image": "image", "audio": "audio"}.get(media_type)
    if name is None or (name == "audio" and method == "responses"):
        raise MethodError(
            f"model.arguments: method {method} takes no {media_type}; write messages with $uri, where the "
            "server takes it"
        )
    return {name: "$content"}
