"""Simulated days of a job: whatever dies, stalls or fails when, nothing is lost, doubled or paid twice.

A failing seed is shown with its history: `python -m pytest tests/simulation -k SEED`.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from support.simulation.job import Job
from support.simulation.stand_ins import simulated
from support.simulation.store import Disk, mounted
from support.simulation.world import Process, World

SEEDS = int(os.environ.get("BULKINFER_SEEDS", "200"))
FIRST = int(os.environ.get("BULKINFER_FIRST_SEED", "0"))
#: Histories in which the simulation once found a fault.
FOUND: list[int] = [376]


def play(seed: int) -> Job:
    """Live through one seed's history; the last launcher meets no fault."""
    world = World(seed)
    disk, dice = Disk(world), world.random
    job = Job(
        world,
        disk,
        protocol=dice.choice(("r2", "sim")),
        inputs=dice.choice((3, 8, 20)),
        workers=dice.choice((1, 1, 2, 3)),
        cluster=dice.random() < 0.5,
    )
    disk.fails = dice.choice((0.0, 0.01, 0.05))
    disk.kills = dice.choice((0.0, 0.002, 0.01))
    disk.slow = dice.choice((0.0, 0.0, 0.005, 0.02))
    with mounted(disk), simulated(world):
        launchers = [job.launch() for _ in range(dice.choice((1, 1, 2)))]
        for _ in range(dice.randrange(1, 5)):
            _disturb(world, job, launchers)
        disk.fails = disk.kills = disk.slow = 0.0
        for host_process in world.processes:
            host_process.clock_offset = 0.0
        world.run(lambda: all(one.ended for one in launchers), limit_s=world.now + 8_000)
        _finish(world, job)
        _check_end(world, job)
    return job


def _disturb(world: World, job: Job, launchers: list[Process]) -> None:
    """Some seconds pass, and then something happens."""
    dice = world.random
    until = world.now + dice.uniform(0.5, 40.0)
    world.run(lambda: world.now >= until or all(one.ended for one in world.processes))
    living = [one for one in world.processes if not one.ended]
    event = dice.choice(("kill", "kill", "pause", "clock", "launch", "host"))
    if event == "launch" or not living:
        launchers.append(job.launch())
        return
    victim = dice.choice(living)
    if event == "kill":
        victim.kill()
    elif event == "pause":
        victim.paused_until = world.now + dice.choice((5.0, 70.0, 200.0))
        world.tell(f"pause {victim.name} until {victim.paused_until:.0f}")
    elif event == "clock":
        jump = dice.choice((-3600.0, -30.0, 30.0, 3600.0))
        world.tell(f"clock of {victim.host} jumps {jump:+.0f} s")
        for one in world.processes:
            if one.host == victim.host:
                one.clock_offset += jump
    else:
        for one in [one for one in living if one.host == victim.host]:
            one.kill()


def _finish(world: World, job: Job) -> None:
    """A last launcher, and nothing that disturbs it: it ends, and within the time that claims need to expire."""
    for _ in range(3):
        before = job.finished_runs
        last = job.launch()
        world.run(lambda last=last: last.ended, limit_s=world.now + 3_000)
        world.run(lambda: all(one.ended for one in world.processes), limit_s=world.now + 8_000)
        if job.finished_runs > before and sorted(set(job.visible())) == job.names:
            return


def _check_end(world: World, job: Job) -> None:
    assert not job.broken, "\n".join([*world.history[-200:], *job.broken])
    seen = Counter(job.visible())
    lost = [name for name in job.names if not seen[name]]
    assert not lost, "\n".join([*world.history[-200:], f"lost {lost}"])
    assert set(seen.values()) == {1}, "\n".join([*world.history[-200:], f"doubled {seen}"])
    wrong = [
        task.error for process in world.processes for task in process.tasks if task.error and not task.daemon
    ]
    assert not wrong, "\n".join([*world.history[-200:], *map(repr, wrong)])


@pytest.mark.parametrize("seed", [*FOUND, *range(FIRST, FIRST + SEEDS)])
def test_whatever_happens_nothing_is_lost_doubled_or_paid_again(seed: int) -> None:
    play(seed)
