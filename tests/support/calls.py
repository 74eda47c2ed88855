"""Builds calls to the fault server, and contents to send, for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bulkinfer.transforms.calls.batching import Item
from bulkinfer.transforms.calls.model_call import ModelCall
from bulkinfer.transforms.endpoints.clarifai.addresses import parse_endpoint
from bulkinfer.transforms.endpoints.clarifai.prepare import ClarifaiCall, prepare_call
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig
from bulkinfer.transforms.records import Content, Reference

__all__ = ["MODEL_URL", "call_to", "items", "texts"]

MODEL_URL = "https://clarifai.com/acme/lab/models/echo"


def call_to(
    endpoint: str,
    *,
    method: str = "predict",
    arguments: dict[str, Any] | None = None,
    stop: dict[str, Any] | None = None,
    workers: int = 1,
    media_type: str = "text",
    **calls: Any,
) -> ClarifaiCall:
    """A method of the fault server, ready to be called."""
    return prepare_call(
        ModelConfig(url=MODEL_URL, method=method, arguments=arguments or {}),
        CallsConfig(**{"batch_size": 8, "in_flight": 4, "timeout": 10, "retry_for": 20, **calls}),
        StopConfig(**(stop or {"error_ratio": 1})),
        endpoint=parse_endpoint(endpoint),
        media_type=media_type,
        columns=(),
        workers=workers,
    )


def texts(names: Iterable[str]) -> list[Content]:
    """One text input a name; the text is the name."""
    return [Content(Reference(name, None, "text", inline=name), None) for name in names]


def items(call: ModelCall, contents: Sequence[Content]) -> list[Item]:
    """Contents as the engine takes them; each token is the input's id."""
    encode = call.endpoint.encoder()
    return [
        Item(one.reference, encode(one), one.reference.input_id, one.width, one.height) for one in contents
    ]
