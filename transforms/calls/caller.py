"""Hands contents to the process's engine in batches, and gives back what becomes of them; `Predict` without Beam."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import BulkinferError, EncodeError, InputError, JobError
from ..records import Content, failure_of
from ..runs.control import ControlSpec, StopReason
from ..runs.rebalance import WorkPass, WorkPassSpec
from .batching import Batcher, Item, even_batch_size
from .engine import Engine
from .limits.divided import part_of
from .model_call import ModelCall
from .submissions import Result, Submitter

__all__ = ["Caller"]

#: A batch that is not full is sent after so many seconds, when further inputs come.
FLUSH_S = 1.0
#: Seconds to wait for a full engine before checking again whether the job stops.
WAIT_S = 0.2


class Caller:
    """Calls a model for one bundle after another: `begin`, any number of `send`, `finish`; in one thread.

    When the job stops early, inputs that were not sent have no result; a later run sends them.

    Args:
        call: the endpoint and the limits of calls.
        control: where the run's stop marker lies; see `Predict`.
        work_pass: learns when this worker's last call has ended.
    """

    def __init__(
        self, call: ModelCall, control: ControlSpec | None = None, work_pass: WorkPassSpec | None = None
    ) -> None:
        self._raises_fatal = control is None
        self._pass_spec = work_pass
        self._engine = Engine.shared(call, control)
        self._submitter: Submitter = self._engine.open_submitter()
        self._encode = call.endpoint.encoder()
        limits = call.calls
        workers = 1 if limits.limiter else call.workers  # a limiter gives any worker all of a limit
        allowed = part_of(limits.inputs_per_second, workers)
        most = min(limits.batch_size, call.endpoint.limits.inputs or limits.batch_size)
        self._batcher: Batcher[Item] = Batcher(even_batch_size(most, allowed), int(limits.batch_bytes))
        self._pass: WorkPass | None = None  # while a bundle is open

    def begin(self) -> None:
        """Begin a bundle; one that failed left its calls behind, which are cancelled."""
        self._submitter.cancel()
        self._batcher.flush()
        self._end_pass(done=False)
        if self._pass_spec is not None:
            self._pass = WorkPass.shared(self._pass_spec)
            self._pass.begin(self._engine.limits)

    def send(self, contents: Sequence[Content], tokens: Sequence[Any]) -> Iterator[Sequence[Result]]:
        """Send contents, and yield what has ended by now, of these and of earlier ones.

        Args:
            tokens: one a content; each comes back with the content's result.
        """
        engine = self._engine
        yield self._submitter.take()
        if engine.control.stopped is not None:
            self._stop(engine.control.stopped)
            return
        items, faults = self._encoded(contents, tokens)
        if faults:
            yield faults
        admitted = engine.control.admit(len(items))
        if admitted < len(items):
            engine.metrics.add(inputs_dropped=len(items) - admitted)
            del items[admitted:]
        batches = self._batcher.extend(items, [item.encoded.nbytes for item in items])
        if self._batcher.since < time.monotonic() - FLUSH_S:
            batches.append(self._batcher.flush())
        for batch in batches:
            yield from self._submit(batch)

    def finish(self) -> Iterator[Sequence[Result]]:
        """Yield what has not ended yet as it ends; then the bundle is over."""
        engine, submitter = self._engine, self._submitter
        if engine.control.stopped is not None:
            self._stop(engine.control.stopped)
        if batch := self._batcher.flush():
            yield from self._submit(batch)
        while submitter.pending:
            self._raise_if_lost()
            submitter.wait(WAIT_S)
            yield submitter.take()
        yield submitter.take()
        if engine.control.stopped is not None:
            self._stop(engine.control.stopped)
        self._end_pass(done=True)

    def close(self) -> None:
        """Cancel what is under way, and give the engine back."""
        self._end_pass(done=False)
        self._submitter.cancel()
        self._engine.release()

    def _encoded(self, contents: Sequence[Content], tokens: Sequence[Any]) -> tuple[list[Item], list[Result]]:
        """What can be sent of these contents, and the failures of the others."""
        encode = self._encode
        try:
            encoded = [encode(content) for content in contents]
        except JobError:
            raise
        except Exception:  # noqa: BLE001  (whatever a value does to its encoder is about this input; told one by one)
            return self._encoded_one_by_one(contents, tokens)
        items = [
            Item(content.reference, one, token, content.width, content.height, content.orientation)
            for content, one, token in zip(contents, encoded, tokens, strict=True)
        ]
        return items, []

    def _encoded_one_by_one(
        self, contents: Sequence[Content], tokens: Sequence[Any]
    ) -> tuple[list[Item], list[Result]]:
        items: list[Item] = []
        faults: list[Result] = []
        for content, token in zip(contents, tokens, strict=True):
            try:
                one = self._encode_one(content)
            except InputError as error:
                reference = dataclasses.replace(
                    content.reference, inline=None
                )  # an error row holds no content
                faults.append((token, failure_of(reference, error)))
                continue
            items.append(
                Item(content.reference, one, token, content.width, content.height, content.orientation)
            )
        self._engine.metrics.add(inputs_failed=len(faults))
        self._engine.control.record(finished=len(faults), failed=len(faults))
        return items, faults

    def _encode_one(self, content: Content) -> Any:
        try:
            return self._encode(content)
        except BulkinferError:
            raise
        except Exception as error:
            message = f"its values cannot be encoded for the method: {type(error).__name__}"
            raise EncodeError("wrong_type", message) from error

    def _submit(self, batch: list[Item]) -> Iterator[Sequence[Result]]:
        engine, submitter = self._engine, self._submitter
        while not submitter.submit(batch):
            stopped = engine.control.stopped
            if stopped is not None and stopped.drops_waiting:
                engine.metrics.add(inputs_dropped=len(batch))
                return
            self._raise_if_lost()
            submitter.wait(WAIT_S)
            yield submitter.take()

    def _stop(self, why: StopReason) -> None:
        """Drop the open batch if the stop says so; raise a fatal stop where no launcher reports it."""
        if why.drops_waiting:
            self._engine.metrics.add(inputs_dropped=len(self._batcher.flush()))
        if self._raises_fatal:
            self._engine.control.raise_if_fatal()

    def _raise_if_lost(self) -> None:
        if self._pass is not None:
            self._pass.raise_if_lost()

    def _end_pass(self, *, done: bool) -> None:
        if self._pass is not None:
            self._pass.end(done=done)
            self._pass = None
