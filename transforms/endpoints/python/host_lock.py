"""Lets one process of a host make its model before the others do, so that what it downloads is downloaded once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["one_at_first"]


@contextlib.contextmanager
def one_at_first(name: str) -> Iterator[None]:
    """Hold the block's lock: whoever comes first alone, all that came meanwhile together afterwards.

    The first process finds nobody and locks the file for itself; the others wait until it is done, and then share the
    lock, so that models that are downloaded by now are loaded side by side. The lock ends with its process.

    Args:
        name: of what is made; others of this host's user wait for the same name only.
    """
    if sys.platform == "win32":  # it has no such lock, and each process makes its model by itself
        yield
    else:
        folder = Path(tempfile.gettempdir()) / f"bulkinfer-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(file, fcntl.LOCK_SH)
            yield
