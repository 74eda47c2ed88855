"""Reads a request's JSON field by field; what does not fit is an ApiError that names the parameter."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .api_error import ApiError, invalid
from .schemas import check_schema

__all__ = [
    "Ask",
    "Medium",
    "Tool",
    "Turn",
    "choice_of",
    "filled",
    "json_object",
    "medium_of",
    "objects",
    "optional",
    "positive",
    "required",
    "schema_of",
    "sound_of",
    "tool_of",
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
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(
            400,
            "We could not parse the JSON body of your request. The API expects a JSON payload, but what was sent "
            "is not valid JSON.",
        ) from None
    if not isinstance(body, dict):
        raise ApiError(400, f"The body of the request must be an object, and {_NAMES[type(body)]} was sent.")
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def required(
    holder: Mapping[str, Any], name: str, *kinds: type, at: str = "", choices: Sequence[str] = ()
) -> Any:
    """A parameter's value; ApiError when it is missing, of none of the types or none of the choices.

    Args:
        holder: the object that holds it.
        name: its name.
        kinds: the types it may have.
        at: where the object stands in the request, "" for the request itself.
        choices: the values it may have.
    """
    param = f"{at}.{name}" if at else name
    value = holder.get(name)
    if value is None:
        raise ApiError(
            400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise _wrong_type(param, value, *kinds)
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
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array "
            "instead.",
            "empty_array",
        )
    return found


def objects(elements: Sequence[Any], at: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The elements of a list of objects, each with where it stands."""
    for index, element in enumerate(elements):
        place = f"{at}[{index}]"
        if not isinstance(element, dict):
            raise _wrong_type(place, element, dict)
        yield element, place


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
    schema: dict[str, Any] = optional(holder, "schema", dict, default={}, at=at)
    check_schema(schema, f"{at}.schema")
    return schema, f"{at}.schema"


def tool_of(function: Mapping[str, Any], at: str) -> Tool:
    """A function that may be called, from its name and its parameters' schema."""
    parameters = optional(function, "parameters", dict, default={"type": "object"}, at=at)
    check_schema(parameters, f"{at}.parameters")
    if parameters.get("type", "object") != "object":
        at = f"{at}.parameters"
        raise invalid(at, f"Invalid schema for '{at}': its type must be 'object'.", "invalid_json_schema")
    return Tool(required(function, "name", str, at=at), parameters)


def choice_of(body: Mapping[str, Any], tools: Sequence[Tool], *path: str) -> str | Tool:
    """What `tool_choice` asks for: a word, or the tool whose name stands at the path."""
    choice = optional(body, "tool_choice", str, dict, default="auto" if tools else "none")
    if isinstance(choice, str):
        required({"tool_choice": choice}, "tool_choice", str, choices=("none", "auto", "required"))
        if choice == "required" and not tools:
            raise invalid("tool_choice", "'tool_choice' is 'required', and there are no 'tools'.")
        return choice
    at = "tool_choice"
    for step in path[:-1]:
        choice, at = required(choice, step, dict, at=at), f"{at}.{step}"
    name = required(choice, path[-1], str, at=at)
    found = next((tool for tool in tools if tool.name == name), None)
    if found is None:
        raise invalid("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")
    return found


def medium_of(kind: str, url: str, param: str) -> Medium:
    """The medium that a URL names; a data URL holds it."""
    if url.startswith(("http://", "https://")):
        return Medium(kind, param, url=url)
    head, comma, text = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise invalid(
            param,
            f"Invalid '{param}': expected an http(s) URL, or a data URL as in 'data:{kind}/TYPE;base64,DATA'.",
            f"invalid_{kind}_url",
        )
    return Medium(kind, param, _decoded(text, param))


def sound_of(part: Mapping[str, Any], at: str) -> Medium:
    """The recording in a message's part of the type `input_audio`."""
    sound, at = required(part, "input_audio", dict, at=at), f"{at}.input_audio"
    required(sound, "format", str, at=at, choices=("wav", "mp3"))
    return Medium("audio", f"{at}.data", _decoded(required(sound, "data", str, at=at), f"{at}.data"))


def _decoded(text: str, param: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(param, f"Invalid base64 data in '{param}'.", "invalid_base64") from None


def _wrong_type(param: str, value: Any, *kinds: type) -> ApiError:
    wanted, given = " or ".join(_NAMES[kind] for kind in kinds), _NAMES[type(value)]
    return invalid(
        param, f"Invalid type for '{param}': expected {wanted}, but got {given} instead.", "invalid_type"
    )
