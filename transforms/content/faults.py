"""What is wrong with one input's file: whether it passes by itself, and how it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..errors import ReadError, SourceError
from ..storage.faults import is_transient, redact
from ..storage.references import shown

__all__ = ["PassingReadError", "check_size", "check_status", "passes", "read_error"]

_HTTP_MISSING = (404, 410)
_HTTP_FORBIDDEN = (401, 403, 407, 451)
_HTTP_PASSING = (408, 425, 429)


class PassingReadError(ReadError):
    """The store failed in a way that passes by itself; the same input may succeed another time."""


def check_size(size: int, where: str, most: int) -> None:
    """Check the size of a content before it is read.

    Args:
        where: the reference, as a message has it.
        most: bytes.

    Raises:
        ReadError: it is too large.
    """
    if size > most:
        raise ReadError(
            "too_large",
            f"{where} has {size} bytes, more than the {most} that source.max_bytes allows; make it smaller or raise "
            "source.max_bytes",
        )


def check_status(status: int, where: str) -> None:
    """Check the status of an HTTP answer.

    Args:
        where: the address, as a message has it.

    Raises:
        ReadError: it is no success.
    """
    if status < 400:
        return
    if status in _HTTP_MISSING:
        raise ReadError("missing", f"{where} is not there: HTTP {status}")
    if status in _HTTP_FORBIDDEN:
        raise ReadError("unreadable", f"{where} may not be read: HTTP {status}; check the access rights")
    if status >= 500 or status in _HTTP_PASSING:
        raise PassingReadError("store_error", f"{where} answered HTTP {status}; run again later")
    raise ReadError("unreadable", f"{where} answered HTTP {status}")


def read_error(uri: str, error: BaseException, storage: Mapping[str, Any], timeout: float) -> ReadError:
    """The fault of an input that any exception of its store's driver stands for.

    Args:
        storage: fsspec options of the source, which appear in no message.
        timeout: seconds that the file may take.
    """
    if isinstance(error, ReadError):
        return error
    where = redact(shown(uri), storage)
    reason = redact(" ".join(str(error).split()) or type(error).__name__, storage)
    if isinstance(error, FileNotFoundError | NotADirectoryError | KeyError):
        return ReadError("missing", f"{where} is not there; it may have been moved since it was listed")
    if isinstance(error, PermissionError):
        return ReadError("unreadable", f"{where} may not be read; check its permissions")
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        # fsspec raises an error of its own, without words.
        said = str(error) or str(error.__cause__ or "")
        return PassingReadError(
            "timeout",
            f"{where} was not read in time: {said or f'it took {timeout:g} s (source.timeout.file)'}; "
            "run again later, or raise it",
        )
    if passes(error):
        return PassingReadError("store_error", f"{where} could not be read: {reason}; run again later")
    # A fault of the source names the reference itself.
    return ReadError(
        "unreadable", reason if isinstance(error, SourceError) else f"{where} could not be read: {reason}"
    )


def passes(error: BaseException) -> bool:
    """Whether the same read may succeed when it is simply tried again."""
    if isinstance(error, PassingReadError):
        return True
    if isinstance(error, ReadError | SourceError):
        return False
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return True
    # aiohttp's own faults of an address; everything else about a connection may pass.
    if type(error).__name__ in ("InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError", "BadZipFile"):
        return False
    return is_transient(error, local=False)
