"""What comes home for one input, as values of columns; and what cannot be a row, as a fault."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ....calls.endpoint import Fault, Verdict
from ...arguments.sources import FromStructure
from ...over_grpc.codes import cut

__all__ = ["Completion", "MisreadError", "compact", "named", "refused", "structure", "tokens_of"]


@dataclasses.dataclass(slots=True)
class Completion:
    """One answer.

    Attributes:
        columns: values by the name of their column; those that are missing are null.
        id: the server's name for it.
        created_us: microseconds since 1970, UTC, by the server's clock.
        body: the answer's JSON as it came; of a stream, its events joined.
    """

    columns: dict[str, Any]
    id: str | None = None
    created_us: int | None = None
    body: bytes = b""


class MisreadError(Exception):
    """An answer is not what the API says that it is; the message tells what is missing."""


def refused(error_type: str, message: str) -> Fault:
    """The fault of an input that the model answered and would not serve; asking again would give the same."""
    return Fault(Verdict.BAD_INPUT, error_type, cut(message))


def tokens_of(usage: Any, prompt: str, completion: str, details: str) -> dict[str, int]:
    """The token columns of an answer's usage.

    Args:
        usage: the API's object; servers may leave it out.
        prompt: the name of the tokens of the prompt in it.
        completion: likewise of the answer.
        details: likewise of the object that tells the tokens read from a cache.
    """
    if not isinstance(usage, Mapping):
        return {}
    inside = usage.get(details)
    told = {
        "prompt_tokens": usage.get(prompt),
        "completion_tokens": usage.get(completion),
        "cached_tokens": inside.get("cached_tokens") if isinstance(inside, Mapping) else None,
    }
    return {name: value for name, value in told.items() if type(value) is int and 0 <= value < 2**31}


def compact(value: Any) -> str:
    """A value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def structure(value: Any) -> Any:
    """Lists and mappings that hold sources as a structure that is rendered for each input."""
    if isinstance(value, dict):
        return FromStructure(tuple(map(structure, value.values())), tuple(value))
    return FromStructure(tuple(map(structure, value))) if isinstance(value, list) else value


def named(data: Mapping[str, Any], created: str) -> tuple[str | None, int | None]:
    """The answer's id, and when it was made in microseconds."""
    name, when = data.get("id"), data.get(created)
    known = when if isinstance(when, int | float) and 0 < when < 1e11 else None
    return (name if isinstance(name, str) else None), (None if known is None else int(known * 1_000_000))
