"""A simulated store: an fsspec filesystem in memory whose requests take time, fail, or see their process killed.

Under `r2://` it is an object store (a PUT shows the whole object, a rename does not exist), under `sim://` one that
renames.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import fsspec
from fsspec.spec import AbstractFileSystem

from .world import World

__all__ = ["Disk", "mounted"]

T = TypeVar("T")


class Disk:
    """The files of a world, and the faults of the way to them.

    Args:
        world: whose tasks use it.

    Attributes:
        files: by path, bytes and the store's time of writing.
        fails: chance that a request fails, before or after its effect.
        kills: chance that its process is killed at a request.
        slow: chance that a request takes up to two minutes.
        changed: called after every effect with the path.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.files: dict[str, tuple[bytes, float]] = {}
        self.fails = self.kills = self.slow = 0.0
        self.changed: Callable[[str], None] = lambda path: None

    def request(self, what: str, path: str, effect: Callable[[], T]) -> T:
        """One request of the current task: it takes time, and may fail or be the last of its process."""
        world = self.world
        if world.outside:
            return effect()
        dice = world.random
        assert world.current is not None
        process = world.current.process
        world.wait(dice.uniform(5.0, 120.0) if dice.random() < self.slow else dice.uniform(0.001, 0.1))
        fate = dice.random()
        if fate < self.kills / 2:
            process.kill()
            world.wait(0.0)
        if fate > 1 - self.fails / 2:
            world.tell(f"{process.name} {what} {path}: fails before")
            raise ConnectionError("reset by peer")
        result = effect()
        if what not in ("read", "list", "info"):
            world.tell(f"{process.name} {what} {path}")
            self.changed(path)
        if fate < self.kills:
            process.kill()
            world.wait(0.0)
        world.wait(dice.uniform(0.0, 0.05))
        if fate > 1 - self.fails:
            world.tell(f"{process.name} {what} {path}: done, but fails after")
            raise ConnectionError("reset by peer")
        return result


_mounted: list[Disk] = []


class mounted:
    """The disk that `r2://` and `sim://` mean inside the block."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __enter__(self) -> None:
        fsspec.register_implementation("r2", _ObjectStore, clobber=True)
        fsspec.register_implementation("sim", _Renaming, clobber=True)
        _mounted.append(self._disk)

    def __exit__(self, *_: object) -> None:
        _mounted.pop()


class _Upload(io.BytesIO):
    def __init__(self, filesystem: _ObjectStore, path: str, *, now: bool) -> None:
        super().__init__()
        self._filesystem, self._path, self._now = filesystem, path, now
        self._data: bytes | None = None

    def close(self) -> None:
        if not self.closed:
            self._data = self.getvalue()
            super().close()
            if self._now:
                self.commit()

    def commit(self) -> None:
        assert self._data is not None
        self._filesystem.pipe_file(self._path, self._data)

    def discard(self) -> None:
        self._data = None


class _ObjectStore(AbstractFileSystem):
    protocol = "r2"
    cachable = False

    @property
    def _disk(self) -> Disk:
        return _mounted[-1]

    def _request(self, what: str, path: str, effect: Callable[[], T]) -> T:
        return self._disk.request(what, path, effect)

    def _put(self, path: str, data: bytes) -> None:
        # Whole seconds, as S3 tells them.
        self._disk.files[path] = (data, float(int(1.7e9 + self._disk.world.now)))

    def _entry(self, path: str) -> dict[str, Any]:
        data, written = self._disk.files[path]
        return {"name": path, "size": len(data), "type": "file", "mtime": written}

    def cat_file(self, path: str, start: Any = None, end: Any = None, **_: Any) -> bytes:
        def effect() -> bytes:
            if path not in self._disk.files:
                raise FileNotFoundError(path)
            return self._disk.files[path][0][start:end]

        # A range is read by Arrow's C++ code, in which no task may switch.
        return effect() if start is not None else self._request("read", path, effect)

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        self._request("put", path, lambda: self._put(path, bytes(value)))

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "wb":
            raise NotImplementedError(mode)
        return _Upload(self, path, now=options.get("autocommit", True))

    def rm_file(self, path: str) -> None:
        def effect() -> None:
            if path not in self._disk.files:
                raise FileNotFoundError(path)
            del self._disk.files[path]

        self._request("delete", path, effect)

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        for one in sorted(name for name in self._disk.files if name.startswith(path + "/")):
            self._request("delete", one, lambda one=one: self._disk.files.pop(one, None))

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        def effect() -> None:
            if path1 not in self._disk.files:
                raise FileNotFoundError(path1)
            self._put(path2, self._disk.files[path1][0])

        self._request("copy", path2, effect)

    def exists(self, path: str, **_: Any) -> bool:
        return self._request("info", path, lambda: path in self._disk.files or any(self._below(path)))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if path in self._disk.files:
                return self._entry(path)
            if any(self._below(path)):
                return {"name": path, "size": 0, "type": "directory"}
            raise FileNotFoundError(path)

        return self._request("info", path, effect)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        def effect() -> list[Any]:
            folders, found = set(), []
            for name in self._below(path):
                rest = name[len(path) + 1 :]
                if "/" in rest:
                    folders.add(f"{path}/{rest.partition('/')[0]}")
                else:
                    found.append(self._entry(name))
            if not folders and not found:
                raise FileNotFoundError(path)
            return found + [{"name": one, "size": 0, "type": "directory"} for one in sorted(folders)]

        return self._request("list", path, effect)

    def find(self, path: str, detail: bool = False, **_: Any) -> Any:
        return self._request("list", path, lambda: {name: self._entry(name) for name in self._below(path)})

    def _below(self, path: str) -> Iterator[str]:
        return (name for name in sorted(self._disk.files) if name.startswith(path + "/"))


class _Renaming(_ObjectStore):
    protocol = "sim"

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        def effect() -> None:
            if path1 not in self._disk.files:
                raise FileNotFoundError(path1)
            self._disk.files[path2] = self._disk.files.pop(path1)

        self._request("rename", path2, effect)
