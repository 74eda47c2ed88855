"""One directory on any fsspec store, with whole-file writes that are visible complete or not at all.

How a file becomes visible depends on the store: a local file is written beside its place, synced and renamed;
an object store's PUT is atomic by itself; any other store gets a temporary file and a move. Listings are not
cached, because other processes write to the same directory.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from fsspec.core import url_to_fs

from ..errors import BulkinferError, StoreError
from .exclusive import link_new, put_new
from .faults import patiently, store_error
from .files import (
    TEMPORARY,
    Entry,
    RangeReader,
    create_local,
    create_moved,
    create_object,
    entry_of,
    sync_directory,
)
from .options import filled_in

__all__ = ["Entry", "Store", "open_filesystem"]

T = TypeVar("T")

#: A PUT of these stores shows the whole object or nothing, and they cannot rename.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "obs", "r2", "tos"}
_KEY_BYTES = 1024  #: of an object's key on S3, GCS and Azure, without its bucket
_REMOVALS = 10  #: of one directory that several processes remove at once
_TEMPORARY_BYTES = 48  #: more of a file's name while it is being written


def open_filesystem(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path inside it.

    Raises:
        StoreError: the protocol is unknown, its driver is not installed, or the options do not fit it.
    """
    try:
        options = filled_in(options or {})
    except ValueError as error:
        raise StoreError(f"output.storage: {error}") from None
    protocol = url.partition("://")[0] if "://" in url and "::" not in url else "file"
    if protocol in _OBJECT_STORES:
        options.setdefault("use_listings_cache", False)
    try:
        filesystem, path = url_to_fs(url, **options)
    except (ImportError, ValueError, TypeError, OSError) as error:
        raise store_error("open", url, error, options) from error
    return filesystem, path


class Store:
    """A directory on a store: relative paths in, whole files out; pickles, and survives a fork.

    A missing file raises FileNotFoundError where a file is read; every other fault raises StoreError, after
    retries where the fault is one that passes.

    Args:
        uri: the directory, a path or any fsspec URL.
        storage: fsspec options of the store; they may hold secrets and appear in no message.
    """

    def __init__(self, uri: str, storage: Mapping[str, Any] | None = None) -> None:
        # Workers may run in another directory, so a relative path is resolved where it was written.
        plain = "://" not in uri and "::" not in uri
        self.uri = str(Path(uri).expanduser().absolute()) if plain else uri.rstrip("/") or uri
        self.storage = dict(storage or {})
        self._opened: tuple[int, Any, str] | None = None

    def __repr__(self) -> str:
        return f"Store({self.uri!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _open(self) -> tuple[Any, str]:
        # A forked child must not use its parent's connections or event loop.
        if self._opened is None or self._opened[0] != os.getpid():
            filesystem, root = open_filesystem(self.uri, self.storage)
            self._opened = (os.getpid(), filesystem, root.rstrip("/"))
        return self._opened[1], self._opened[2]

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem, of this process."""
        return self._open()[0]

    @property
    def protocol(self) -> str:
        """The filesystem's first protocol name, e.g. "file" or "s3"."""
        name = self.filesystem.protocol
        return str(name if isinstance(name, str) else name[0])

    @property
    def is_local(self) -> bool:
        """True for files of this machine."""
        return self.protocol in ("file", "local")

    @property
    def can_rename(self) -> bool:
        """True where a move is one cheap step of the store; object stores copy and delete."""
        return self.protocol not in _OBJECT_STORES

    @property
    def path_bytes(self) -> int:
        """Bytes that a path below the directory may have; a file being written has a longer name for a while."""
        root = self._open()[1]
        if not self.is_local:
            return _KEY_BYTES - len(root.partition("/")[2].encode()) - 1
        most = os.pathconf("/", "PC_PATH_MAX") if hasattr(os, "pathconf") else _KEY_BYTES
        return most - len(os.fsencode(root)) - len("/") - _TEMPORARY_BYTES

    def full_path(self, path: str) -> str:
        """The path that the filesystem knows."""
        root = self._open()[1]
        return f"{root}/{path}" if path else root

    def url(self, path: str = "") -> str:
        """The full address, for messages."""
        return f"{self.uri}/{path}" if path else self.uri

    @contextlib.contextmanager
    def telling(self, action: str, path: str) -> Iterator[None]:
        """Turn any foreign fault inside the block into the StoreError of this place."""
        try:
            yield
        except BulkinferError:
            raise
        except FileNotFoundError as error:
            if action == "write":
                raise store_error(action, self.url(path), error, self.storage) from error
            raise
        except Exception as error:
            raise store_error(action, self.url(path), error, self.storage) from error

    def _run(self, action: str, path: str, work: Callable[[], T]) -> T:
        with self.telling(action, path):
            return patiently(work, what=f"{action} {path}", local=self.is_local)

    def read(self, path: str) -> bytes:
        """A file's bytes; FileNotFoundError when it is not there."""
        full = self.full_path(path)
        if self.is_local:
            return self._run("read", path, Path(full).read_bytes)
        return self._run("read", path, lambda: cast(bytes, self.filesystem.cat_file(full)))

    def open(self, path: str) -> IO[bytes]:
        """A seekable reader; every range that it fetches is retried like any other access."""
        if self.is_local:
            return self._run("read", path, lambda: Path(self.full_path(path)).open("rb"))
        entry = self.info(path)
        if entry is None:
            raise FileNotFoundError(self.url(path))
        return cast(
            "IO[bytes]", RangeReader(lambda start, end: self.read_range(path, start, end), entry.size)
        )

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (exclusive) of a file."""
        full = self.full_path(path)
        return self._run(
            "read", path, lambda: cast(bytes, self.filesystem.cat_file(full, start=start, end=end))
        )

    def write(self, path: str, data: bytes) -> None:
        """Make `data` the file's whole content, atomically."""
        if self.is_local or self.protocol not in {*_OBJECT_STORES, "memory"}:
            self.create(path, lambda file: file.write(data))
        else:
            full = self.full_path(path)
            self._run("write", path, lambda: self.filesystem.pipe_file(full, data))

    def create_new(self, path: str, data: bytes) -> bool:
        """Create a file where there is none, atomically; False where one of another content is there.

        The content must say who wrote it: a store may create it and lose the answer, so only the content tells who won.
        """
        full = self.full_path(path)

        def work() -> bool:
            return link_new(Path(full), data) if self.is_local else put_new(self.filesystem, full, data)

        return self._run("write", path, work) or self.read(path) == data

    def create(self, path: str, write: Callable[[IO[bytes]], T]) -> T:
        """Let `write` fill a new file that becomes visible, complete, when it returns.

        `write` is called again from the start when the store fails in a way that passes, so it must be
        repeatable. Errors of this package pass through, any other becomes StoreError; nothing is left behind.
        """
        if self.is_local:
            return self._run("write", path, lambda: create_local(Path(self.full_path(path)), write))
        return self._run("write", path, lambda: self._create_remote(self.full_path(path), write))

    def _create_remote(self, full: str, write: Callable[[IO[bytes]], T]) -> T:
        if self.protocol in _OBJECT_STORES:
            return create_object(self.filesystem, full, write)
        if self.protocol != "memory":
            return create_moved(self.filesystem, full, write)
        buffer = io.BytesIO()
        result = write(buffer)
        self.filesystem.pipe_file(full, buffer.getvalue())
        return result

    def copy(self, source: str, target: str) -> None:
        """Copy a file inside the store; the copy is visible complete or not at all."""
        if self.can_rename:

            def transfer(file: IO[bytes]) -> None:
                with self.open(source) as reader:
                    shutil.copyfileobj(reader, file, 1 << 22)

            self.create(target, transfer)
        else:
            paths = self.full_path(source), self.full_path(target)
            self._run("write", target, lambda: self.filesystem.cp_file(*paths))

    def move(self, source: str, target: str) -> None:
        """Give a file another name, in place of an older target; an object store copies and deletes."""
        if self.is_local:
            paths = Path(self.full_path(source)), Path(self.full_path(target))
            with self.telling("write", target):
                paths[1].parent.mkdir(parents=True, exist_ok=True)
                paths[0].replace(paths[1])
                sync_directory(paths[1].parent)
        else:
            self.copy(source, target)
            self.remove(source)

    def remove(self, path: str) -> None:
        """Delete a file; one that is already gone is fine."""
        full = self.full_path(path)
        with contextlib.suppress(FileNotFoundError):
            self._run("delete", path, lambda: self.filesystem.rm_file(full))

    def remove_tree(self, path: str) -> None:
        """Delete a directory and all in it; one that is already gone is fine."""
        full = self.full_path(path)

        def work() -> None:
            for _ in range(_REMOVALS):
                self.filesystem.invalidate_cache()
                if not self.filesystem.exists(full):
                    return
                with contextlib.suppress(FileNotFoundError):  # another removes the same at this moment
                    self.filesystem.rm(full, recursive=True)

        with contextlib.suppress(FileNotFoundError):
            self._run("delete", path, work)

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        return self.info(path) is not None

    def info(self, path: str) -> Entry | None:
        """A file's size and time, or None when there is no such file."""
        full = self.full_path(path)

        def work() -> Entry | None:
            self.filesystem.invalidate_cache(full)
            try:
                found = self.filesystem.info(full)
            except FileNotFoundError:
                return None
            return None if found["type"] == "directory" else entry_of(path, found)

        return self._run("read", path, work)

    def files(self, directory: str = "") -> list[Entry]:
        """The files directly in a directory, by name; none when there is no such directory."""
        return [entry for entry, is_directory in self._list(directory) if not is_directory]

    def directories(self, directory: str = "") -> list[str]:
        """The paths of the directories directly in a directory, sorted."""
        return [entry.path for entry, is_directory in self._list(directory) if is_directory]

    def _list(self, directory: str) -> list[tuple[Entry, bool]]:
        full = self.full_path(directory)

        def work() -> list[tuple[Entry, bool]]:
            self.filesystem.invalidate_cache(full)
            try:
                found = self.filesystem.ls(full, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
            entries = []
            for item in found:
                name = item["name"].rstrip("/").rpartition("/")[2]
                # An object store may hold an empty object that marks a directory and has its very name.
                if item["name"].strip("/") == full.strip("/") or name.endswith(TEMPORARY):
                    continue
                path = f"{directory}/{name}" if directory else name
                entries.append((entry_of(path, item), item["type"] == "directory"))
            return sorted(entries, key=lambda entry: entry[0].path)

        return self._run("list", directory, work)

    def find(self, directory: str = "") -> list[Entry]:
        """All files below a directory, by path; none when there is no such directory."""
        full = self.full_path(directory)

        def work() -> list[Entry]:
            self.filesystem.invalidate_cache()
            found = self.filesystem.find(full, detail=True)
            prefix = full.rstrip("/") + "/"
            return sorted(
                (
                    entry_of("/".join(filter(None, (directory, name.removeprefix(prefix)))), item)
                    for name, item in found.items()
                    if not name.endswith(("/", TEMPORARY)) and item["type"] != "directory"
                ),
                key=lambda entry: entry.path,
            )

        return self._run("list", directory, work)
