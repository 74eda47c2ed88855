"""What the preflight asks of a server of the Open Inference Protocol; see `endpoints.kinds`."""

from __future__ import annotations

from collections.abc import Collection

from ...calls.endpoint import CallLimits
from ...calls.model_call import ModelCall
from ...errors import ConfigError
from ...job.config import CallsConfig, ModelConfig, StopConfig
from ..arguments.expressions import named_columns
from ..bearer import Token
from .address import parse_server
from .binding import bind
from .endpoint import InferenceEndpoint
from .metadata import ask_metadata

__all__ = ["InferenceV2Kind"]


class InferenceV2Kind:
    """A model server that speaks the Open Inference Protocol over gRPC."""

    def address(self, model: ModelConfig) -> str:
        """What the job says; there is no public server."""
        if model.endpoint is None:
            raise ConfigError("model.endpoint: kind inference_v2 needs an address; write grpc://HOST:PORT")
        parse_server(model.endpoint)
        return model.endpoint

    def check(self, model: ModelConfig, address: str) -> None:
        """The bearer token is there where the job names one, and travels encrypted."""
        Token.of(model.key_env, parse_server(address), allow_plaintext=model.allow_plaintext)

    def published_limits(self, model: ModelConfig, address: str) -> CallLimits:
        """None."""
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
        """Ask for the model's tensors and version, and bind the arguments."""
        server = parse_server(address)
        token = Token.of(model.key_env, server, allow_plaintext=model.allow_plaintext)
        metadata = ask_metadata(server, token, model, calls)
        bound = bind(metadata, model, media_type=media_type, columns=columns)
        endpoint = InferenceEndpoint(
            server=server,
            spec=bound.spec,
            arguments=bound.arguments,
            roles=bound.roles,
            version=metadata.version,
            signature=metadata.signature,
            most=bound.most,
            sent_size=bound.sent_size,
            key_env=model.key_env,
            allow_plaintext=model.allow_plaintext,
        )
        return ModelCall(endpoint, calls, stop, workers)
