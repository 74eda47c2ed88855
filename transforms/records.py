"""The words of the project: what travels between the steps of a job.

    Reference -> Content -> Prediction | Failure

Up to `Reference` everything is small and may cross a shuffle. `Content` and `Prediction` carry bytes and stay
inside the worker that made them. All of them pickle.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from .errors import InputError

__all__ = [
    "CONTENT_LIST",
    "MEDIA_TYPES",
    "CallStats",
    "Content",
    "Failure",
    "Prediction",
    "Reference",
    "failure_of",
]

#: Among a reference's columns the list that its content is, where the source holds one; `inline` is its JSON then.
CONTENT_LIST = "$content"
MEDIA_TYPES = ("image", "text", "video", "audio")


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """One input of a job, named but not yet read.

    Attributes:
        input_id: names the input in every table; unique in a job.
        uri: where the content lies, any fsspec URL; None when the source holds the content itself.
        media_type: image | text | video | audio.
        version: the content's version as the listing knew it ("etag:...", "size:N,mtime:T", "blake2b:...",
            "given:..." by a column);
            "" when it is not known before the content is read.
        size: bytes, when the listing knew it.
        inline: the content itself, when the source holds it.
        columns: the row's values by column name, those that arguments or `keep` name.
        place: where the source names it ("refs.csv:17"), for messages.
        content: of the content, once it was read: `content.versions.content_code`; 0 when it is not known.
        aliases: further inputs with the very same content and arguments; they get rows of their own from this
            one's answer, or its failure.
    """

    input_id: str
    uri: str | None
    media_type: str
    version: str = ""
    size: int | None = None
    inline: bytes | str | None = None
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    place: str = ""
    aliases: tuple[Reference, ...] = ()
    content: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """An input with its bytes, ready to be sent.

    Attributes:
        reference: the input; its `version` is known by now where the store tells one.
        data: the fetched bytes; None when the job passes the content by URL.
        columns: fetched bytes of columns that hold references of their own, by column name; of a column that holds
            a list of references a tuple, whose other items stand as they came.
        width: pixels, of an image; None when unknown.
        height: pixels, of an image; None when unknown.
        orientation: EXIF's number, 1 to 8, of an image as it is sent; None when it says none.
    """

    reference: Reference
    data: bytes | None
    columns: Mapping[str, bytes | tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    orientation: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of content held, of the input and of its columns."""
        total = len(self.data or b"")
        for fetched in self.columns.values():
            items = (fetched,) if isinstance(fetched, bytes) else fetched
            total += sum(len(item) for item in items if isinstance(item, bytes))
        return total


@dataclasses.dataclass(frozen=True, slots=True)
class CallStats:
    """What one input's answer cost.

    Attributes:
        attempts: calls in which the input was sent, the successful one included.
        latency_ms: of the call that answered, send to last byte.
        request_id: the server's name for that call, where it gives one.
    """

    attempts: int = 1
    latency_ms: float = 0.0
    request_id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """The model's whole answer for one input.

    Attributes:
        reference: the input.
        answer: the endpoint's own, opaque to all but its reader (`calls.endpoint`).
        width: pixels, of an image input; None when unknown.
        height: pixels, of an image input; None when unknown.
        model_version: the version that answered; "" when the server names none.
        orientation: EXIF's number, 1 to 8, of an image input as it was sent; None when it says none.
    """

    reference: Reference
    answer: Any
    stats: CallStats = CallStats()
    width: int | None = None
    height: int | None = None
    model_version: str = ""
    orientation: int | None = None

    @property
    def outputs(self) -> Any:
        """The answer, under the name that pipelines of one's own know."""
        return self.answer


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """An input that did not succeed: one row in `errors`.

    Attributes:
        reference: the input.
        stage: list | read | encode | call | decode | write.
        error_type: a stable word for the kind of fault.
        message: the fact, the place and the fix; never content and never a secret.
        status_code: the API's status code, where a call answered one.
        grpc_code: the gRPC code's name, where a call failed by one.
        retryable: True when the same input may succeed another time.
        attempts: calls in which the input was sent.
        failed_at: when, UTC.
    """

    reference: Reference
    stage: str
    error_type: str
    message: str
    status_code: int | None = None
    grpc_code: str | None = None
    retryable: bool = False
    attempts: int = 0
    request_id: str | None = None
    failed_at: datetime.datetime = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.timezone.utc)
    )


def failure_of(reference: Reference, error: InputError, *, retryable: bool = False) -> Failure:
    """The `errors` row of an input error that happened outside a call."""
    return Failure(reference, error.stage, error.error_type, error.message, retryable=retryable)
