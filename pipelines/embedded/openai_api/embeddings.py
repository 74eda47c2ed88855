"""POST /v1/embeddings: reads what is asked, and writes the vectors as numbers or in base64."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .api_error import invalid
from .reading import filled, optional, positive, required
from .tokens import count_tokens

__all__ = ["EmbeddingAsk", "ask_of", "embeddings"]

MOST_INPUTS, MOST_TOKENS = 2048, 8192


@dataclasses.dataclass(frozen=True)
class EmbeddingAsk:
    """What is asked of an embedding model.

    Attributes:
        model: the model's name as the request has it.
        inputs: texts, or URLs of pictures.
        dimensions: the vectors' size; None for the model's own.
        packed: write each vector as base64 of little-endian float32, and not as numbers.
        prompt_tokens: of all inputs.
    """

    model: str
    inputs: Sequence[str]
    dimensions: int | None
    packed: bool
    prompt_tokens: int


def ask_of(body: Mapping[str, Any]) -> EmbeddingAsk:
    """What a request's body asks; ApiError when something in it does not fit."""
    model = required(body, "model", str)
    given = required(body, "input", str, list)
    inputs = [given] if isinstance(given, str) else filled(body, "input")
    if len(inputs) > MOST_INPUTS:
        raise invalid(
            "input",
            f"Invalid 'input': array too long. Expected an array with maximum length {MOST_INPUTS}, but got an "
            f"array with length {len(inputs)} instead.",
            "array_above_max_length",
        )
    packed = optional(body, "encoding_format", str, default="float", choices=("float", "base64")) == "base64"
    total = 0
    for index, text in enumerate(inputs):
        at = "input" if isinstance(given, str) else f"input[{index}]"
        if not isinstance(text, str):
            raise invalid(
                at, f"Invalid type for '{at}': this server takes texts, and no tokens.", "invalid_type"
            )
        if not text:
            raise invalid(at, f"Invalid '{at}': input cannot be an empty string.")
        tokens = count_tokens(text) if not text.startswith("data:") else 1
        if tokens > MOST_TOKENS:
            raise invalid(
                at,
                f"This model's maximum context length is {MOST_TOKENS} tokens, however you requested {tokens} tokens.",
                "context_length_exceeded",
            )
        total += tokens
    return EmbeddingAsk(model, inputs, positive(body, "dimensions"), packed, total)


def embeddings(ask: EmbeddingAsk, vectors: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """The answer."""

    def written(vector: NDArray[Any]) -> str | list[float]:
        numbers = np.asarray(vector, "<f4")
        return base64.b64encode(numbers.tobytes()).decode() if ask.packed else numbers.tolist()

    data = [
        {"object": "embedding", "index": index, "embedding": written(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": ask.prompt_tokens, "total_tokens": ask.prompt_tokens}
    return {"object": "list", "data": data, "model": ask.model, "usage": usage}
