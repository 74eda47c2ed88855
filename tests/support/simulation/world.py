"""A world of simulated processes: tasks that switch only where they wait, a clock that moves when all wait.

Every task is a greenlet, so that the real, blocking code runs as it stands. Whenever several could go on, the seed
decides which one does; the same seed gives the same history.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import greenlet

__all__ = ["Deadlock", "Killed", "Process", "Task", "World"]


class Killed(BaseException):
    """`kill -9` of a simulated process: not an Exception, so that no handler of ours takes it for a fault."""


class Deadlock(AssertionError):
    """Tasks wait for each other, or one waits for ever."""


class Process:
    """A simulated process: it dies with all its tasks, and nothing that they do afterwards has an effect."""

    def __init__(self, world: World, name: str, host: str) -> None:
        self.world, self.name, self.host = world, name, host
        self.pid = next(world.pids)
        self.alive = True
        self.paused_until = 0.0
        self.tasks: list[Task] = []
        self.clock_offset = 0.0  # of its host's wall clock

    def spawn(self, work: Callable[[], Any], name: str = "") -> Task:
        """Begin a thread of this process."""
        return Task(self, work, name or self.name)

    def kill(self) -> None:
        """End at once; files stay, nothing else does."""
        if not self.alive:
            return
        self.alive = False
        self.world.tell(f"kill {self.name}")
        self.world.dead += [task for task in self.tasks if not task.done]

    @property
    def paused(self) -> bool:
        """It does nothing for now, as in a machine that sleeps."""
        return self.paused_until > self.world.now

    @property
    def ended(self) -> bool:
        """It is dead, or all its tasks are done."""
        return not self.alive or all(task.done for task in self.tasks if not task.daemon)


class Task:
    """One thread of a process."""

    def __init__(self, process: Process, work: Callable[[], Any], name: str, *, daemon: bool = False) -> None:
        self.process, self.name, self.daemon = process, name, daemon
        self.world = process.world
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.wake_at: float | None = self.world.now  # None: waits until somebody wakes it
        self.woken = False
        self._work = work
        self.greenlet = greenlet.greenlet(self._run, parent=self.world.hub)
        process.tasks.append(self)
        self.world.tasks.append(self)

    def _run(self) -> None:
        try:
            self.result = self._work()
        except (Killed, greenlet.GreenletExit):
            pass
        except BaseException as error:  # noqa: BLE001  (whoever joins the task, or the scenario, looks at it)
            self.error = error
        self.done = True
        for task in self.world.tasks:  # those that join it
            if task.wake_at is None:
                task.wake_at = self.world.now

    @property
    def ready_at(self) -> float | None:
        """When it can go on; None while it waits to be woken."""
        return None if self.wake_at is None else max(self.wake_at, self.process.paused_until)


class World:
    """The scheduler, the clock and the dice.

    Args:
        seed: decides everything that happens.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.pids = iter(range(1, 1 << 30))
        self.processes: list[Process] = []
        self.tasks: list[Task] = []
        self.dead: list[Task] = []
        self.current: Task | None = None
        self.thread = threading.get_ident()
        self.history: list[str] = []
        self.hub = greenlet.getcurrent()

    def process(self, name: str, host: str) -> Process:
        """Start a process."""
        found = Process(self, name, host)
        self.processes.append(found)
        return found

    def tell(self, what: str) -> None:
        """Note an event, for the one who reads why a seed failed."""
        self.history.append(f"{self.now:9.3f} {what}")

    @property
    def outside(self) -> bool:
        """The caller is no task, so that nothing is delayed, fails or is killed."""
        return self.current is None or threading.get_ident() != self.thread

    def wait(self, seconds: float | None) -> None:
        """Let others go on for so long; None until somebody wakes this task."""
        task = self.current
        assert task is not None
        if not task.process.alive:
            raise Killed
        task.wake_at = None if seconds is None else self.now + seconds
        self.hub.switch()
        if not task.process.alive:
            raise Killed

    def wake(self, task: Task) -> None:
        """Let a waiting task go on."""
        if task.wake_at is None or task.wake_at > self.now:
            task.wake_at = self.now

    def run(self, until: Callable[[], bool], *, limit_s: float = 50_000.0) -> None:
        """Let tasks go on until a condition holds.

        Raises:
            Deadlock: it never does.
        """
        while not until():
            self._bury()
            waiting = [task for task in self.tasks if not task.done and task.process.alive]
            times = [task.ready_at for task in waiting if task.ready_at is not None]
            if not times or min(times) > limit_s:
                names = ", ".join(task.name for task in waiting)
                raise Deadlock(f"after {self.now:.0f} s these wait for ever: {names}")
            self.now = max(self.now, min(times))
            ready = [task for task in waiting if task.ready_at is not None and task.ready_at <= self.now]
            self._switch(self.random.choice(ready))
        self._bury()

    def _switch(self, task: Task) -> None:
        self.current = task
        task.wake_at = self.now
        try:
            task.greenlet.switch()
        finally:
            self.current = None
        if task.done:
            self.tasks.remove(task)

    def _bury(self) -> None:
        # What a killed task would still do in its `finally` blocks meets `Killed` wherever it waits.
        while self.dead:
            task = self.dead.pop()
            self.current = task
            try:
                if task.greenlet and not task.greenlet.dead:
                    task.greenlet.throw(Killed)
            finally:
                self.current = None
            task.done = True
            if task in self.tasks:
                self.tasks.remove(task)
