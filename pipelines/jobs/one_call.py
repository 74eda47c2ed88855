"""`bulkinfer call` and `bulkinfer methods`: make one call to an endpoint without a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bulkinfer.transforms.endpoints.clarifai.addresses import parse_endpoint
from bulkinfer.transforms.endpoints.clarifai.answer.answers import output_value
from bulkinfer.transforms.endpoints.clarifai.model_client import ModelClient
from bulkinfer.transforms.endpoints.clarifai.prepare import address_of
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind, find_method
from bulkinfer.transforms.endpoints.clarifai.request.framing import MEDIA, RAW, TEXTUAL
from bulkinfer.transforms.endpoints.clarifai.request.pieces import cut_bytes, cut_text
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method, legacy_method
from bulkinfer.transforms.endpoints.kinds import EMBEDDED
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.job.config import DeploymentConfig, ModelConfig, NodepoolConfig, StreamConfig
from bulkinfer.transforms.records import MEDIA_TYPES, Content, Reference
from google.protobuf.json_format import MessageToDict
from pydantic import ValidationError

from .preflight import open_endpoint

__all__ = ["call_once", "list_methods"]


def parse_inputs(text: str) -> dict[str, Any]:
    """Parse the arguments of one call, a JSON object.

    Raises:
        ConfigError: the text is no JSON object.
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
    return arguments


def read_files(files: Sequence[str]) -> dict[str, list[bytes]]:
    """Read files given as ARG=PATH; their contents by argument, in the order given.

    Raises:
        ConfigError: a file cannot be read.
    """
    contents: dict[str, list[bytes]] = {}
    for item in files:
        name, equals, path = item.partition("=")
        if not equals or not name or not path:
            raise ConfigError(f"--file {item}: expected ARG=PATH, as in --file image=photo.jpg")
        try:
            contents.setdefault(name, []).append(Path(path).read_bytes())
        except OSError as error:
            raise ConfigError(f"--file {item}: cannot be read ({error.strerror}); check the path") from None
    return contents


def call_once(
    endpoint: str | None,
    model: str | None,
    method_name: str,
    inputs: str,
    files: Sequence[str] = (),
    *,
    deployment: str | None = None,
    nodepool: str | None = None,
    stream: Sequence[str] = (),
    raw: bool = False,
) -> Any:
    """Send one input and return its answer as JSON values: a stream of texts joined, any other stream as a list.

    Args:
        endpoint, model, method_name: what to call.
        inputs: the arguments as a JSON object.
        files: ARG=PATH, arguments that are the contents of files.
        deployment: USER_ID/ID.
        nodepool: USER_ID/COMPUTE_CLUSTER_ID/ID.
        stream: KEY=VALUE of `model.stream`, where an argument streams.
        raw: return the `Output` messages in protobuf's JSON form instead of their values.

    Raises:
        JobError: the arguments are malformed or do not fit, or nothing would ever answer.
        CallError: the model refused the input.
    """
    arguments, contents, cut = parse_inputs(inputs), read_files(files), _stream(stream)
    named = _named(endpoint, model, deployment=_deployment(deployment), nodepool=_nodepool(nodepool))
    # The media type only matters to models without signatures: it names their one input.
    media_type = next((media for media in MEDIA_TYPES if media in arguments or media in contents), "text")
    with (
        open_endpoint(named) as address,
        ModelClient(
            parse_endpoint(address), address_of(named), deployment=named.deployment, nodepool=named.nodepool
        ) as client,
    ):
        methods = client.methods()
        method = find_method(methods, method_name) if methods else legacy_method(media_type)
        binding = bind(method, _arguments(method, arguments, contents, cut), media_type=None, stream=cut)
        outputs = client.call_one(binding, Content(Reference("call", None, media_type), None))
    if raw:
        messages = [MessageToDict(output, preserving_proto_field_name=True) for output in outputs]
        return messages[0] if method.type == "UNARY_UNARY" else messages
    values = [output_value(output, method) for output in outputs]
    if method.type == "UNARY_UNARY":
        return values[0]
    return "".join(values) if values and all(isinstance(value, str) for value in values) else values


def list_methods(endpoint: str | None, model: str | None) -> list[Method]:
    """List the methods of a model, sorted by name.

    Raises:
        JobError: nothing answers, the key is refused, or the model is unknown.
    """
    named = _named(endpoint, model)
    with open_endpoint(named) as address, ModelClient(parse_endpoint(address), address_of(named)) as client:
        return [method for _, method in sorted(client.methods().items())]


def _named(endpoint: str | None, model: str | None, **where: Any) -> ModelConfig:
    """The model to call; without a URL, whatever the server at the endpoint serves."""
    if model is None and endpoint is None:
        raise ConfigError(
            "no model is named; add --model URL, or --endpoint for a server that serves one model"
        )
    # A job must name its model unless the embedded server answers.
    named = ModelConfig(url=model, endpoint=EMBEDDED if model is None else endpoint, **where)
    return named.model_copy(update={"endpoint": endpoint})


def _arguments(
    method: Method, given: dict[str, Any], contents: dict[str, list[bytes]], stream: StreamConfig
) -> dict[str, Any]:
    """Convert the arguments to values of their parameters: file contents decoded, streamed values cut into pieces."""
    fields = {field.name: field for field in method.inputs}
    # `bind` refuses an unknown name and suggests a near one.
    read = {
        name: _of_files(fields[name], found, stream) if name in fields else found[0]
        for name, found in contents.items()
    }
    arguments = {**given, **read}
    for name, value in given.items():
        field = fields.get(name)
        if field is not None and field.iterator and field.type in TEXTUAL and isinstance(value, str):
            arguments[name] = [piece.decode() for piece in cut_text(value, stream)]
    return arguments


def _of_files(field: Field, found: list[bytes], stream: StreamConfig) -> Any:
    """Convert file contents to a value: several files are a list, text is decoded, composed types are JSON."""
    if field.iterator and field.type in TEXTUAL:
        return [piece.decode() for data in found for piece in cut_text(_text(field, data), stream)]
    if field.iterator and field.type in RAW:
        return [piece for data in found for piece in cut_bytes(data, stream)]
    if field.type == "LIST" and field.type_args and field.type_args[0].type in (*MEDIA, "BYTES"):
        return found
    if len(found) > 1:
        raise ConfigError(f"--file {field.name}: it takes one file, not {len(found)}; remove the others")
    if field.type in TEXTUAL:
        return _text(field, found[0])
    if field.type in RAW:
        return found[0]
    try:
        return json.loads(_text(field, found[0]))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--file {field.name}: {field.type_text} is read from JSON, but the file is none ({error.msg}, line "
            f"{error.lineno})"
        ) from None


def _text(field: Field, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"--file {field.name}: {field.type_text} is text, but the file is not UTF-8 at byte {error.start}; "
            "convert it"
        ) from None


def _stream(options: Sequence[str]) -> StreamConfig:
    try:
        return StreamConfig(**dict(option.split("=", 1) for option in options))
    except (ValidationError, ValueError):
        raise ConfigError(
            f"--stream {' '.join(options)}: expected piece_bytes=SIZE or piece_seconds=DURATION, as in piece_seconds=2s"
        ) from None


def _deployment(text: str | None) -> DeploymentConfig | None:
    if text is None:
        return None
    user_id, name = _names(text, "--deployment", ("USER_ID", "ID"))
    return DeploymentConfig(id=name, user_id=user_id)


def _nodepool(text: str | None) -> NodepoolConfig | None:
    if text is None:
        return None
    user_id, cluster, name = _names(text, "--nodepool", ("USER_ID", "COMPUTE_CLUSTER_ID", "ID"))
    return NodepoolConfig(id=name, compute_cluster_id=cluster, user_id=user_id)


def _names(text: str, option: str, form: tuple[str, ...]) -> list[str]:
    names = text.split("/")
    if len(names) != len(form) or not all(names):
        raise ConfigError(f"{option} {text}: expected {'/'.join(form)}")
    return names
