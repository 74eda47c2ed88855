"""From what is asked of a chat model to its answer: what the model finds, a structured answer, or a tool call."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from .catalogue import Catalogue
from .reading import Ask, Tool
from .schemas import fitting
from .tokens import count_tokens, tokens_of

__all__ = ["Answer", "ToolCall", "answer", "prompt_tokens_of"]

_TURN_TOKENS = 4
_MEDIUM_TOKENS = {"image": 85, "audio": 50}


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """A call that the model wants to have made; its id is made of what it says."""

    name: str
    arguments: str

    @property
    def id(self) -> str:
        return "call_" + hashlib.sha256(json.dumps([self.name, self.arguments]).encode()).hexdigest()[:24]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A chat model's answer.

    Attributes:
        tokens: the answer's text, or the tool call's arguments, in pieces.
        tool_call: the call, where one is wanted.
        finish: "stop", "length" where `max_tokens` cut it, "tool_calls".
        prompt_tokens: of what was asked.
    """

    tokens: list[str]
    tool_call: ToolCall | None
    finish: str
    prompt_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.tokens)


async def answer(ask: Ask, catalogue: Catalogue) -> Answer:
    """Have the model answer.

    Raises:
        ApiError: there is no such model, or it cannot answer this.
    """
    found = await catalogue.find(ask)
    prompt_tokens = prompt_tokens_of(ask)
    tool, finish = _tool_of(ask), "stop"
    if tool is not None:
        text = json.dumps(fitting(tool.parameters, found.facts, found.text, "tools"))
        finish = (
            "stop" if ask.tool is tool else "tool_calls"
        )  # as the API has it, a call by order ends with "stop"
    elif ask.schema is not None:
        value = fitting(ask.schema, found.facts, found.text, ask.schema_param) if ask.schema else found.facts
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = found.text
    ends = [text.index(stop) for stop in ask.stop if stop in text]
    tokens = tokens_of(text[: min(ends)] if ends and tool is None else text)
    if ask.max_tokens is not None and len(tokens) > ask.max_tokens:
        tokens, finish = tokens[: ask.max_tokens], "length"
    call = ToolCall(tool.name, "".join(tokens)) if tool is not None else None
    return Answer(tokens, call, finish, prompt_tokens)


def prompt_tokens_of(ask: Ask) -> int:
    """How many tokens the conversation has."""
    return sum(
        _TURN_TOKENS + count_tokens(turn.text) + sum(_MEDIUM_TOKENS[medium.kind] for medium in turn.media)
        for turn in ask.turns
    ) + sum(count_tokens(json.dumps(tool.parameters)) for tool in ask.tools)


def _tool_of(ask: Ask) -> Tool | None:
    """The tool to call: the one that must be, else the first, once for each thing asked."""
    if isinstance(ask.tool, Tool):
        return ask.tool
    if not ask.tools or ask.tool == "none":
        return None
    return None if ask.tool == "auto" and ask.turns[-1].role == "tool" else ask.tools[0]
