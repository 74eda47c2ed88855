"""What the preflight asks of Clarifai's API; see `endpoints.kinds`."""

from __future__ import annotations

import os
from collections.abc import Collection

from ...calls.endpoint import CallLimits
from ...calls.model_call import ModelCall
from ...job.config import CallsConfig, ModelConfig, StopConfig
from ..arguments.expressions import named_columns
from ..kinds import EMBEDDED
from .addresses import PUBLIC_API, parse_endpoint
from .prepare import check_credentials, prepare_call, published_limits

__all__ = ["ClarifaiKind"]


class ClarifaiKind:
    """Clarifai's V2 API over gRPC."""

    def address(self, model: ModelConfig) -> str:
        """What the job says, else $CLARIFAI_API_BASE, else the public API."""
        text = model.endpoint or os.environ.get("CLARIFAI_API_BASE") or PUBLIC_API
        return text if text == EMBEDDED else parse_endpoint(text).url

    def check(self, model: ModelConfig, address: str) -> None:
        """The public API wants a key."""
        check_credentials(parse_endpoint(address))

    def published_limits(self, model: ModelConfig, address: str) -> CallLimits:
        """The public API's own; any other server publishes nothing."""
        return published_limits(model, parse_endpoint(address))

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
        """Ask for the method's signature and the model's version, and bind the arguments."""
        return prepare_call(
            model,
            calls,
            stop,
            endpoint=parse_endpoint(address),
            media_type=media_type,
            columns=columns,
            workers=workers,
        )
