"""A model's method, ready to be called by any worker: what the preflight resolves and every call needs."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection

from ..endpoints.clarifai.addresses import Endpoint, ModelAddress, parse_model_url
from ..endpoints.clarifai.model_client import ModelClient
from ..endpoints.clarifai.request.binding import Binding, bind, find_method
from ..endpoints.clarifai.signatures import legacy_method
from ..job.config import CallsConfig, DeploymentConfig, ModelConfig, NodepoolConfig, StopConfig

__all__ = ["ModelCall", "address_of", "prepare_call"]


@dataclasses.dataclass(frozen=True)
class ModelCall:
    """Plain data that pickles and holds no secret; each worker reads the credentials from its own
    environment.

    Attributes:
        endpoint: where the API is served.
        address: the model.
        deployment: the dedicated deployment to send to.
        nodepool: the dedicated nodepool to send to.
        allow_plaintext: send a key unencrypted to another machine.
        binding: the method with its arguments.
        calls: how hard to press.
        stop: when to stop the job.
        model_version: the version that answers; "" when the server names none.
        share: workers that divide the rate limits and the budget among them.
        token: names this call in a process, so that all its DoFn instances use one engine.
    """

    endpoint: Endpoint
    address: ModelAddress
    binding: Binding
    calls: CallsConfig
    stop: StopConfig
    deployment: DeploymentConfig | None = None
    nodepool: NodepoolConfig | None = None
    allow_plaintext: bool = False
    model_version: str = ""
    share: int = 1
    token: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex, compare=False)


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


def prepare_call(
    model: ModelConfig,
    calls: CallsConfig,
    stop: StopConfig,
    *,
    endpoint: Endpoint,
    media_type: str,
    columns: Collection[str],
    workers: int = 1,
) -> ModelCall:
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
    return ModelCall(
        endpoint=endpoint,
        address=address,
        binding=binding,
        calls=calls,
        stop=stop,
        deployment=model.deployment,
        nodepool=model.nodepool,
        allow_plaintext=model.allow_plaintext,
        model_version=version,
        share=workers,
    )
