"""From a reference to the fsspec filesystem that holds it, and the path inside.

A source has one set of storage options, but its references may lie on several stores: a local manifest names
objects on S3, a pattern looks into a zip file on GCS. So `storage` may be flat, for the one remote store of
the source, or nested by protocol (`storage: {s3: {...}, https: {...}}`); flat options never reach local
files, archives or HTTP.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from ..errors import SourceError
from .faults import redact

__all__ = [
    "Filesystems",
    "local_path",
    "options_for",
    "protocol_of",
    "references_in",
    "resolve",
    "split_chain",
]

_LOCAL = ("file", "local")
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
    head = url.partition("::")[0]
    protocol, sep, _ = head.partition("://")
    if sep:
        return protocol
    return "file" if "::" not in url else head


def split_chain(url: str) -> tuple[str, str]:
    """The member and the archive of a chained URL, the latter with its `::`; ("path", "") of a plain one."""
    head, sep, rest = url.partition("::")
    return (head, sep + rest)


def local_path(url: str) -> str | None:
    """The path of a local file, or None when the URL is on another store or inside an archive."""
    if "::" in url:
        return None
    protocol, sep, path = url.partition("://")
    if not sep:
        return url
    return path if protocol in _LOCAL else None


def references_in(value: Any) -> Any:
    """The references of a column's list, which a CSV holds as JSON; any other value as it is."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value  # a file's name may begin like that
    return value


def resolve(uri: str, base: str) -> str:
    """A reference as a manifest in the folder `base` means it: relative paths are relative to that folder."""
    if uri.startswith("/") or not base:
        return uri
    head, sep, last = uri.rpartition("::")
    if "://" in last or last.startswith("/"):
        return uri
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


class Filesystems:
    """The filesystems that one worker or one check uses, opened once each.

    Args:
        storage: fsspec options of the source, flat or nested by protocol.
    """

    def __init__(self, storage: Mapping[str, Any]) -> None:
        self._storage = storage
        self._opened: dict[tuple[str, str], Any] = {}

    def open(self, url: str) -> tuple[Any, str]:
        """The filesystem and the path inside it.

        Raises:
            SourceError: the protocol is unknown, its driver is not installed, or its options do not fit.
            OSError: the archive or the store that holds the file cannot be opened.
        """
        head, rest = split_chain(url)
        protocol, sep, _ = head.partition("://")
        if not sep and rest:
            return self._connect(url)
        key = (protocol if sep else "file", rest)
        filesystem = self._opened.get(key)
        if filesystem is None:
            filesystem, path = self._connect(url)
            self._opened[key] = filesystem
            return filesystem, path
        return filesystem, filesystem._strip_protocol(head)

    def _connect(self, url: str) -> tuple[Any, str]:
        protocols = [protocol_of(bit) for bit in url.split("::")]
        options = {protocol: options_for(protocol, self._storage) for protocol in protocols}
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
