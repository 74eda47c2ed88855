"""Every error that this package raises on purpose.

    BulkinferError
    +-- JobError                     the command line, the job file or the preflight is at fault: exit 2
    |   +-- ConfigError              the job file, or a --set, says something impossible
    |   +-- SourceError              the source cannot be listed, or lacks a column
    |   |   +-- EmptySourceError     the source matches nothing
    |   +-- StoreError               a store cannot be reached, read or written
    |   +-- CredentialsError         no credentials, or the endpoint refuses them
    |   +-- EndpointError            no server at the address, or it does not speak the API
    |   +-- ModelNotFoundError       the endpoint does not know the model
    |   +-- MethodError              no such method, or the arguments do not fit it
    |   +-- OutputInUseError         another run writes to the same output
    |   +-- RunnerError              the runner lacks a job server, workers or a store all workers see
    +-- StoppedError                 the job stopped early and can be resumed: exit 4
    +-- InputError                   one input is at fault: a row in `errors`
    |   +-- ReadError                its content is missing, empty, unreadable or too large
    |   +-- EncodeError              its content or a column does not fit the method's parameter
    |   +-- CallError                the model refused it, or never answered
    |   +-- DecodeError              its answer cannot be turned into rows

Job errors end a job with one message; input errors cost one row and nothing else. Each message states the
fact, the place and the fix. Arguments are handed to `Exception` so that errors survive pickling between workers.
"""

from __future__ import annotations

__all__ = [
    "BulkinferError",
    "CallError",
    "ConfigError",
    "CredentialsError",
    "DecodeError",
    "EmptySourceError",
    "EncodeError",
    "EndpointError",
    "InputError",
    "JobError",
    "MethodError",
    "ModelNotFoundError",
    "OutputInUseError",
    "ReadError",
    "RunnerError",
    "SourceError",
    "StoppedError",
    "StoreError",
]


class BulkinferError(Exception):
    """The root of all errors that this package raises on purpose."""


class JobError(BulkinferError):
    """The job cannot run as it stands; nothing was sent, or nothing further will be.

    Attributes:
        inputs_sent: the job had begun; False when a check failed before any input was sent.
    """

    inputs_sent = False


class ConfigError(JobError):
    """The job file or an override says something unknown or impossible."""


class SourceError(JobError):
    """The source cannot be listed or lacks a column that the job names."""


class EmptySourceError(SourceError):
    """The source is there and holds no input: a mistake in most jobs, an ordinary day in a scheduled one."""


class StoreError(JobError):
    """A store cannot be reached, read or written."""


class CredentialsError(JobError):
    """No credentials were given, or the endpoint refuses them."""


class EndpointError(JobError):
    """No server answers at the address, or what answers does not speak the API."""


class ModelNotFoundError(JobError):
    """The endpoint does not know the model or the version."""


class MethodError(JobError):
    """The model has no such method, or the job's arguments do not fit it."""


class OutputInUseError(JobError):
    """Another run that is alive writes to the same output."""


class RunnerError(JobError):
    """The runner lacks a job server, workers, or a store that all workers see."""


class StoppedError(BulkinferError):
    """The job stopped early by a limit of its own and can be resumed by the same command."""


class InputError(BulkinferError):
    """One input is at fault: it becomes one row in `errors` and costs the others nothing.

    Attributes:
        error_type: a stable word for the kind of fault, as in the `error_type` column, e.g. "empty".
        message: the fact, the place and the fix; never content and never a secret.
    """

    stage = "list"  #: where it happened: list | read | encode | call | decode | write

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return self.message


class ReadError(InputError):
    """The content of an input is missing, empty, unreadable, too large or not of its media type."""

    stage = "read"


class EncodeError(InputError):
    """The content or a column of an input does not fit the method's parameter."""

    stage = "encode"


class CallError(InputError):
    """The model refused the input, or did not answer within the time allowed."""

    stage = "call"


class DecodeError(InputError):
    """The model's answer for the input cannot be turned into rows."""

    stage = "decode"
