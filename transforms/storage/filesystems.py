"""From a reference to the fsspec filesystem that holds it, and the path inside.

A source has one set of storage options, but its references may lie on several stores: a local manifest names
objects on S3, a pattern looks into a zip file on GCS. So `storage` may be flat, for the one remote store of
the source, or nested by protocol (`storage: {s3: {...}, https: {...}}`); flat options never reach local
files, archives or HTTP.
"""

from __future__ import annotations

import functools
import json
import os
import posixpath
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from ..errors import SourceError
from . import archives
from .allowed import EVERYTHING, Allowed
from .faults import redact
from .options import filled_in
from .references import is_data

__all__ = [
    "Filesystems",
    "canonical",
    "check_address",
    "is_relative",
    "local_path",
    "options_for",
    "protocol_of",
    "references_in",
    "resolve",
    "split_chain",
]

_LOCAL = ("file", "local")
_ARCHIVES = ("zip", "tar", "libarchive")
_ALIASES = {"s3a": "s3", "gcs": "gs"}
_MAGIC = re.compile(r"[*?\[]")
_WITHOUT_OPTIONS = {"file", "local", "zip", "tar", "libarchive", "http", "https", "data"}
_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "adl": "azure",
}


def protocol_of(url: str) -> str:
    """The outermost protocol: "zip" of `zip://a.jpg::s3://bucket/photos.zip`, "file" of a path."""
    if is_data(url):
        return "data"
    head = url.partition("::")[0]
    protocol, sep, _ = head.partition("://")
    if sep:
        return protocol
    return "file" if "::" not in url else head


def split_chain(url: str) -> tuple[str, str]:
    """The member and the archive of a chained URL, the latter with its `::`; ("path", "") of a plain one."""
    if is_data(url):
        return url, ""
    head, sep, rest = url.partition("::")
    return (head, sep + rest)


def local_path(url: str) -> str | None:
    """The path of a local file, or None when the URL is on another store or inside an archive."""
    if "::" in url or is_data(url):
        return None
    protocol, sep, path = url.partition("://")
    if not sep:
        return url
    return path if protocol in _LOCAL else None


def canonical(url: str, storage: Mapping[str, Any]) -> str:
    """The spelling that all references to one file share, and all patterns of one folder, wherever a job is started.

    Local paths are absolute, without `file://`, `.` and `//`; members of archives begin without `./`; a protocol with
    two names has the common one. Links are not followed: a link is a name that somebody chose.

    Args:
        storage: fsspec options of the source; a protocol that they name keeps its name.

    >>> canonical("zip://./a.jpg::file:///photos//./2026.zip", {})
    'zip://a.jpg::/photos/2026.zip'
    """
    if is_data(url):
        return url
    *members, last = url.split("::")
    protocol, sep, path = last.partition("://")
    if not sep:
        last = _absolute(last)
    elif protocol in _LOCAL:
        last = _absolute(path)
    elif protocol in _ALIASES and protocol not in storage:
        last = f"{_ALIASES[protocol]}://{path}"
    return "::".join([*map(_member, members), last])


def _absolute(path: str) -> str:
    path = re.sub("//+", "/", os.path.expanduser(path))
    components = path.split("/")
    first = next((index for index, part in enumerate(components) if _MAGIC.search(part)), len(components))
    root = "/".join(components[:first]) or ("/" if path.startswith("/") else ".")
    absolute = os.path.abspath(root)
    if ".." in components[:first] and os.path.realpath(absolute) != os.path.realpath(root):
        absolute = os.path.realpath(root)  # behind a link, `..` is not what the text says
    return posixpath.join(absolute, *(part for part in components[first:] if part != "."))


def _member(head: str) -> str:
    protocol, sep, path = head.partition("://")
    if protocol not in _ARCHIVES:
        return head
    return protocol + sep + archives.clean(path)


def references_in(value: Any) -> Any:
    """The references of a column's list, which a CSV holds as JSON; any other value as it is."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value  # a file's name may begin like that
    return value


def is_relative(uri: str) -> bool:
    """Whether a reference means another file from another folder."""
    last = uri.rpartition("::")[2]
    return not (uri.startswith(("/", "data:")) or last.startswith("/") or "://" in last)


def resolve(uri: str, base: str) -> str:
    """A reference as a manifest in the folder `base` means it: relative paths are relative to that folder."""
    if not base or not is_relative(uri) or is_data(uri):
        return uri
    head, sep, last = uri.rpartition("::")
    if "://" in base or "::" in base:
        return f"{head}{sep}{base.rstrip('/')}/{last}"
    return head + sep + posixpath.join(base, last)


def options_for(protocol: str, storage: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a source's storage options that is meant for one protocol."""
    nested = {
        key for key, value in storage.items() if isinstance(value, Mapping) and key in known_implementations
    }
    options = dict(storage[protocol]) if protocol in nested else {}
    if protocol not in _WITHOUT_OPTIONS:
        options = {**{key: value for key, value in storage.items() if key not in nested}, **options}
    if protocol in _EXTRAS:
        # A worker lives long, and what a listing said an hour ago is not what the store holds now.
        options.setdefault("use_listings_cache", False)
    return options


def check_address(url: str, storage: Mapping[str, Any]) -> None:
    """Check that the host of an HTTP URL is known, as far as this machine can tell without asking it.

    Raises:
        OSError: no name server knows it.
    """
    options = options_for(protocol_of(url), storage)
    if protocol_of(url) not in ("http", "https") or options.get("proxy") or "client_kwargs" in options:
        return  # behind a proxy names are not resolved here
    host = urlsplit(url.partition("::")[0]).hostname or ""
    try:
        known = _is_known(host)
    except OSError:  # the name server itself may be out of reach for a while
        return
    if not known:
        raise OSError(f"no name server knows the host {host!r}")


@functools.lru_cache(1024)
def _is_known(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno != socket.EAI_NONAME:
            raise
        return False
    return True


class Filesystems:
    """The filesystems that one worker or one check uses, opened once each.

    Args:
        storage: fsspec options of the source, flat or nested by protocol.
        allowed: what redirects and names of hosts may lead to.
    """

    def __init__(self, storage: Mapping[str, Any], allowed: Allowed = EVERYTHING) -> None:
        self._storage, self._client = storage, allowed.client()
        self._opened: dict[str, Any] = {}
        self._archives = archives.OpenArchives()

    def open(self, url: str) -> tuple[Any, str]:
        """The filesystem and the path inside it.

        Raises:
            SourceError: the protocol is unknown, its driver is not installed, or its options do not fit.
            DamagedArchiveError: what should hold the file is no archive, or is damaged.
            OSError: the archive or the store that holds the file cannot be opened.
        """
        head, rest = split_chain(url)
        protocol, sep, member = head.partition("://")
        if rest and (sep or protocol in archives.KINDS):
            filesystem = self._archives.get(protocol, rest.removeprefix("::"), self._open_archive)
            return filesystem, filesystem._strip_protocol(f"{protocol}://{member}")
        if rest:
            return self._connect(url)
        filesystem = self._opened.get(protocol if sep else "file")
        if filesystem is None:
            filesystem, path = self._connect(url)
            self._opened[protocol if sep else "file"] = filesystem
            return filesystem, path
        return filesystem, filesystem._strip_protocol(head)

    def _open_archive(self, kind: str, url: str) -> Any:
        if kind not in archives.KINDS:
            return self._connect(f"{kind}://::{url}")[0]
        file = archives.open_file(*self.open(url))
        try:
            return archives.ArchiveFileSystem(kind, file)
        except BaseException:
            file.close()
            raise

    def _connect(self, url: str) -> tuple[Any, str]:
        protocols = [protocol_of(bit) for bit in url.split("::")]
        try:
            storage = filled_in(self._storage)
        except ValueError as error:
            raise SourceError(f"source.storage: {error}") from None
        options = {protocol: options_for(protocol, storage) for protocol in protocols}
        for protocol in {"http", "https"}.intersection(protocols if self._client else ()):
            options[protocol]["get_client"] = self._client
        if len(protocols) > 1:
            # An archive's table of contents must be read anew by each run, so its filesystem is not shared.
            options[protocols[0]]["skip_instance_cache"] = True
        try:
            filesystem, path = url_to_fs(url, **options)
        except ImportError as error:
            missing = next((_EXTRAS[name] for name in protocols if name in _EXTRAS), None)
            fix = f"pip install 'bulkinfer[{missing}]'" if missing else str(error)
            raise SourceError(
                f"{redact(url, self._storage)} needs a driver that is not installed; {fix}"
            ) from None
        except (ValueError, TypeError) as error:
            raise SourceError(
                f"cannot open {redact(url, self._storage)}: {redact(str(error), self._storage)}; check the "
                "address and source.storage"
            ) from None
        return filesystem, path
