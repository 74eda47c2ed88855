"""Which faults of a store pass by themselves, and how the others are told to a person.

Every access of a `Store` runs under `patiently`: the one place where the job's reads and writes are retried.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import tenacity

from ..errors import BulkinferError, SourceError, StoreError
from .options import filled_in
from .references import shortened

__all__ = ["is_transient", "patiently", "redact", "source_faults", "store_error"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 7  #: with the waits below: about 15 s before a store counts as broken
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PERMANENT_ERRNO = _FULL | {
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.ENOSYS,
    errno.ELOOP,
    errno.ENOTEMPTY,
    errno.EMFILE,
}
_PERMANENT = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    ImportError,
    MemoryError,
    BulkinferError,
)
_NO_CREDENTIALS = re.compile(r"(No|Partial)Credentials|DefaultCredentials|ProfileNotFound|TokenRetrieval")
_URL_SECRETS = re.compile(r"(?<=://)[^/\s@]+@|(?<=[?&])[^\s'\"<>]+")


def is_transient(error: BaseException, *, local: bool) -> bool:
    """Whether the same access may succeed when it is simply tried again.

    A local disk's faults are final but for a few codes of network mounts; of a remote store's, all are worth
    another attempt but those that name a lasting cause (missing, forbidden, full, misused).
    """
    if isinstance(error, FileNotFoundError):
        # An upload whose completion succeeded but whose answer was lost is unknown the second time.
        cause = getattr(error.__cause__, "response", None)
        return isinstance(cause, Mapping) and cause.get("Error", {}).get("Code") == "NoSuchUpload"
    if local:
        return isinstance(error, OSError) and error.errno in {errno.EAGAIN, errno.EINTR, errno.ESTALE}
    if isinstance(error, _PERMANENT) or _NO_CREDENTIALS.search(type(error).__name__):
        return False
    if isinstance(error, OSError) and error.errno in _PERMANENT_ERRNO:
        return False
    return isinstance(error, Exception)


def patiently(action: Callable[[], T], *, what: str, local: bool) -> T:
    """Run `action`, again after a growing pause while its fault is one that passes; raise its last fault."""

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        logger.warning(
            "store retry: %s attempt=%d/%d wait_s=%.2f cause=%s",
            what,
            state.attempt_number,
            ATTEMPTS,
            wait,
            type(error).__name__,
        )

    policy = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: is_transient(error, local=local)),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=8.0),
        before_sleep=tell,
        reraise=True,
    )
    return policy(action)


def redact(text: str, storage: Mapping[str, Any]) -> str:
    """`text` without passwords in URLs, URL queries and the values of `storage`, which may all be secrets.

    References in it are shortened, for a `data:` URI holds content.
    """

    def hide(value: object) -> None:
        nonlocal text
        if isinstance(value, Mapping):
            for inner in value.values():
                hide(inner)
        elif isinstance(value, str) and len(value) >= 4 and not value.startswith(("http://", "https://")):
            text = text.replace(value, "***")

    hide(filled_in(storage, forgiving=True))
    return shortened(_URL_SECRETS.sub(lambda match: "***@" if match[0].endswith("@") else "***", text))


@contextlib.contextmanager
def source_faults(what: str, storage: Mapping[str, Any], fix: str = "") -> Iterator[None]:
    """Turn any fault of a source's store or file into one line: each driver has exceptions of its own.

    Args:
        what: what could not be done, and where.
        storage: fsspec options of the source, which appear in no message.
        fix: what to do about it.

    Raises:
        SourceError: in place of whatever is no error of ours.
    """
    try:
        yield
    except BulkinferError:
        raise
    except Exception as error:
        reason = redact(" ".join(str(error).split()) or type(error).__name__, storage)
        fix = fix or "check the address, that the store is up, the permissions and source.storage"
        raise SourceError(f"{redact(what, storage)}: {reason}; {fix}") from error


def store_error(
    action: str, where: str, error: BaseException, storage: Mapping[str, Any] | None = None
) -> StoreError:
    """The `StoreError` of a fault: what was tried, where, why it failed and what to do about it."""
    where = redact(where, storage or {})
    reason = redact(" ".join(str(error).split()) or type(error).__name__, storage or {})
    code = getattr(error, "errno", None)
    if code in _FULL:
        fix = (
            "the disk is full, or over its quota: free some space or set another place, then start the same "
            "command again; what was durable is kept and not paid again"
        )
    elif isinstance(error, PermissionError) or code == errno.EROFS:
        fix = "check the permissions of the directory, or the credentials given to the store"
    elif _NO_CREDENTIALS.search(type(error).__name__):
        fix = "give the store credentials in its storage options or in the environment"
    elif isinstance(error, ImportError):
        fix = "install the store's driver: pip install 'bulkinfer[s3]', [gcs] or [azure]"
    elif isinstance(error, FileNotFoundError):
        fix = "check that the place, and the bucket, exist"
    elif isinstance(error, ValueError | TypeError):
        fix = "check the address and the storage options"
    else:
        fix = f"the store gave no good answer in {ATTEMPTS} attempts; check that it is up, then start again"
    return StoreError(f"cannot {action} {where}: {reason}; {fix}")
