"""Makes archives for tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["tar", "zipped"]


def tar(
    path: Path, contents: Mapping[str, bytes], mode: str = "w", links: Mapping[str, str] | None = None
) -> Path:
    """Write a tar of these members, and of symbolic links to their targets."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return path


def zipped(path: Path, contents: Mapping[str, bytes]) -> Path:
    """Write a ZIP file of these members, in their order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path
