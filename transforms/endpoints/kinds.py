"""The kinds of endpoint by the names that a job gives them, and what the preflight asks of each.

A kind is a room here; its module `kind` holds a class that answers as `EndpointKind` says. Rooms are imported when a
job names them, because each brings the client of its own API.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Protocol, cast

from ..calls.endpoint import CallLimits
from ..calls.model_call import ModelCall
from ..job.config import CallsConfig, ModelConfig, StopConfig

__all__ = ["EMBEDDED", "EndpointKind", "kind_of"]

#: The address by which a job asks for our own server; whoever starts it passes on the address it got.
EMBEDDED = "embedded"

_CLASSES = {
    "clarifai": "clarifai.kind:ClarifaiKind",
    "openai": "openai.kind:OpenAIKind",
    "inference_v2": "inference_v2.kind:InferenceV2Kind",
    "python": "python.kind:PythonKind",
}


class EndpointKind(Protocol):
    """What is known of a kind of endpoint before a job's first call."""

    def address(self, model: ModelConfig) -> str:
        """Where the API is served: what the job says, else the environment, else the API's public address.

        Raises:
            ConfigError: it is no address.
        """

    def check(self, model: ModelConfig, address: str) -> None:
        """Check what can be known without a request.

        Raises:
            ConfigError: keys of `model` do not fit each other or the address.
            CredentialsError: the API is known to want a key and there is none.
        """

    def published_limits(self, model: ModelConfig, address: str) -> CallLimits:
        """What the API at the address says that it takes."""

    def columns(self, model: ModelConfig) -> frozenset[str]:
        """Names of the source's columns that the arguments use."""

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
        """Ask the server what it serves and bind the arguments; no input is sent.

        Args:
            address: where the API is served.
            media_type: what the source holds.
            columns: names that the source's rows have.
            workers: processes that divide the limits among them.

        Raises:
            EndpointError: no server at the address, or it does not speak the API.
            CredentialsError: no key, a wrong one, or one that would travel unencrypted.
            ModelNotFoundError: the server does not know the model.
            MethodError: no such method, or the arguments do not fit it.
        """


def kind_of(model: ModelConfig) -> EndpointKind:
    """The kind of endpoint that a job names.

    >>> type(kind_of(ModelConfig(endpoint="embedded"))).__name__
    'ClarifaiKind'
    """
    module, _, name = _CLASSES[model.kind].partition(":")
    return cast("EndpointKind", getattr(importlib.import_module(f".{module}", __package__), name)())
