"""One reference -> its content: sized before it is read, read once, checked, and its version noted.

Faults of the input raise `ReadError`; faults of a store that pass by themselves are tried again a few times
and then raise `ReadError` with `retryable`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tenacity
from fsspec.asyn import sync

from ..errors import ReadError
from ..records import Content, Reference
from ..storage.allowed import EVERYTHING, Allowed
from ..storage.faults import redact
from ..storage.filesystems import Filesystems, local_path, protocol_of, references_in, resolve
from ..storage.references import data_of, is_data, shown
from .faults import PassingReadError, check_size, check_status, passes, read_error
from .http_get import http_get
from .media import MAX_PIXELS, check_filled, check_text, media_of
from .upright import sendable
from .versions import GIVEN, content_code, hashed_version, local_version, version_of

__all__ = ["Fetched", "Fetcher"]

logger = logging.getLogger(__name__)

_FLAGS = os.O_RDONLY
if sys.platform != "win32":
    # Non-blocking, so that a named pipe without a writer cannot hold a thread for ever.
    _FLAGS |= os.O_NONBLOCK | os.O_CLOEXEC


@dataclasses.dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes of one file, with what its store said about it."""

    data: bytes
    version: str


class Fetcher:
    """Fetches content in any number of threads.

    Args:
        max_bytes: a larger file is refused before it is read.
        storage: fsspec options of the source.
        by_url: do not fetch the input itself, for the server does.
        reference_columns: columns that hold references to fetch like the content.
        base: the folder that relative references in columns are relative to.
        idle: seconds without a byte after which an HTTP answer is given up.
        timeout: seconds that reading one file of a remote store may take, further attempts included.
        attempts: how often a fault that passes by itself is tried.
        max_pixels: a larger picture is refused; None for no limit.
        turn: turn pictures upright by their EXIF orientation.
        max_side: pixels of the longer side above which pictures are made smaller; None for no limit.
        allowed: what columns of references, redirects and names of hosts may lead to.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        storage: Mapping[str, Any],
        by_url: bool = False,
        reference_columns: tuple[str, ...] = (),
        base: str = "",
        idle: float = 30.0,
        timeout: float = 300.0,
        attempts: int = 4,
        max_pixels: int | None = MAX_PIXELS,
        turn: bool = False,
        max_side: int | None = None,
        allowed: Allowed = EVERYTHING,
    ) -> None:
        self.max_bytes, self._storage, self._by_url = max_bytes, storage, by_url
        self._reference_columns, self._base = reference_columns, base
        self._idle, self._timeout, self._attempts = idle, timeout, attempts
        self._max_pixels, self._turn, self._max_side = max_pixels, turn, max_side
        self._allowed = allowed
        self._filesystems = Filesystems(storage, allowed)

    def content(self, reference: Reference) -> Content:
        """The content of an input and of its columns.

        Raises:
            ReadError: it is missing, empty, unreadable, too large, or not of its media type.
        """
        columns = self._columns(reference) if self._reference_columns else {}
        if self._by_url and reference.inline is None and not is_data(reference.uri or ""):
            return Content(reference, None, columns)
        if reference.inline is not None:
            fetched = self._inline(reference.inline, reference.version)
        else:
            fetched = self.fetch(reference.uri or "", size=reference.size, version=reference.version)
        data, picture = fetched.data, None
        try:
            if reference.media_type == "image":
                data, picture = sendable(data, self._max_pixels, turn=self._turn, max_side=self._max_side)
            elif reference.media_type == "text":
                data = check_text(check_filled(data))
            else:
                check_filled(data)
        except ReadError as error:
            raise ReadError(error.error_type, f"{self._named(reference)}: {error.message}") from None
        given = reference.version.startswith(GIVEN)
        version = reference.version if given else fetched.version or reference.version
        known = dataclasses.replace(
            reference, version=version, size=len(data), inline=None, content=content_code(fetched.data)
        )
        return Content(known, data, columns, *(picture or ()))

    def fetch(self, uri: str, *, size: int | None = None, version: str = "") -> Fetched:
        """The bytes of one file.

        Args:
            size: as a listing told it; with its version it spares remote stores a request.
            version: as the listing told it.

        Raises:
            ReadError: it is missing, unreadable or too large.
        """
        path = local_path(uri)
        if path is not None:
            return self._local(path)
        if is_data(uri):
            return self._held(uri)
        ends = time.monotonic() + self._timeout
        policy = tenacity.Retrying(
            retry=tenacity.retry_if_exception(passes),
            stop=tenacity.stop_after_attempt(self._attempts) | tenacity.stop_before_delay(self._timeout),
            wait=tenacity.wait_random_exponential(multiplier=0.3, max=8.0),
            reraise=True,
        )
        try:
            self._allowed.check_host(uri)
            if protocol_of(uri) in ("http", "https"):
                return policy(self._http, uri, ends)
            if size and version.startswith("etag:"):
                known = policy(self._listed, uri, size, version, ends)
                if known is not None:
                    return known
            return policy(self._remote, uri, ends)
        except ReadError:
            raise
        except Exception as error:
            raise self._read_error(uri, error) from error

    def version(self, reference: Reference) -> str:
        """The version that the store tells of an input now, without reading it; "" when it tells none.

        Raises:
            ReadError: the file is missing or cannot be reached.
        """
        uri = reference.uri or ""
        path = local_path(uri)
        if is_data(uri):
            return self._held(uri).version
        try:
            if path is not None:
                return local_version(Path(path).stat())
            filesystem, inner = self._filesystems.open(uri)
            return version_of(_within(time.monotonic() + self._timeout, filesystem, "info", inner))
        except Exception as error:
            raise self._read_error(uri, error) from error

    def _columns(self, reference: Reference) -> dict[str, bytes | tuple[Any, ...]]:
        fetched: dict[str, bytes | tuple[Any, ...]] = {}
        for name in self._reference_columns:
            value = references_in(reference.columns.get(name))
            if isinstance(value, list):
                fetched[name] = tuple(self._referred(name, item) for item in value)
            elif value is not None:
                found = self._referred(name, value)
                fetched[name] = found if isinstance(found, bytes) else (found,)
        return fetched

    def _referred(self, column: str, value: Any) -> Any:
        """The bytes that a column's value refers to; what is no reference stands as it is."""
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
            return value["bytes"]  # as Hugging Face's Image and Audio features hold a file
        if not isinstance(value, str):
            return value
        uri = resolve(value, self._base)
        try:
            self._allowed.check(uri)
            data = check_filled(self.fetch(uri).data)
            if media_of(uri) == "image":
                data, _ = sendable(data, self._max_pixels, turn=self._turn, max_side=self._max_side)
        except ReadError as error:
            raise type(error)(
                error.error_type, f"column {column!r}, {self._shown(uri)}: {error.message}"
            ) from None
        return data

    def _inline(self, inline: bytes | str, version: str) -> Fetched:
        data = inline.encode("utf-8", "surrogatepass") if isinstance(inline, str) else bytes(inline)
        self._check_size(len(data), "the content")
        return Fetched(data, version or hashed_version(data))

    def _held(self, uri: str) -> Fetched:
        """The content that a `data:` URI is."""
        self._check_size(len(uri) * 3 // 4, uri)
        try:
            data = data_of(uri)
        except ValueError as error:
            raise ReadError("unreadable", f"{shown(uri)} cannot be decoded: {error}") from None
        return Fetched(data, hashed_version(data))

    def _local(self, path: str) -> Fetched:
        try:
            handle = os.open(path, _FLAGS)
        except (OSError, ValueError) as error:  # a NUL in the path is no OSError
            raise self._read_error(path, error) from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ReadError("unreadable", f"{self._shown(path)} is no regular file; name a file")
            self._check_size(status.st_size, path)
            data = os.read(handle, status.st_size + 1)
            while data and len(data) < status.st_size:
                more = os.read(handle, status.st_size - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise self._read_error(path, error) from None
        finally:
            os.close(handle)
        if len(data) != status.st_size:
            raise PassingReadError(
                "changed", f"{self._shown(path)} changed while it was read; run again when it is written"
            )
        return Fetched(data, local_version(status))

    def _listed(self, uri: str, size: int, version: str, ends: float) -> Fetched | None:
        """An object that is as long as its listing said; None when it changed since."""
        self._check_size(size, uri)
        filesystem, path = self._filesystems.open(uri)
        data = _within(ends, filesystem, "cat_file", path, start=0, end=size + 1)
        return Fetched(data, version) if len(data) == size else None

    def _remote(self, uri: str, ends: float) -> Fetched:
        filesystem, path = self._filesystems.open(uri)
        info = _within(ends, filesystem, "info", path)
        if info.get("type") == "directory":
            raise ReadError("unreadable", f"{self._shown(uri)} is a folder; name a file")
        size = info.get("size")
        if size is not None:
            self._check_size(int(size), uri)
        if size == 0:
            return Fetched(b"", version_of(info))
        whole = {} if size is None else {"start": 0, "end": int(size)}
        data = _within(ends, filesystem, "cat_file", path, **whole)
        if size is not None and len(data) != int(size):
            raise PassingReadError(
                "changed", f"{self._shown(uri)} changed while it was read; run again when it is written"
            )
        self._check_size(len(data), uri)
        return Fetched(data, version_of(info))

    def _http(self, uri: str, ends: float) -> Fetched:
        filesystem, _ = self._filesystems.open(uri)
        get = http_get(
            filesystem,
            uri,
            idle=self._idle,
            check_status=lambda status: check_status(status, self._shown(uri)),
            check_size=lambda size: self._check_size(size, uri),
        )
        data, info = sync(filesystem.loop, asyncio.wait_for, get, max(0.0, ends - time.monotonic()))
        return Fetched(data, version_of(info))

    def _check_size(self, size: int, where: str) -> None:
        check_size(size, self._shown(where), self.max_bytes)

    def _named(self, reference: Reference) -> str:
        return self._shown(reference.uri or reference.place or reference.input_id)

    def _shown(self, uri: str) -> str:
        """A reference as a message has it."""
        return redact(shown(uri), self._storage)

    def _read_error(self, uri: str, error: BaseException) -> ReadError:
        return read_error(uri, error, self._storage, self._timeout)


def _within(ends: float, filesystem: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a filesystem's method, until this moment at most where its driver can be interrupted."""
    if not filesystem.async_impl:
        return getattr(filesystem, method)(*args, **kwargs)
    left = max(0.0, ends - time.monotonic())
    return sync(filesystem.loop, asyncio.wait_for, getattr(filesystem, f"_{method}")(*args, **kwargs), left)
