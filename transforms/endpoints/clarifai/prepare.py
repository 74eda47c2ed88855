"""Prepares the calls of a job: asks Clarifai's API for the model's methods and version, and binds the arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ...calls.endpoint import CallLimits
from ...calls.model_call import ModelCall
from ...errors import CredentialsError
from ...job.config import CallsConfig, ModelConfig, StopConfig
from ..over_grpc.address import ServerAddress
from .addresses import PUBLIC_API, ModelAddress, parse_endpoint, parse_model_url
from .client import Credentials
from .endpoint import ClarifaiEndpoint
from .model_client import ModelClient
from .request.binding import Binding, bind, find_method
from .signatures import legacy_method

__all__ = ["ClarifaiCall", "address_of", "check_credentials", "prepare_call", "published_limits"]

# The public API's own limits, per https://docs.clarifai.com: a call for shared models, and any call's message.
_PUBLIC_CALLS_PER_SECOND = 15.0
_PUBLIC_BATCH_BYTES = 128_000_000


@dataclasses.dataclass(frozen=True)
class ClarifaiCall(ModelCall):
    """The calls of a job to Clarifai's API, with the method that is called."""

    endpoint: ClarifaiEndpoint

    @property
    def binding(self) -> Binding:
        """The method with its arguments."""
        return self.endpoint.binding


def address_of(model: ModelConfig) -> ModelAddress:
    """The model that a job names; where it names none, the embedded server's, which answers for any.

    Raises:
        ConfigError: the URL names no model.
    """
    if model.url is not None:
        address = parse_model_url(model.url)
    else:
        address = ModelAddress(
            model.user_id or "bulkinfer",
            model.app_id or "embedded",
            model.model_id or "demo",
            model.version_id,
        )
    return dataclasses.replace(address, version_id=model.version_id or address.version_id)


def check_credentials(server: ServerAddress) -> None:
    """Check that there is a key where the API is known to want one.

    Raises:
        CredentialsError: there is none.
    """
    if server == parse_endpoint(PUBLIC_API) and not Credentials.from_environment():
        raise CredentialsError(
            f"{server.url} wants credentials and none are set; export CLARIFAI_PAT, or name another model.endpoint"
        )


def published_limits(model: ModelConfig, server: ServerAddress) -> CallLimits:
    """What the public API takes at most; any other server publishes nothing."""
    if server != parse_endpoint(PUBLIC_API):
        return CallLimits()
    shared = not (model.deployment or model.nodepool)
    return CallLimits(
        nbytes=_PUBLIC_BATCH_BYTES, calls_per_second=_PUBLIC_CALLS_PER_SECOND if shared else None
    )


def prepare_call(
    model: ModelConfig,
    calls: CallsConfig,
    stop: StopConfig,
    *,
    endpoint: ServerAddress,
    media_type: str,
    columns: Collection[str],
    workers: int = 1,
) -> ClarifaiCall:
    """Ask the server for the method's signature and the model's version, and bind the arguments.

    Args:
        endpoint: where the API is served.
        media_type: what the source holds.
        columns: names that the source's rows have.
        workers: processes that divide the limits among them.

    Raises:
        EndpointError: no server at the address, or it does not speak the API.
        CredentialsError: no key, a wrong one, or one that would travel unencrypted.
        ModelNotFoundError: the server does not know the model.
        MethodError: no such method, or the arguments do not fit it.
    """
    address = address_of(model)
    with ModelClient(
        endpoint,
        address,
        deployment=model.deployment,
        nodepool=model.nodepool,
        allow_plaintext=model.allow_plaintext,
        timeout=calls.timeout,
        retry_for=calls.retry_for,
    ) as client:
        methods = client.methods()
        version = client.model_version()
    method = find_method(methods, model.method) if methods else legacy_method(media_type)
    binding = bind(method, model.arguments, media_type=media_type, columns=columns, stream=model.stream)
    called = ClarifaiEndpoint(
        server=endpoint,
        model=address,
        binding=binding,
        published=published_limits(model, endpoint),
        deployment=model.deployment,
        nodepool=model.nodepool,
        allow_plaintext=model.allow_plaintext,
        version=version,
    )
    return ClarifaiCall(called, calls, stop, workers)
