"""A kind of endpoint in under 80 lines: it reverses texts, or draws a square for each, behind the same door."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from bulkinfer.transforms.calls.endpoint import CallLimits, ContentNeeds, Fault, Reply, Verdict
from bulkinfer.transforms.rows.answer_rows import Answered, AnswerRows, ReadOptions
from bulkinfer.transforms.rows.region_rows import Shape

SERVERS: dict[str, Any] = {}  # by address: async functions of a method and texts, which give answers


class ToyError(Exception): ...  # (verdict, limit of a message) and whether an answer had begun


class Text(NamedTuple):
    text: str
    nbytes: int


def fault(verdict: Verdict, limit: int | None = None) -> Fault:
    return Fault(verdict, verdict.name.lower(), "the toy complains", "mend the toy", max_message_bytes=limit)


@dataclasses.dataclass(frozen=True)
class ToySession:
    server: str
    method: str

    async def connect(self) -> Fault | None:
        return None if self.server in SERVERS else fault(Verdict.TRANSPORT)

    async def send(self, batch: list[Text]) -> Reply:
        try:
            answers = await SERVERS[self.server](self.method, [one.text for one in batch])
        except ToyError as error:
            return Reply(fault(*error.args[0]), partial=error.args[1])
        return Reply(answers=[fault(one) if isinstance(one, Verdict) else one for one in answers])

    async def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Toy:
    address: str
    method: str
    kind, identity, version = "toy", "toy://reverse", "1"
    signature, needs = "reverse(text) -> text", ContentNeeds()

    @property
    def limits(self) -> CallLimits:
        return CallLimits(inputs=1 if self.method == "stream" else None)

    def encoder(self) -> Any:
        texts = lambda one: one.data.decode() if one.data else one.reference.inline  # noqa: E731
        return lambda content: Text(texts(content), len(texts(content)))

    async def open(self, timeout: float) -> ToySession:
        return ToySession(self.address, self.method)

    def reader(self, options: ReadOptions, rows: AnswerRows) -> ToyReader:
        return ToyReader(rows)


@dataclasses.dataclass
class ToyReader:
    rows: AnswerRows

    def read(self, answered: list[Answered]) -> None:
        for one in answered:
            self.rows.start(one)
            answer = one.prediction.answer
            if isinstance(answer, bytes):
                self.rows.regions.add("square", 0.5, shape=Shape(answer))
            else:
                self.rows.predictions.put_text("text", "".join(answer))
            self.rows.close(status_code=0)
