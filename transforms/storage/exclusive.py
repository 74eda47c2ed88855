"""How a file is created only where there is none: of several processes that try, the store itself lets one win."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import fsspec

from .files import TEMPORARY, sync_directory

__all__ = ["link_new", "may_create_new", "put_new"]


def may_create_new(protocol: str) -> bool:
    """Whether stores of an fsspec protocol can create a file only where there is none, in one request.

    Some such stores still cannot. Drivers of other stores look first and then write, which decides nothing between two.
    """
    return protocol in {"file", "local", "s3", "s3a", "gs", "gcs"}


def link_new(path: Path, data: bytes) -> bool:
    """Create a local file, whole and durable; False where there is one. A hard link fails where the name is taken.

    Raises:
        OSError: the disk is at fault, or knows no hard links.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def put_new(filesystem: fsspec.AbstractFileSystem, full: str, data: bytes) -> bool:
    """Create an object by one conditional PUT (S3: `If-None-Match: *`; GCS: generation 0); False where there is one."""
    try:
        filesystem.pipe_file(full, data, mode="create")
    except Exception as error:
        if _is_taken(error):
            return False
        raise
    return True


def _is_taken(error: BaseException) -> bool:
    """HTTP status 412, whatever the driver makes of it; 409 tells of two at once, and one is to try again."""
    if isinstance(error, FileExistsError):
        return True
    response: Any = getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code", getattr(error, "code", None))
    return str(code) in ("412", "PreconditionFailed")
