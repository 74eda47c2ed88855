"""The version of a content, as its store, its row or its own bytes tell it: by it a changed input is done again."""

from __future__ import annotations

import datetime
import hashlib
import os
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = [
    "GIVEN",
    "HASHED",
    "content_code",
    "hashed_version",
    "is_by_content",
    "local_version",
    "version_of",
]

#: Begins a version that a column of the source names, which stands whatever the store says.
GIVEN = "given:"
#: Begins a version that is a hash of the content.
HASHED = "blake2b:"
_CHECKSUM = "crc32:"
_ETAGS = ("ETag", "etag", "e_tag", "md5Hash", "content_md5")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


def version_of(info: Mapping[str, Any]) -> str:
    """A file's version as its store tells it: etag, else checksum, else size and time of change, else ""."""
    for key in _ETAGS:
        if info.get(key):
            return f"etag:{str(info[key]).strip(chr(34))}"
    if info.get("CRC") is not None:
        return f"{_CHECKSUM}{int(info['CRC']):08x},size:{info.get('size')}"
    for key in _TIMES:
        time = info.get(key)
        if time is not None and info.get("size") is not None:
            if isinstance(time, datetime.datetime):
                time = time.timestamp()
            return f"size:{info['size']},mtime:{time}"
    return ""


def local_version(stat: os.stat_result) -> str:
    """The version of a local file, the same from a listing as from an open file."""
    return f"size:{stat.st_size},mtime:{stat.st_mtime_ns}"


def hashed_version(content: bytes | str) -> str:
    """The version of a content that the source holds itself: a hash of it."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return HASHED + hashlib.blake2b(data, digest_size=16).hexdigest()


def is_by_content(version: str) -> bool:
    """Whether another version means another content, whatever the content is: it is a hash of it, or was given."""
    return version.startswith((HASHED, _CHECKSUM, GIVEN))


def content_code(data: bytes) -> int:
    """A checksum of a content and its length in eight bytes, by which a file that was only touched is told; never 0."""
    return (zlib.crc32(data) << 32 | len(data) & 0xFFFFFFFF) or 1
