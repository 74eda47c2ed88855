"""The keys below `stop`: when a job stops by itself, and what its prices are."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from .section import Section

__all__ = ["PricesConfig", "StopConfig"]


class PricesConfig(Section):
    """What each unit costs, in any one currency."""

    call: float = Field(0.0, ge=0, description="Of one call, retries included.")
    input: float = Field(0.0, ge=0, description="Of one input each time that it is sent.")
    prompt_tokens: float = Field(0.0, ge=0, description="Of one token of a prompt.")
    completion_tokens: float = Field(0.0, ge=0, description="Of one token of an answer.")

    def cost(self, *, calls: float, inputs: float, prompt_tokens: float, completion_tokens: float) -> float:
        """The cost of so much of each."""
        return (
            calls * self.call
            + inputs * self.input
            + prompt_tokens * self.prompt_tokens
            + completion_tokens * self.completion_tokens
        )

    def cost_of(self, counters: Mapping[str, int]) -> float:
        """The cost of what a run's counters tell."""
        return self.cost(
            calls=counters.get("calls", 0),
            inputs=counters.get("inputs_in_calls", 0),
            prompt_tokens=counters.get("prompt_tokens", 0),
            completion_tokens=counters.get("completion_tokens", 0),
        )


class StopConfig(Section):
    """When a job that goes wrong, or costs too much, stops by itself."""

    error_ratio: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Stop when this share of at least 100 finished inputs failed; 1 never stops.",
    )
    inputs: int | None = Field(
        None, ge=1, description="Send no more inputs than this, retries included: a budget."
    )
    tokens: int | None = Field(
        None,
        ge=1,
        description="A budget of tokens, of prompts and answers; the call that spends it is the last of its worker.",
    )
    cost: float | None = Field(
        None, gt=0, description="A budget of what `prices` add up to, spent in the same way."
    )
    prices: PricesConfig | None = Field(
        None, description="What a call, an input and a token cost; `plan` and the summary tell the cost then."
    )

    @model_validator(mode="after")
    def _cost_has_prices(self) -> StopConfig:
        if self.cost is not None and (self.prices is None or not any(dict(self.prices).values())):
            raise ValueError(
                "cost needs prices that are not all 0; add prices: {call: ..., input: ..., prompt_tokens: ..., "
                "completion_tokens: ...}, each of one unit"
            )
        return self
