"""Budgets of tokens and cost: a call starts only while no more than one call can go beyond them.

What a call costs is known when it comes home. So the first call of a worker goes alone, and further ones start while
what is spent, and what those under way would cost if each were as dear as the dearest so far, leaves something. The
call that spends the rest is the last one; only one that is dearer than all before it can go further beyond.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable

from ...job.config import StopConfig
from ..endpoint import Reply

__all__ = ["Spending"]


@dataclasses.dataclass
class _Purse:
    """One budget of this worker.

    Attributes:
        name: its key.
        budget: what may be spent.
        spent: by calls that came home.
        dearest: of these; None before the first.
    """

    name: str
    budget: float
    spent: float = 0.0
    dearest: float | None = None

    def allows(self, under_way: int) -> bool:
        """Another call may start beside so many."""
        if not under_way:
            return self.spent < self.budget
        return self.dearest is not None and self.spent + under_way * self.dearest < self.budget

    def pay(self, price: float, *, answered: bool) -> None:
        """Count a call; one that failed may have cost less than those that do not."""
        self.spent += price
        if answered or price > (self.dearest or 0.0):
            self.dearest = max(price, self.dearest or 0.0)


class Spending:
    """The budgets of one worker process; lives on the engine's loop.

    Args:
        stop: the job's budgets and prices.
        workers: that divide them.
        end: called once, with a message for the user, when a budget is spent.
    """

    def __init__(self, stop: StopConfig, workers: int, end: Callable[[str], None]) -> None:
        budgets = {"tokens": stop.tokens, "cost": stop.cost}
        self._purses = [_Purse(name, most / workers) for name, most in budgets.items() if most is not None]
        self._stop, self._workers, self._end = stop, workers, end
        self._under_way = 0
        self._changed = asyncio.Condition()
        self._told = False

    async def start(self) -> bool:
        """Wait until a call may start; False when the budget is spent."""
        if not self._purses:
            return True
        async with self._changed:
            await self._changed.wait_for(lambda: self._spent or self._may_start)
            if self._spent:
                return False
            self._under_way += 1
            return True

    async def ended(self, reply: Reply | None, inputs: int) -> None:
        """Count a call that came home, whatever it brought; None for one that was not sent after all."""
        if not self._purses:
            return
        async with self._changed:
            self._under_way -= 1
            if reply is not None:
                for purse in self._purses:
                    purse.pay(self._price(purse, reply, inputs), answered=reply.fault is None)
            if (spent := self._spent) is not None and not self._told:
                self._told = True
                self._end(self._message(spent))
            self._changed.notify_all()

    def _price(self, purse: _Purse, reply: Reply, inputs: int) -> float:
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        if purse.name == "tokens" or self._stop.prices is None:
            return prompt + completion
        return self._stop.prices.cost(
            calls=1, inputs=inputs, prompt_tokens=prompt, completion_tokens=completion
        )

    @property
    def _spent(self) -> _Purse | None:
        return next((purse for purse in self._purses if purse.spent >= purse.budget), None)

    @property
    def _may_start(self) -> bool:
        return all(purse.allows(self._under_way) for purse in self._purses)

    def _message(self, purse: _Purse) -> str:
        most = getattr(self._stop, purse.name)
        spent = f"{purse.spent:,.6g}" if purse.name == "cost" else f"{purse.spent:,.0f}"
        who = (
            "are spent" if self._workers == 1 else f"one of {self._workers} workers has spent its part of it"
        )
        told = f"{spent} {who}" if self._workers == 1 else f"{who}, {spent}"
        return f"stop.{purse.name} is {most:,}, and {told}; run the same command again for the next inputs"
