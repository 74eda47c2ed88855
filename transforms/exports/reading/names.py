"""Names of pictures' files: below the folder that all have in common, none outside of it, and no two of one stem."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import numpy as np

__all__ = ["Names", "path_of", "suffix_of"]

#: What moves a terminal's cursor or turns a line's direction, and what some file systems take for a folder's end.
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\\]")
_MOST_BYTES = 160  #: of a part of a path; what is added to it has to fit into 255
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")
_FRAME_SUFFIX = ".jpg"


def path_of(uri: str | None, input_id: str) -> str:
    """The path of an input's file, with "/", without scheme and host, parts that climb, and signs that nobody sees."""
    inner = (uri or input_id).split("::", maxsplit=1)[0]
    try:
        parts = urlsplit(inner)
        path = parts.path if parts.scheme and parts.netloc else inner
    except ValueError:  # a host that is none
        path = inner
    kept = [_part(part) for part in path.split("/") if part not in ("", ".", "..")]
    return "/".join(kept) or "unnamed"


def suffix_of(name: str) -> str:
    """The suffix of a name: ".jpg"; "" without one."""
    found = _SUFFIX.search(name)
    return found[0] if found else ""


class Names:
    """Collects the paths of all rows, then names each.

    A row of a video is a frame and named as a picture; one of several outputs of an input has its number.
    """

    def __init__(self) -> None:
        self._stems: list[Any] = []
        self._common: str | None = None
        self._double: frozenset[int] = frozenset()

    def add(self, rows: Iterable[tuple[str, str | None, int | None, int]]) -> None:
        """Add rows: input_id, uri, frame_index and output_index of each."""
        stems = []
        for input_id, uri, frame, output in rows:
            path = path_of(uri, input_id)
            folder = path.rpartition("/")[0]
            if self._common is None:
                self._common = folder
            elif folder != self._common and not folder.startswith(f"{self._common}/"):
                self._common = posixpath.commonpath([self._common, folder]) if self._common and folder else ""
            stems.append(_code(_stem(_numbered(path, frame, output))))
        self._stems.append(np.array(stems, np.uint64))

    def close(self) -> None:
        """All paths are there."""
        if self._stems:
            stems, counts = np.unique(np.concatenate(self._stems), return_counts=True)
            self._double = frozenset(stems[counts > 1].tolist())
        self._stems = []

    def of(self, input_id: str, uri: str | None, frame: int | None, output: int) -> str:
        """The name of a row, one of those that were added."""
        path = path_of(uri, input_id)
        name = _numbered(path, frame, output)
        if self._double and _code(_stem(name)) in self._double:
            # Of the input itself, so that it is the same in the next export.
            code = hashlib.blake2b(f"{input_id}\n{output}".encode(), digest_size=4).hexdigest()
            name = f"{_stem(name)}~{code}{suffix_of(name)}"
        return name[len(self._common) + 1 :] if self._common else name


def _part(part: str) -> str:
    clean = _ODD.sub("_", part)
    data = clean.encode("utf-8", "replace")
    if len(data) <= _MOST_BYTES:
        return clean
    suffix = suffix_of(clean)
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    return data[: _MOST_BYTES - 25].decode("utf-8", "ignore") + f"~{digest}{suffix}"


def _numbered(path: str, frame: int | None, output: int) -> str:
    if frame is not None:
        return f"{path}_frame{frame:06d}{_FRAME_SUFFIX}"
    return f"{path}_output{output:06d}" if output else path


def _stem(name: str) -> str:
    return name.removesuffix(suffix_of(name))


def _code(text: str) -> int:
    """Eight bytes of a hash; of both cases alike, as some file systems take them for one."""
    return int.from_bytes(hashlib.blake2b(text.casefold().encode(), digest_size=8).digest(), "big")
