"""Folders of a table's partitions, their names percent-encoded as Hive, Spark, DuckDB and PyArrow read them."""

from __future__ import annotations

import datetime
import hashlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

__all__ = ["MOST_BYTES", "NULL_FOLDER", "folder_of", "hive_path"]

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"  #: the value in the name of the folder of null
MOST_BYTES = 255  #: of a folder's name, on all common file systems
_DIGEST = 8  #: bytes, of a name that is cut


def folder_of(name: str, value: Any) -> str:
    """The folder of one key's value, however long.

    >>> folder_of("city", "La Paz/BO"), folder_of("day", None)
    ('city=La%20Paz%2FBO', 'day=__HIVE_DEFAULT_PARTITION__')
    """
    return f"{name}={_text(value)}"


def hive_path(names: Sequence[str], values: Sequence[Any], most: int = 1 << 16) -> str:
    """The path of a partition.

    A name that is too long for a file system or a path that is too long for its store is cut, with a hash at its end: a
    commit never fails by it. The source's reader has told of such a value before, in place of paying for it.

    Args:
        most: bytes of the whole path.

    >>> hive_path(["city", "day"], ["La Paz/BO", None])
    'city=La%20Paz%2FBO/day=__HIVE_DEFAULT_PARTITION__'
    """
    folders = [folder_of(name, value) for name, value in zip(names, values, strict=True)]
    path = "/".join(_short(folder, MOST_BYTES) for folder in folders)
    if len(path.encode("utf-8", "backslashreplace")) <= most:
        return path
    share = (most + 1) // len(folders) - 1
    return "/".join(
        _short(folder, max(share, len(folder.partition("=")[0]) + 2 + 2 * _DIGEST)) for folder in folders
    )


def _short(folder: str, most: int) -> str:
    data = folder.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return folder
    digest = hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()
    cut = data[: most - len(digest) - 1].decode("utf-8", "ignore")
    name, equals, value = cut.partition("=")
    return f"{name}{equals}{_whole(value)}~{digest}"


def _whole(quoted: str) -> str:
    """A quoted text that was cut, without the piece of a character at its end."""
    if "%" in quoted[-2:]:
        quoted = quoted[: quoted.rfind("%")]
    try:
        urllib.parse.unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        return _whole(quoted[: quoted.rfind("%")])
    return quoted


def _text(value: Any) -> str:
    if value is None or value == "":
        return NULL_FOLDER
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        value = value.isoformat(sep=" ")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return urllib.parse.quote(str(value), safe="", errors="backslashreplace")
