"""Reads a request's JSON field by field; what does not fit is an ApiError that names the parameter."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .api_error import ApiError, invalid
from .schemas import check_schema

__all__ = [
    "Ask",
    "Medium",
    "Tool",
    "Turn",
    "decoded",
    "filled",
    "invalid",
    "json_object",
    "medium_of",
    "optional",
    "positive",
    "required",
    "schema_of",
]

_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


@dataclasses.dataclass(frozen=True)
class Medium:
    """A picture or a recording in a message: its bytes, or the URL where they lie.

    Attributes:
        kind: "image" or "audio".
        param: where it stands in the request.
    """

    kind: str
    param: str
    data: bytes = b""
    url: str = ""


@dataclasses.dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    text: str
    media: tuple[Medium, ...] = ()


@dataclasses.dataclass(frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    parameters: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is asked of a chat model, in whichever form of the API it was asked.

    Attributes:
        model: the model's name as the request has it.
        turns: the conversation, the latest message last.
        param: the parameter that holds the conversation.
        tools: the functions that may be called.
        tool: the one that must be called; "required" for any of them, "auto" for one where it helps, "none".
        schema: what a structured answer must fit, empty where any object does; None for plain text.
        schema_param: the parameter that holds the schema.
        max_tokens: where the answer is cut; None for nowhere.
        stop: texts before which the answer ends.
        stream: answer by server-sent events.
        usage: tell the usage in a stream.
        body: the request itself, whose settings an answer may repeat.
    """

    model: str
    turns: tuple[Turn, ...]
    param: str
    tools: tuple[Tool, ...] = ()
    tool: str | Tool = "none"
    schema: Mapping[str, Any] | None = None
    schema_param: str = ""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def json_object(raw: bytes) -> dict[str, Any]:
    """The body of a request, which must be one JSON object."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(
            400,
            "We could not parse the JSON body of your request. The API expects a JSON payload, but what was sent "
            "is not valid JSON.",
        ) from None
    if not isinstance(body, dict):
        raise ApiError(400, f"The body of the request must be an object, and {_NAMES[type(body)]} was sent.")
    return body


def required(
    holder: Mapping[str, Any], name: str, *kinds: type, at: str = "", choices: Sequence[str] = ()
) -> Any:
    """A parameter's value; ApiError when it is missing, of none of the types or none of the choices.

    Args:
        holder: the object that holds it.
        name: its name.
        kinds: the types it may have; float takes integers too.
        at: where the object stands in the request, "" for the request itself.
        choices: the values it may have.
    """
    param = f"{at}.{name}" if at else name
    value = holder.get(name)
    if value is None:
        raise ApiError(
            400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
    if not fits or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_NAMES[kind] for kind in kinds)
        raise invalid(
            param,
            f"Invalid type for '{param}': expected {wanted}, but got {_NAMES[type(value)]} instead.",
            "invalid_type",
        )
    if choices and value not in choices:
        listed = ", ".join(f"'{choice}'" for choice in choices)
        raise invalid(param, f"Invalid value: {json.dumps(value)[:100]}. Supported values are: {listed}.")
    return value


def optional(
    holder: Mapping[str, Any],
    name: str,
    *kinds: type,
    default: Any = None,
    at: str = "",
    choices: Sequence[str] = (),
) -> Any:
    """As `required`, of a parameter that may be left out or null."""
    if holder.get(name) is None:
        return default
    return required(holder, name, *kinds, at=at, choices=choices)


def positive(holder: Mapping[str, Any], name: str) -> int | None:
    """A whole number of 1 or more, or None."""
    value: int | None = optional(holder, name, int)
    if value is not None and value < 1:
        raise invalid(
            name,
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead.",
            "integer_below_min_value",
        )
    return value


def filled(holder: Mapping[str, Any], name: str) -> list[Any]:
    """A required list of at least one element."""
    found: list[Any] = required(holder, name, list)
    if not found:
        raise invalid(
            name,
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "empty_array",
        )
    return found


def schema_of(form: Mapping[str, Any], at: str, *, nested: bool) -> tuple[Mapping[str, Any] | None, str]:
    """The schema that an answer's format asks for, and the parameter that holds it.

    Args:
        form: `response_format` of chat, or `text.format` of responses.
        at: where it stands.
        nested: the schema lies in `json_schema`, as in chat.
    """
    kind = required(form, "type", str, at=at, choices=("text", "json_object", "json_schema"))
    if kind != "json_schema":
        return (None if kind == "text" else {}), at
    holder = required(form, "json_schema", dict, at=at) if nested else form
    at = f"{at}.json_schema" if nested else at
    required(holder, "name", str, at=at)
    schema: dict[str, Any] = required(holder, "schema", dict, at=at)
    check_schema(schema, f"{at}.schema")
    return schema, f"{at}.schema"


def medium_of(kind: str, url: str, param: str) -> Medium:
    """The medium that a URL names; a data URL holds it."""
    if url.startswith(("http://", "https://")):
        return Medium(kind, param, url=url)
    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise invalid(
            param,
            f"Invalid '{param}': expected a base64-encoded data URL with {_NAMES[str]} of the form "
            f"'data:{kind}/TYPE;base64,DATA', or an http(s) URL.",
            "invalid_image_url" if kind == "image" else "invalid_value",
        )
    return Medium(kind, param, decoded(text, param))


def decoded(text: str, param: str) -> bytes:
    """Bytes of base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(param, f"Invalid base64 data in '{param}'.", code="invalid_base64") from None
