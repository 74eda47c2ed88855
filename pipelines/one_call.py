"""`bulkinfer call` and `bulkinfer methods`: one question to an endpoint, outside of any job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bulkinfer.transforms.answers import output_value
from bulkinfer.transforms.binding import bind, find_method
from bulkinfer.transforms.config import DeploymentConfig, ModelConfig
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.model_call import address_of
from bulkinfer.transforms.model_client import ModelClient
from bulkinfer.transforms.records import MEDIA_TYPES, Content, Reference
from bulkinfer.transforms.signatures import Method, legacy_method

from .preflight import open_endpoint

__all__ = ["call_once", "list_methods"]


def parse_inputs(text: str, files: Sequence[str]) -> dict[str, Any]:
    """The arguments of one call: JSON values by name, and file contents as bytes.

    Raises:
        ConfigError: the text is no JSON object, or a file cannot be read.
    """
    try:
        arguments = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--inputs: not valid JSON at character {error.pos}: {error.msg}; write an object"
        ) from None
    if not isinstance(arguments, dict):
        raise ConfigError(
            f'--inputs: {text[:40]!r} is no JSON object; write arguments by name, as in {{"text": "..."}}'
        )
    for item in files:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise ConfigError(f"--file {item}: expected ARG=PATH, as in --file image=photo.jpg")
        try:
            arguments[name] = Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"--file {item}: cannot be read ({error.strerror}); check the path") from None
    return arguments


def call_once(
    endpoint: str | None,
    model: str | None,
    method_name: str,
    inputs: str,
    files: Sequence[str],
    deployment: str | None = None,
) -> Any:
    """Send one input; the answer as JSON: a stream of texts joined, a stream of anything else as a list.

    Raises:
        JobError: the arguments are malformed or do not fit, or nothing would ever answer.
        CallError: the model refused the input.
    """
    arguments = parse_inputs(inputs, files)
    named = ModelConfig(
        url=model, endpoint=_endpoint_without_model(endpoint, model), deployment=_deployment(deployment)
    )
    # The media type only matters to models without signatures, whose one input is named by it.
    media_type = next((media for media in MEDIA_TYPES if media in arguments), "text")
    with (
        open_endpoint(endpoint) as address,
        ModelClient(address, address_of(named), deployment=named.deployment) as client,
    ):
        methods = client.methods()
        method = find_method(methods, method_name) if methods else legacy_method(media_type)
        binding = bind(method, arguments, media_type=None)
        outputs = client.call_one(binding, Content(Reference("call", None, media_type), None))
    values = [output_value(output, method) for output in outputs]
    if method.type == "UNARY_UNARY":
        return values[0]
    return "".join(values) if values and all(isinstance(value, str) for value in values) else values


def list_methods(endpoint: str | None, model: str | None) -> list[Method]:
    """The methods of a model, by name.

    Raises:
        JobError: nothing answers, the key is refused, or the model is unknown.
    """
    named = ModelConfig(url=model, endpoint=_endpoint_without_model(endpoint, model))
    with open_endpoint(endpoint) as address, ModelClient(address, address_of(named)) as client:
        return [method for _, method in sorted(client.methods().items())]


def _endpoint_without_model(endpoint: str | None, model: str | None) -> str | None:
    """A local server answers for any model, so that only the public API needs one named."""
    if model is None and endpoint is None:
        raise ConfigError(
            "no model is named; add --model URL, or --endpoint for a server that serves one model"
        )
    return "embedded" if model is None else endpoint


def _deployment(text: str | None) -> DeploymentConfig | None:
    if text is None:
        return None
    user_id, slash, name = text.partition("/")
    if not (user_id and slash and name):
        raise ConfigError(f"--deployment {text}: expected USER_ID/ID")
    return DeploymentConfig(id=name, user_id=user_id)
