"""The door: what a kind of endpoint must offer, and the words in which it answers.

Batching, bisection, retries, limits and tables know nothing else of an endpoint. A kind is a room under `endpoints/`
with an `Endpoint`, its `Session` and its `AnswerReader`; every kind must pass the contract in
`tests/transforms/endpoints/contract.py`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ..errors import CredentialsError, EndpointError, JobError, MethodError, ModelNotFoundError
from ..records import Content
from ..rows.answer_rows import AnswerReader, AnswerRows, ReadOptions

__all__ = [
    "CallLimits",
    "ContentNeeds",
    "Encoded",
    "Endpoint",
    "Fault",
    "Reply",
    "Session",
    "Verdict",
    "stopping_error",
]


class Verdict(enum.Enum):
    """What is done about a status, whichever endpoint it comes from."""

    OK = "done"
    MIXED = "keep the answers that succeeded, judge the others one by one"
    WAIT = "the model is starting: back off, retry"
    THROTTLED = "a rate limit: slow down for everyone, then retry"
    SERVER_FULL = "no capacity at the server: back off, retry"
    TRANSPORT = "the way to the server: retry"
    DEADLINE = "no answer within calls.timeout, told by the engine: cut the batch; alone, a few tries"
    TOO_LARGE = "the message is too large: split it"
    BAD_INPUT = "an input is bad: split until it stands alone, then an error row"
    SPLIT = "unknown, so one input may have broken the whole call: split as for a bad input"
    MISMATCH = "answers cannot be paired with inputs: split, then an error row"
    CREDENTIALS = "stop the job: the key is missing, wrong or not allowed"
    NO_MODEL = "stop the job: the model does not exist"
    NO_METHOD = "stop the job: the method does not exist"
    NO_API = "stop the job: the server does not speak the API"
    TOO_SLOW = "stop the job: no call was answered within calls.timeout, told by the engine"

    @property
    def retried(self) -> bool:
        """The same message is sent again after a pause."""
        return self in _RETRIED

    @property
    def stops_job(self) -> bool:
        """Nothing will ever work, so nothing further is sent."""
        return self in _STOPPING


_RETRIED = frozenset(
    {Verdict.WAIT, Verdict.THROTTLED, Verdict.SERVER_FULL, Verdict.TRANSPORT, Verdict.DEADLINE}
)
_STOPPING: dict[Verdict, type[JobError]] = {
    Verdict.CREDENTIALS: CredentialsError,
    Verdict.NO_MODEL: ModelNotFoundError,
    Verdict.NO_METHOD: MethodError,
    Verdict.NO_API: EndpointError,
    Verdict.TOO_SLOW: EndpointError,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One answer that is not a plain success.

    Attributes:
        verdict: what to do about it.
        error_type: a stable word for the errors table.
        message: what the server said, of a readable length and without secrets.
        fix: what to do where the verdict stops the job.
        status_code: the API's code, when it answered one.
        grpc_code: the gRPC code's name, when the call failed by one.
        request_id: the server's name for the call.
        retry_after_s: the server's own hint how long to wait.
        max_message_bytes: the server's message limit, where it named it.
    """

    verdict: Verdict
    error_type: str
    message: str
    fix: str = ""
    status_code: int | None = None
    grpc_code: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
    max_message_bytes: int | None = None


@dataclasses.dataclass(slots=True)
class Reply:
    """What came back for the inputs of one call.

    Attributes:
        fault: of the call as a whole; then there are no answers.
        answers: one entry an input, in order: the endpoint's own answer, opaque to all others, or its own fault.
        request_id: the server's name for the call.
        partial: a stream had begun to answer before it failed.
        bytes_sent: of request messages.
        bytes_received: of response messages.
        prompt_tokens: as the server reports them.
        completion_tokens: as the server reports them.
    """

    fault: Fault | None = None
    answers: Sequence[Any] = ()
    request_id: str | None = None
    partial: bool = False
    bytes_sent: int = 0
    bytes_received: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Encoded(Protocol):
    """One input as its endpoint sends it."""

    @property
    def nbytes(self) -> int:
        """What it adds to a call's message."""


@dataclasses.dataclass(frozen=True)
class CallLimits:
    """What an endpoint takes at most; None for no limit that is known.

    Attributes:
        inputs: in one call.
        nbytes: of one call's inputs.
        calls_per_second: as the API publishes it; a job's default.
        overhead_bytes: of a call's message beside its inputs.
    """

    inputs: int | None = None
    nbytes: int | None = None
    calls_per_second: float | None = None
    overhead_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class ContentNeeds:
    """What of an input must be fetched before it can be encoded.

    Attributes:
        content: the bytes behind its reference; False where the server fetches them, or nothing asks for them.
        columns: names of columns that hold references of their own, fetched like the content.
        fetched_by: the address of a server on another machine that fetches references itself; "" for none.
    """

    content: bool = True
    columns: tuple[str, ...] = ()
    fetched_by: str = ""


class Session(Protocol):
    """A connection of one worker process to an endpoint; used on the engine's loop alone."""

    async def connect(self) -> Fault | None:
        """Wait for the connection, so that a call starts when it is told to; the fault when there is none."""

    async def send(self, batch: Sequence[Any]) -> Reply:
        """Send the encoded inputs in one call, without any retry.

        Raises:
            JobError: nothing that is sent from here will work.
        """

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""


class Endpoint(Protocol):
    """A model behind an API, ready to be called: plain data that pickles and holds no secret.

    Attributes:
        kind: of endpoint, as the job file names it.
        identity: what answers, in every table and in the job's fingerprint.
        version: of what answers; "" when the server names none.
        address: where it is served, for messages.
        limits: of one call.
        needs: what to fetch of each input.
        signature: of what is called, in one line for a person.
    """

    @property
    def kind(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def limits(self) -> CallLimits: ...
    @property
    def needs(self) -> ContentNeeds: ...
    @property
    def signature(self) -> str: ...

    def encoder(self) -> Callable[[Content], Any]:
        """The function that turns a content into what `Session.send` takes, without I/O; it raises EncodeError."""

    async def open(self, timeout: float) -> Session:
        """Open a session, with the credentials of this process's environment.

        Args:
            timeout: seconds, the deadline of one call.

        Raises:
            JobError: there are none, or they would travel unencrypted.
        """

    def reader(self, options: ReadOptions, rows: AnswerRows) -> AnswerReader:
        """What writes this endpoint's answers to rows."""


def stopping_error(fault: Fault, place: str) -> JobError:
    """The error that ends the job for a fault whose verdict stops it.

    Args:
        place: the endpoint and the model, for the message.
    """
    fix = f"; {fault.fix}" if fault.fix else ""
    return _STOPPING[fault.verdict](f"{place}: {fault.message}{fix}")
