"""A job in a simulated world: launchers, workers and committers over the real code of `runs/` and `tables/`.

What is simulated of a launcher and a worker is the order of their steps alone, as `pipelines.jobs` and the transforms
have it; locks, claims, parts, commits, recovery, resume and stop markers are the product's.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bulkinfer.transforms.errors import BulkinferError, StoppedError
from bulkinfer.transforms.records import Failure, Reference
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from bulkinfer.transforms.runs.lock import RunLock
from bulkinfer.transforms.runs.parts import (
    SEGMENT,
    OutputSpec,
    commit_path,
    part_path,
    read_manifest,
    run_directory,
)
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.commit.steps import read_plan
from bulkinfer.transforms.tables.completed import CompletedIndex, CompletedSpec
from bulkinfer.transforms.tables.input_index import InputIndex, hash_ids
from bulkinfer.transforms.tables.staging.part_writer import PartWriter

from support.tables import failure, make_spec, prediction

from .store import Disk
from .world import Process, World

__all__ = ["Job"]

ROOT = "lake/out"


class Job:
    """One output, the inputs that belong there, and what must hold at every step.

    Args:
        world: where it runs.
        disk: holds the output.
        protocol: `r2` or `sim`.
        inputs: how many there are; every fifth is refused by the model.
        workers: of a launcher, each a process on a host of its own.
        cluster: workers go on when their launcher dies, and the last of them commits.

    Attributes:
        paid: how often each input was sent.
    """

    def __init__(
        self, world: World, disk: Disk, *, protocol: str, inputs: int, workers: int, cluster: bool
    ) -> None:
        self.world, self.disk, self.protocol = world, disk, protocol
        self.names = [f"i{number:03d}" for number in range(inputs)]
        self.bad = set(self.names[::5])
        self.workers, self.cluster = workers, cluster
        self.paid: Counter[str] = Counter()
        self.broken: list[str] = []
        self.finished_runs = 0
        self._durable: set[bytes] = set()  # hashed inputs
        self._parsed: dict[tuple[str, bytes], list[str]] = {}
        self._number = 0
        self.part_seconds = world.random.choice((1.0, 4.0, 60.0))
        disk.changed = self._check

    # What must hold at every step.

    def _check(self, path: str) -> None:
        short = path.removeprefix(f"{ROOT}/")
        if short.startswith(("predictions/", "errors/", "masks/")):
            for name, times in Counter(self.visible()).items():
                if times > 1:
                    self.broken.append(
                        f"{self.world.now:.3f} a reader sees {name} {times} times after {short}"
                    )
        if not short.startswith("_runs/") or path not in self.disk.files:
            return
        run_id = short.split("/")[1]
        data = self.disk.files[path][0]
        if "/parts/" in short and short.endswith(".json") and not self._committing(run_id):
            self._durable.update(self._codes_of(data))
        elif short.endswith(SEGMENT) and not self._committing(run_id):
            index = pa.ipc.open_file(data).get_batch(0).column("index")[0].as_buffer()
            self._durable.update(_codes(pa.ipc.open_stream(index).read_all()))
        elif short == commit_path(run_id):
            # What a part holds that came while its run was being committed counts once the plan names it.
            for part_id in read_plan(data, "").parts:
                self._durable.update(
                    self._codes_of(self.disk.files[f"{ROOT}/{part_path(run_id, part_id)}"][0])
                )

    def _committing(self, run_id: str) -> bool:
        return any(
            name.startswith((f"{ROOT}/{run_directory(run_id)}/committing-", f"{ROOT}/{commit_path(run_id)}"))
            for name in self.disk.files
        )

    def _codes_of(self, data: bytes) -> list[bytes]:
        index = read_manifest(data, "").files["index"].path
        return _codes(pq.read_table(io.BytesIO(self.disk.files[f"{ROOT}/{index}"][0])))

    def visible(self) -> list[str]:
        """Every input that a reader sees, as often as it sees it; a file that is not whole raises."""
        found: list[str] = []
        for path, (data, _) in self.disk.files.items():
            short = path.removeprefix(f"{ROOT}/")
            if short.startswith(("predictions/", "errors/")) and short.endswith(".parquet"):
                key = (short, data)
                if key not in self._parsed:
                    self._parsed[key] = pq.read_table(io.BytesIO(data), columns=["input_id"])[
                        "input_id"
                    ].to_pylist()
                found += self._parsed[key]
        return found

    def durable(self, name: str) -> bool:
        """Whether an input's answer is in a part that no commit may leave out: paying for it again is a fault."""
        return hash_ids([name]).tobytes() in self._durable

    # The processes.

    def launch(self) -> Process:
        """Start a launcher: what the user types."""
        self._number += 1
        name, run_id = f"launcher{self._number}", f"2026-{self._number:03d}"
        process = self.world.process(name, self.world.random.choice(("laptop", "server")))
        process.spawn(lambda: self._launcher(process, run_id), name)
        return process

    def _spec(self, run_id: str) -> OutputSpec:
        return make_spec(
            f"{self.protocol}://{ROOT}", run_id, part_seconds=self.part_seconds, file_bytes=1 << 20
        )

    def _launcher(self, process: Process, run_id: str) -> None:
        spec = self._spec(run_id)
        store = spec.store()
        runner = {"runner": {"name": "flink" if self.cluster else "direct"}}
        with contextlib.suppress(BulkinferError), RunLock(store, run_id):
            recover(store)
            begin_run(store, spec, runner)
            workers = [self._start_worker(process, spec, number) for number in range(self.workers)]
            while not all(worker.ended for worker in workers):
                self.world.wait(0.5)
            commit_run(store, run_id, complete=False)
            self.finished_runs += 1

    def _start_worker(self, launcher: Process, spec: OutputSpec, number: int) -> Process:
        host = f"host{number}" if self.cluster else launcher.host
        worker = self.world.process(f"{launcher.name}.worker{number}", host)
        worker.spawn(lambda: self._worker(launcher, worker, spec, number))
        return worker

    def _worker(self, launcher: Process, worker: Process, spec: OutputSpec, number: int) -> None:
        store, dice = spec.store(), self.world.random
        completed = CompletedIndex.read(
            store, CompletedSpec(spec.uri, run_id=spec.run_id, fingerprint=spec.fingerprint, revalidate=False)
        )
        references = [Reference(name, f"mem://{name}", "image", "v1") for name in self.names]
        todo = completed.divide(references).kept
        control = JobControl(ControlSpec(spec.uri, {}, spec.run_id))
        writer = PartWriter(spec, store)
        looked = float("-inf")  # the watcher looks at once: the run may be over when its worker begins
        with contextlib.closing(writer), contextlib.suppress(StoppedError):
            for reference in todo[number :: self.workers]:
                if self.world.now >= looked + 2.0:
                    control.poll()
                    looked = self.world.now
                if control.stopped or not (self.cluster or launcher.alive):
                    break
                writer.add(self._call(spec, reference.input_id))
                writer.take()
                if dice.random() < 0.2:
                    writer.flush()
            writer.flush()
        if self.cluster and number == 0:
            # The commit step of the pipeline, which runs although the launcher died; the cluster has given up those
            # that are silent.
            fleet = [one for one in self.world.processes if one.name.startswith(f"{launcher.name}.")]
            while not all(one is worker or one.ended or one.paused for one in fleet):
                self.world.wait(0.5)
            if dice.random() < 0.5:
                commit_run(store, spec.run_id, complete=False)

    def _call(self, spec: OutputSpec, name: str) -> Any:
        if self.durable(name):
            self.broken.append(f"{self.world.now:.3f} {spec.run_id} pays {name} again, which was durable")
        self.paid[name] += 1
        self.world.wait(self.world.random.uniform(0.05, 1.5))
        if name in self.bad:
            refused = failure(name, kind="refused", stage="call")
            return Failure(refused.reference, "call", "refused", "no")
        return prediction(name)


def _codes(index: Any) -> list[bytes]:
    """The inputs that an index lists, hashed."""
    return [row.tobytes() for row in InputIndex.from_table(index).ids]
