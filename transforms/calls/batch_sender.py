"""Sends one batch: keeps what succeeded, waits or bisects on failure, until every input has a result."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..records import CallStats, Failure, Prediction
from .backoff import Backoff
from .batching import Item
from .bisection import Bisection
from .endpoint import Fault, Reply, Verdict
from .limits.limiter import Permit
from .settings import Settings

__all__ = ["BatchSender"]

logger = logging.getLogger(__name__)

#: A batch whose calls are lost so often while other calls are answered may be the cause, and is split.
SUSPECTED_AFTER = 3
#: A piece whose calls are lost so often while other calls are answered is given up.
GIVEN_UP_AFTER = 10
#: A stream that breaks for an unknown reason after it began is called so often.
STREAM_TRIES = 3
#: An input that has no answer in time so often, at last alone, is given up while other calls are answered. So many
#: calls of one batch without an answer in time stop a job of which none was.
DEADLINES = 3
#: A call that is lost after this share of its deadline ended there, whoever ended it.
AT_DEADLINE = 0.95


class _Called(NamedTuple):
    """A call that ended: what was sent, the reply, the milliseconds it took, the permit (None if nothing was sent)."""

    items: Sequence[Item]
    reply: Reply
    took_ms: float
    permit: Permit | None


class BatchSender:
    """One batch; `run` ends when every input has its result, or is cancelled where the job stops.

    Args:
        items: the batch.
        settings: shared with all batches.
        emit: takes the results of each reply, as they come.
    """

    def __init__(
        self,
        items: Sequence[Item],
        settings: Settings,
        emit: Callable[[list[tuple[Item, Prediction | Failure]]], None],
    ) -> None:
        self._plan = Bisection(items)
        self._shared = settings
        self._emit = emit
        self._holds_slot = False
        self._suspected = False
        self._unheard = 0  # calls that ended at their deadline since the server answered anything
        self.in_call = False

    async def run(self) -> None:
        """Give every input of the batch a result."""
        self._answered = self._heard = self._shared.answered
        # Each piece of a split batch has a budget of its own; together they take no more than two.
        left = 2 * self._shared.retry_for
        try:
            while (piece := self._plan.next()) is not None:
                backoff = Backoff(max(0.0, min(self._shared.retry_for, left)))
                await self._send(piece, backoff)
                left -= backoff.elapsed
        finally:
            self._release_slot()

    async def _send(self, piece: Sequence[Item], backoff: Backoff) -> None:
        items, lost, broken = piece, 0, 0
        answered = self._shared.answered
        while True:
            items, reply, took_ms, permit = await self._call(items, backoff)
            if reply.fault is None:
                items, fault = self._sort(items, reply, took_ms)
                if fault is None:
                    return self._plan.passed()
                backoff.succeeded()
            else:
                fault = reply.fault
            verdict = fault.verdict
            if verdict.stops_job:
                self._shared.abort(fault)
                raise asyncio.CancelledError
            if verdict is Verdict.SPLIT and reply.partial and (broken := broken + 1) < STREAM_TRIES:
                verdict = Verdict.TRANSPORT
            if not verdict.retried:
                return self._cut(items, fault, blame=verdict is not Verdict.TOO_LARGE)
            if permit is not None:
                self._slow_down(fault, permit, whole=reply.fault is not None)
            server_lives = self._shared.answered > self._answered
            lost += verdict is Verdict.TRANSPORT
            if server_lives and len(items) > 1 and lost >= (1 if self._suspected else SUSPECTED_AFTER):
                self._suspected = True
                return self._cut(items, fault, blame=False)
            others_get_through = self._shared.answered > answered
            pause = backoff.next_pause(verdict, fault.retry_after_s)
            if verdict is Verdict.DEADLINE:
                self._stop_if_all_are_late(fault)
                if len(items) > 1 and (server_lives or pause is not None):
                    return self._spread(items, fault)
            if pause is None or (lost >= GIVEN_UP_AFTER and others_get_through) or self._is_too_slow(items):
                rest = [] if server_lives else self._plan.rest()
                self._fail([*items, *rest], fault, retryable=True)
                return self._plan.gave_up()
            await self._pause(pause, items, fault)

    async def _call(self, items: Sequence[Item], backoff: Backoff) -> _Called:
        """Make one call with what the budget allows of these inputs."""
        shared = self._shared
        if not self._holds_slot:
            await shared.slots.acquire()
            self._holds_slot = True
        asked = time.monotonic()
        if fault := shared.sizes.refuses(items) or await shared.session.connect():
            backoff.start(asked)
            return _Called(items, Reply(fault), 0.0, None)
        if not await shared.spending.start():
            shared.spent.set()
            raise asyncio.CancelledError
        reply: Reply | None = None
        try:
            items = self._within_budget(items)
            reserved = await shared.tokens.start(sum(item.encoded.nbytes for item in items), len(items))
            try:
                permit = await shared.limiter.acquire(len(items))
                shared.tokens.started(reserved, permit)
                reply, took_ms = await self._send_once(items, backoff, permit)
            finally:
                shared.tokens.ended(reserved, reply)
        finally:
            await shared.spending.ended(reply, len(items))
        return _Called(items, reply, took_ms, permit)

    async def _send_once(
        self, items: Sequence[Item], backoff: Backoff, permit: Permit
    ) -> tuple[Reply, float]:
        """Send a call that all limits allow."""
        shared = self._shared
        backoff.start()  # not before: the limits may hold a call for longer than the whole budget
        fresh = sum(not item.attempts for item in items)
        shared.metrics.add(inputs_sent=fresh, inputs_in_calls=len(items), retries=int(fresh < len(items)))
        for item in items:
            item.attempts += 1
        started, succeeded = time.monotonic(), shared.succeeded
        self.in_call = True
        shared.metrics.add(calls=1, in_flight=1)
        try:
            reply = await shared.session.send([item.encoded for item in items])
        finally:
            self.in_call = False
            shared.limiter.ended(permit)
            elapsed_ms = (time.monotonic() - started) * 1000
            shared.metrics.add(in_flight=-1, call_ms=int(elapsed_ms))
        if reply.fault and reply.fault.verdict is Verdict.TRANSPORT:
            reply.fault = self._late(reply.fault, items, elapsed_ms / 1000, succeeded)
        self._learn(reply, elapsed_ms, permit)
        return reply, elapsed_ms

    def _within_budget(self, items: Sequence[Item]) -> Sequence[Item]:
        """What the budget still allows to send of these inputs; the others are left to a later run."""
        allowed = self._shared.budget.reserve(len(items))
        if self._shared.budget.left <= 0:
            self._shared.spent.set()
        if not allowed:
            raise asyncio.CancelledError
        return items[:allowed]

    def _late(self, fault: Fault, items: Sequence[Item], seconds: float, succeeded: int) -> Fault:
        """The fault of a lost call that told whether it ended at its deadline.

        Args:
            succeeded: calls that had succeeded when it began.
        """
        timeout = self._shared.timeout
        if seconds < AT_DEADLINE * timeout:
            return fault
        for item in items:
            item.late_since = item.late_since if item.deadlines else succeeded
            item.deadlines += 1
        message = f"no answer within calls.timeout ({timeout:g} s); raise it, or send less in a call"
        return dataclasses.replace(fault, verdict=Verdict.DEADLINE, message=message)

    def _stop_if_all_are_late(self, fault: Fault) -> None:
        """Stop the job when no call was answered in time yet: the next ones would not be either, and cost as much."""
        shared = self._shared
        if self._heard != shared.answered:
            self._heard, self._unheard = shared.answered, 0
        self._unheard += 1
        if self._unheard >= DEADLINES and not shared.succeeded:
            message = f"every call ended at calls.timeout ({shared.timeout:g} s)"
            fix = "raise calls.timeout above what the model needs for a call, or lower calls.batch_size"
            shared.abort(dataclasses.replace(fault, verdict=Verdict.TOO_SLOW, message=message, fix=fix))
            raise asyncio.CancelledError

    def _is_too_slow(self, items: Sequence[Item]) -> bool:
        """Whether one input is late by itself, while the server answers others in time."""
        one = items[0]
        return len(items) == 1 and one.deadlines >= DEADLINES and self._shared.succeeded > one.late_since

    def _slow_down(self, fault: Fault, permit: Permit, *, whole: bool) -> None:
        """Tell the limits of a call that the server refused, or a part of it."""
        if fault.verdict is Verdict.THROTTLED:
            self._shared.metrics.add(throttled=1)
            self._shared.limiter.throttled(permit, fault.retry_after_s)
        elif fault.verdict is Verdict.SERVER_FULL and whole:
            self._shared.metrics.add(throttled=1)
            self._shared.limiter.refused(permit, fault.retry_after_s)

    def _learn(self, reply: Reply, elapsed_ms: float, permit: Permit) -> None:
        """Count a call that ended, and tell the limits."""
        shared, fault = self._shared, reply.fault
        shared.metrics.add(
            bytes_sent=reply.bytes_sent,
            bytes_received=reply.bytes_received,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
        )
        if fault is None:
            shared.limiter.answered(permit, elapsed_ms / 1000)
            shared.succeeded += 1
        else:
            shared.sizes.learn(fault)
        if fault is None or fault.verdict not in (Verdict.TRANSPORT, Verdict.DEADLINE):
            shared.answered += 1

    def _sort(self, items: Sequence[Item], reply: Reply, took_ms: float) -> tuple[list[Item], Fault | None]:
        """Emit what is final; return the inputs to send again, and the fault that says how long to wait."""
        again: list[Item] = []
        reason: Fault | None = None
        results: list[tuple[Item, Prediction | Failure]] = []
        # Most inputs of a call have been sent equally often, so they use one object of figures.
        stats = CallStats(items[0].attempts, took_ms, reply.request_id)
        for item, answer in zip(items, reply.answers, strict=True):
            if not isinstance(answer, Fault):
                if item.attempts != stats.attempts:
                    stats = dataclasses.replace(stats, attempts=item.attempts)
                results.append((item, self._prediction(item, answer, stats)))
            elif answer.verdict.retried or answer.verdict.stops_job:
                again.append(item)
                reason = answer if reason is None or answer.verdict.stops_job else reason
            else:
                results.append((item, self._failure(item, answer, retryable=False)))
        self._emit(results)
        return again, reason

    def _cut(self, items: Sequence[Item], fault: Fault, *, blame: bool) -> None:
        if len(items) == 1:
            self._fail(items, fault, retryable=False)
        else:
            self._count_split(items, fault)
        self._plan.failed(items, blame=blame)

    def _spread(self, items: Sequence[Item], fault: Fault) -> None:
        """Send inputs that were late together again: first in some pieces, then one by one."""
        self._count_split(items, fault)
        self._plan.spread(items, math.isqrt(len(items)) if items[0].deadlines == 1 else 1)

    def _count_split(self, items: Sequence[Item], fault: Fault) -> None:
        self._shared.metrics.add(splits=1)
        logger.info("split: inputs=%d cause=%s", len(items), fault.error_type)

    def _fail(self, items: Sequence[Item], fault: Fault, *, retryable: bool) -> None:
        self._emit([(item, self._failure(item, fault, retryable=retryable)) for item in items])

    async def _pause(self, seconds: float, items: Sequence[Item], fault: Fault) -> None:
        # Keys and counts only: payloads must never reach a log.
        logger.info("retry: inputs=%d wait_s=%.2f cause=%s", len(items), seconds, fault.error_type)
        self._shared.metrics.add(wait_ms=int(seconds * 1000))
        if fault.verdict in (Verdict.TRANSPORT, Verdict.DEADLINE):
            # A lost call may be this batch's own fault, so another batch may use its slot; a server that is full or
            # starting is not helped by other batches.
            self._release_slot()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._shared.spent.wait(), seconds)
            self._within_budget(items)

    def _release_slot(self) -> None:
        if self._holds_slot:
            self._holds_slot = False
            self._shared.slots.release()

    def _prediction(self, item: Item, answer: object, stats: CallStats) -> Prediction:
        version = self._shared.model_version
        return Prediction(item.reference, answer, stats, item.width, item.height, version, item.orientation)

    def _failure(self, item: Item, fault: Fault, *, retryable: bool) -> Failure:
        reference = item.reference
        if reference.inline is not None:
            reference = dataclasses.replace(reference, inline=None)  # an error row holds no content
        return Failure(
            reference=reference,
            stage="call",
            error_type=fault.error_type,
            message=fault.message,
            status_code=fault.status_code,
            grpc_code=fault.grpc_code,
            retryable=retryable,
            attempts=item.attempts,
            request_id=fault.request_id,
        )
