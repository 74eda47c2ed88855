"""A folder that appears whole: written beside its place under a name of its own, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError

__all__ = ["MANIFEST", "check_target", "new_folder", "write_manifest"]

MANIFEST = "manifest.json"


def check_target(to: str) -> Path:
    """The folder of an export, which may be there as an older export.

    Raises:
        ConfigError: it lies on no local disk, or holds something else.
    """
    if "://" in to.removeprefix("file://"):
        raise ConfigError(f"--to {to}: an export is written to a local folder; copy it from there")
    target = Path(to.removeprefix("file://"))
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file()):
        raise ConfigError(f"--to {to}: there is something else than an export; name a new folder")
    return target


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that takes the target's place when the block ends, and is gone if it fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield made
        made.chmod(0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
            target.replace(old / "old")
            made.replace(target)
            shutil.rmtree(old)
        else:
            made.replace(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def write_manifest(folder: Path, told: Mapping[str, Any]) -> None:
    """Write what an export holds: what is told, and each file's size and hash."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _hash(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    text = json.dumps({**told, "files": files}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
