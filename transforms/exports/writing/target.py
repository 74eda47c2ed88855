"""A folder that appears whole: written beside its place under a name of its own, then renamed; or uploaded.

On another store the files are written here first. Its `manifest.json` says that they are not whole until all are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ...errors import ConfigError
from ...storage.references import shown
from ...storage.store import Store

__all__ = ["MANIFEST", "Target", "Work", "write_manifest"]

MANIFEST = "manifest.json"
_MARK = ".bulkinfer-export-"
_YOUNG_S = 3600.0  #: a folder without a lock may belong to an export that is just making it


class Work:
    """Where an export is written.

    Attributes:
        folder: what becomes the target.
        scratch: for what is needed meanwhile.
        place: the address that the folder will have.
    """

    def __init__(self, root: Path, place: str) -> None:
        self.folder, self.scratch, self.place = root / "made", root / "scratch", place
        self.folder.mkdir()
        self.scratch.mkdir()


class Target:
    """Where an export goes.

    Args:
        to: a folder that is new or an older export; a path or any fsspec URL.
        storage: fsspec options of its store.

    Raises:
        ConfigError: there is something else.
        StoreError: the store cannot be reached.
    """

    def __init__(self, to: str, storage: Mapping[str, Any] | None = None) -> None:
        self._to, self._store = shown(to), Store(to.removeprefix("file://"), storage)
        self.is_local = self._store.is_local
        self._path = Path(self._store.full_path(""))
        if self.is_local:
            other = self._path.is_file() or (self._path.is_dir() and any(self._path.iterdir()))
        else:
            other = bool(self._store.files()) or bool(self._store.directories())
        if other and not self._store.exists(MANIFEST):
            raise ConfigError(f"--to {self._to}: there is something else than an export; name a new folder")

    @property
    def place(self) -> str:
        """Its full address."""
        return str(self._path) if self.is_local else self._store.uri

    @contextlib.contextmanager
    def new(self) -> Iterator[Work]:
        """What is written takes the target's place when the block ends, and is gone if it fails.

        Raises:
            StoreError: the store does not take the files.
        """
        parent = self._path.parent if self.is_local else Path(tempfile.gettempdir())
        parent.mkdir(parents=True, exist_ok=True)
        mark = f"{_MARK}{self._path.name}." if self.is_local else f"{_MARK}upload."
        _sweep(parent, mark, self._path if self.is_local else None)
        root = Path(tempfile.mkdtemp(prefix=mark, dir=parent))
        try:
            with _locked(root):
                work = Work(root, self.place)
                yield work
                if self.is_local:
                    self._rename(root, work.folder)
                else:
                    self._upload(work.folder)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _rename(self, root: Path, made: Path) -> None:
        if self._path.exists():
            self._path.replace(root / "old")
        made.replace(self._path)

    def _upload(self, folder: Path) -> None:
        before = {entry.path for entry in self._store.find()}
        self._store.write(MANIFEST, b'{"complete": false}\n')
        files = [path for path in _files(folder) if path != folder / MANIFEST]
        for path in [*files, folder / MANIFEST]:
            name = path.relative_to(folder).as_posix()
            if path.name == MANIFEST and path.parent == folder:
                for stale in sorted(
                    before - {one.relative_to(folder).as_posix() for one in files} - {MANIFEST}
                ):
                    self._store.remove(stale)
            with path.open("rb") as source:

                def copy(file: Any, source: Any = source) -> None:
                    source.seek(0)
                    shutil.copyfileobj(source, file, 1 << 22)

                self._store.create(name, copy)


def write_manifest(folder: Path, told: Mapping[str, Any]) -> None:
    """Write what an export holds: what is told, and each file's size and hash."""
    head = json.dumps({**told, "complete": True}, indent=1, ensure_ascii=False).removesuffix("\n}")
    with (folder / f"{MANIFEST}.tmp").open("w", encoding="utf-8") as file:
        file.write(f'{head},\n "files": {{')
        separator = "\n"
        for path in _files(folder):
            if path.name == f"{MANIFEST}.tmp" or path.is_symlink():
                continue
            said = {"bytes": path.stat().st_size, "sha256": _hash(path)}
            name = json.dumps(path.relative_to(folder).as_posix(), ensure_ascii=False)
            file.write(f"{separator}  {name}: {json.dumps(said)}")
            separator = ",\n"
        file.write("\n }\n}\n")
    (folder / f"{MANIFEST}.tmp").replace(folder / MANIFEST)


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, folder by folder in the order of their names."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(files))


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process."""
    with (root / "lock").open("wb") as file:
        _take(file)
        yield


def _sweep(parent: Path, mark: str, target: Path | None) -> None:
    """Remove what exports that were killed have left here."""
    for left in parent.iterdir() if parent.is_dir() else ():
        if not left.name.startswith(mark) or not _is_left(left):
            continue
        old = left / "old"
        if target is not None and old.is_dir() and not target.exists():
            old.replace(target)  # it was killed between its two renames
        shutil.rmtree(left, ignore_errors=True)


def _is_left(root: Path) -> bool:
    try:
        with (root / "lock").open("rb") as file:
            _take(file)
            return os.name == "posix" or time.time() - root.stat().st_mtime > 24 * _YOUNG_S
    except BlockingIOError:
        return False
    except OSError:
        with contextlib.suppress(OSError):
            return time.time() - root.stat().st_mtime > _YOUNG_S
        return False


def _take(file: IO[bytes]) -> None:
    """Take a lock, where there are some; raises BlockingIOError while another process has it."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415  (there is none on Windows)

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
