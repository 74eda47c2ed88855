"""A simulated endpoint session that answers with scripted faults, and batches sent to it on a simulated clock."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import grpc
from bulkinfer.transforms.calls.batch_sender import BatchSender
from bulkinfer.transforms.calls.batching import Item
from bulkinfer.transforms.calls.endpoint import Fault, Reply, Verdict
from bulkinfer.transforms.calls.limits.local import LocalLimiter
from bulkinfer.transforms.calls.limits.message_size import MessageLimit
from bulkinfer.transforms.calls.limits.spending import Spending
from bulkinfer.transforms.calls.settings import Settings
from bulkinfer.transforms.endpoints.clarifai.request.wire import EncodedInput
from bulkinfer.transforms.endpoints.clarifai.statuses import fault_of_grpc, fault_of_status
from bulkinfer.transforms.job.config import StopConfig
from bulkinfer.transforms.metrics import Metrics
from bulkinfer.transforms.records import Failure, Prediction, Reference
from bulkinfer.transforms.runs.control import JobControl
from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

from support.virtual_time import simulate

__all__ = [
    "BLAMING",
    "PASSING",
    "RETRY_FOR",
    "TOO_LARGE",
    "Outcome",
    "PlayedServer",
    "names_of",
    "of_status",
    "send_through",
]

RETRY_FOR = 600.0
TIMEOUT = 60.0


def of_status(name: str, **more: Any) -> Fault:
    """The fault of a status by its name."""
    code = status_code_pb2.StatusCode.Value(name)
    return dataclasses.replace(fault_of_status(status_pb2.Status(code=code, description="played")), **more)


#: Faults that pass, whatever the input: none of them may cost an input its prediction.
PASSING = [
    of_status("CONN_THROTTLED"),
    of_status("CONN_THROTTLED", retry_after_s=3.0),
    of_status("MODEL_LOADING"),
    of_status("RUNNER_NEEDS_RETRY"),
    fault_of_grpc(grpc.StatusCode.UNAVAILABLE, "gone"),
    fault_of_grpc(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full"),
    fault_of_grpc(grpc.StatusCode.DEADLINE_EXCEEDED, None, retry_after_s=0.5),
]
#: Faults that blame an input, rightly or not.
BLAMING = [
    of_status("FAILURE"),
    of_status("INPUT_INVALID_ARGUMENT"),
    fault_of_grpc(grpc.StatusCode.UNKNOWN, "ValueError"),
    Fault(Verdict.MISMATCH, "output_count", "3 outputs for 4 inputs"),
]
TOO_LARGE = fault_of_grpc(grpc.StatusCode.RESOURCE_EXHAUSTED, "message larger than max (9 vs. 8)")


@dataclasses.dataclass
class PlayedServer:
    """Answers each call by its script, then by the faults of its inputs.

    Attributes:
        script: a fault for each of the first calls; a dict of faults by position for a mixed answer; seconds for a
            slow one; None for a good one.
        bad: faults of inputs that break every call they are in.
        refused: faults of single outputs.
        most: inputs of one message.
        slow: seconds that a call takes which holds this input.
        timeout: seconds after which a call ends at its deadline.
    """

    script: Sequence[Fault | dict[int, Fault] | float | None] = ()
    bad: dict[str, Fault] = dataclasses.field(default_factory=dict)
    refused: dict[str, Fault] = dataclasses.field(default_factory=dict)
    most: int = 1000
    slow: dict[str, float] = dataclasses.field(default_factory=dict)
    timeout: float = TIMEOUT
    calls: list[list[str]] = dataclasses.field(default_factory=list)
    succeeded: Counter[str] = dataclasses.field(default_factory=Counter)

    async def connect(self) -> Fault | None:
        return None

    async def close(self) -> None:
        pass

    async def send(self, batch: Sequence[EncodedInput]) -> Reply:
        names = [encoded.segments[0].decode() for encoded in batch]
        played = self.script[len(self.calls)] if len(self.calls) < len(self.script) else None
        self.calls.append(names)
        seconds = max(
            [played if isinstance(played, float) else 0.05, *(self.slow.get(name, 0) for name in names)]
        )
        await asyncio.sleep(min(seconds, self.timeout))
        if seconds > self.timeout:
            return Reply(fault_of_grpc(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
        if isinstance(played, Fault):
            return Reply(played, partial=len(names) % 2 == 0)
        if len(names) > self.most:
            return Reply(TOO_LARGE)
        if breaking := [self.bad[name] for name in names if name in self.bad]:
            return Reply(breaking[0])
        mixed = played if isinstance(played, dict) else {}
        answers: list[Any] = []
        for position, name in enumerate(names):
            fault = self.refused.get(name) or mixed.get(position)
            answers.append(fault or (f"ok {name}",))
            self.succeeded.update([] if fault else [name])
        return Reply(answers=answers, request_id="r")


@dataclasses.dataclass
class Outcome:
    """The results of batches, and what they took in simulated seconds."""

    results: list[tuple[Item, Prediction | Failure]]
    aborted: list[Fault]
    metrics: dict[str, int]
    seconds: float

    @property
    def predictions(self) -> list[str]:
        return [v.reference.input_id for _, v in self.results if isinstance(v, Prediction)]

    @property
    def failures(self) -> dict[str, Failure]:
        return {v.reference.input_id: v for _, v in self.results if isinstance(v, Failure)}


def send_through(
    server: PlayedServer,
    batches: list[list[str]],
    *,
    in_flight: int = 2,
    retry_for: float = RETRY_FOR,
    hold_s: float = 0.0,
    budget: int | None = None,
) -> Outcome:
    """Send batches to a server at once; check what must hold whatever the faults.

    Args:
        hold_s: seconds for which the limiter lets nothing start.
        budget: inputs that may be sent, retries included.
    """
    metrics, slots, spending = Metrics(), asyncio.Semaphore(in_flight), JobControl()
    spending.limits = StopConfig(inputs=budget)
    results: list[tuple[Item, Prediction | Failure]] = []
    aborted: list[Fault] = []

    async def main() -> float:
        began = time.monotonic()
        limiter = LocalLimiter(None, None, clock=lambda: time.monotonic())  # noqa: PLW0108  (looked up at each call)
        limiter.hold(hold_s)
        shared = Settings(
            server,
            MessageLimit(0),
            limiter,
            slots,
            metrics,
            server.timeout,
            retry_for,
            "v1",
            aborted.append,
            spending,
            Spending(StopConfig(), 1, aborted.append),
        )
        runs = []
        for batch in batches:
            items = [
                Item(Reference(n, None, "text", inline=n), EncodedInput((n.encode(),), 1)) for n in batch
            ]
            runs.append(asyncio.ensure_future(BatchSender(items, shared, results.extend).run()))
        ended = await asyncio.gather(*runs, return_exceptions=True)
        assert {type(end) for end in ended if end} <= {asyncio.CancelledError}
        assert aborted or spending.stopped or not any(ended)
        return time.monotonic() - began

    seconds = simulate(main)
    assert not slots.locked()
    assert slots._value == in_flight  # every slot was given back, once
    names = [value.reference.input_id for _, value in results]
    if not aborted and not spending.stopped:
        assert sorted(names) == sorted(name for batch in batches for name in batch)
    assert len(set(names)) == len(names)
    sent = Counter(name for call in server.calls for name in call)
    assert budget is None or sum(sent.values()) == budget - spending.left
    for item, value in results:
        name = item.reference.input_id
        assert value.reference.input_id == name
        if isinstance(value, Prediction):
            assert value.answer == (f"ok {name}",)
            assert value.stats.attempts == sent[name]
        else:
            assert value.attempts == sent[name]
            assert value.reference.inline is None
    counted = metrics.snapshot()
    assert counted["inputs_sent"] == len(sent)
    return Outcome(results, aborted, counted, seconds)


def names_of(sizes: Sequence[int]) -> list[list[str]]:
    """Names of inputs for batches of these sizes."""
    return [[f"b{number}-{index}" for index in range(size)] for number, size in enumerate(sizes)]
