"""Stand-ins for `time`, `threading`, `os`, `secrets` and thread pools, as the real code imports them."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import tenacity
from bulkinfer.transforms.calls.limits import divided
from bulkinfer.transforms.runs import claims, control, lock, parts, rebalance, record
from bulkinfer.transforms.storage import files
from bulkinfer.transforms.tables import revalidation
from bulkinfer.transforms.tables.commit import claim, commit, recovery
from bulkinfer.transforms.tables.staging import part_writer

from .world import Task, World

__all__ = ["simulated"]

_EPOCH = 1.7e9


class _Time:
    """`time`: the world's clock; the wall clock of a host may jump."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return self._world.now

    perf_counter = monotonic

    def time(self) -> float:
        task = self._world.current
        return _EPOCH + self._world.now + (task.process.clock_offset if task else 0.0)

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def sleep(self, seconds: float) -> None:
        self._world.wait(seconds)


class _Lock:
    def __init__(self, world: World) -> None:
        self._world = world
        self._owner: Task | None = None

    def acquire(self) -> bool:
        while self._owner is not None and not self._owner.done:
            self._world.wait(0.001)
        self._owner = self._world.current
        return True

    def release(self) -> None:
        self._owner = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _Condition(_Lock):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._waiting: list[Task] = []

    def wait(self, timeout: float | None = None) -> None:
        task = self._world.current
        assert task is not None
        self.release()
        self._waiting.append(task)
        try:
            self._world.wait(timeout)
        finally:
            if task in self._waiting:
                self._waiting.remove(task)
        self.acquire()

    def notify_all(self) -> None:
        for task in self._waiting:
            self._world.wake(task)


class _Event:
    def __init__(self, world: World) -> None:
        self._world = world
        self._set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for task in self._waiting:
            self._world.wake(task)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        task, world = self._world.current, self._world
        assert task is not None
        end = None if timeout is None else world.now + timeout
        self._waiting.append(task)
        try:
            while not self._set and (end is None or world.now < end):
                world.wait(None if end is None else end - world.now)
        finally:
            self._waiting.remove(task)
        return self._set


class _Thread:
    def __init__(
        self,
        world: World,
        target: Callable[..., Any],
        name: str = "",
        args: tuple[Any, ...] = (),
        daemon: bool = False,
    ) -> None:
        assert world.current is not None
        self._world, self._process = world, world.current.process
        self._make = lambda: Task(
            self._process, lambda: target(*args), f"{self._process.name}/{name}", daemon=daemon
        )
        self._task: Task | None = None

    def start(self) -> None:
        self._task = self._make()

    def join(self) -> None:
        assert self._task is not None
        while not self._task.done:
            self._world.wait(0.01)


class _Pool:
    """A `ThreadPoolExecutor` whose tasks really interleave."""

    def __init__(self, world: World, max_workers: int = 1) -> None:
        self._world, self._most = world, max_workers

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        todo = list(items)
        if self._world.outside or self._most == 1:
            return iter([work(item) for item in todo])
        assert self._world.current is not None
        process = self._world.current.process
        tasks = [
            Task(process, lambda item=item: work(item), f"{process.name}/pool", daemon=True) for item in todo
        ]
        while not all(task.done for task in tasks):
            self._world.wait(0.01)
        for task in tasks:
            if task.error is not None:
                raise task.error
        return iter([task.result for task in tasks])


class _Module:
    """A module of which some names are replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@contextlib.contextmanager
def simulated(world: World) -> Iterator[None]:
    """Let the real code of `runs`, `tables` and `calls.limits` run in this world inside the block."""

    def own(maker: Any) -> Callable[..., Any]:
        return lambda *args, **keys: maker(world, *args, **keys)

    def machine() -> str:
        assert world.current is not None
        return f"{world.current.process.host}/boot"

    def started(pid: int) -> str:
        found = [one for one in world.processes if one.pid == pid]
        return f"start-{pid}" if found and found[0].alive else ""

    def pid() -> int:
        return world.current.process.pid if world.current else 0

    time = _Time(world)
    threads = _Module(
        None, Thread=own(_Thread), Event=own(_Event), Lock=own(_Lock), Condition=own(_Condition)
    )
    dice = _Module(secrets, token_hex=lambda size: f"{world.random.getrandbits(8 * size):0{2 * size}x}")
    system = _Module(
        os, getpid=pid, urandom=lambda size: world.random.getrandbits(8 * size).to_bytes(size, "big")
    )
    state = random.getstate()
    random.seed(world.random.random())  # the pauses of `tenacity` and of committers that wait
    with contextlib.ExitStack() as stack:

        def put(module: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(module, name, value))

        for module in (claims, lock, parts, rebalance, part_writer, recovery, claim, divided, tenacity.nap):
            put(module, "time", time)
        for module in (claims, control, rebalance, part_writer, revalidation):
            put(module, "threading", threads)
        for module in (record, commit, revalidation):
            put(module, "ThreadPoolExecutor", own(_Pool))
        for module in (files, rebalance, claim, commit):
            put(module, "secrets", dice)
        put(claims, "os", system)
        put(parts, "os", system)
        put(claims, "_machine", machine)
        put(claims, "_process_start", started)
        put(record, "_versions", dict)
        try:
            yield
        finally:
            random.setstate(state)
