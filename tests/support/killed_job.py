"""Runs one start of a job without a model, which may kill its own process before a chosen write.

It does what `bulkinfer run` does around its pipeline: lock, recovery, skipping, staging, commit.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bulkinfer.transforms.runs.lock import RunLock
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.staging.part_writer import PartWriter

from support.tables import failure, make_spec, prediction


class DeadlyStore(Store):
    """A store that kills this process before its n-th change."""

    def __init__(self, uri: str, storage: dict[str, Any], deadly: int) -> None:
        super().__init__(uri, storage)
        self.deadly, self.changes = deadly, itertools.count()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        if next(self.changes) == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        yield

    def write(self, path: str, data: bytes) -> None:
        with self._change():
            super().write(path, data)

    def create(self, path: str, write: Any) -> Any:
        with self._change():
            return super().create(path, write)

    def copy(self, source: str, target: str) -> None:
        with self._change():
            super().copy(source, target)

    def move(self, source: str, target: str) -> None:
        with self._change():
            super().move(source, target)

    def remove(self, path: str) -> None:
        with self._change():
            super().remove(path)

    def remove_tree(self, path: str) -> None:
        with self._change():
            super().remove_tree(path)


def row_of(name: str, version: str) -> Any:
    """Make the outcome of an input: always the same for the same name."""
    number = int(name)
    if number % 7 == 3:
        return failure(name, version=version)
    return prediction(name, version=version, city=["Bern", "Basel"][number % 2], masks=number % 3)


def main(settings: dict[str, Any]) -> None:
    """Run one start; writes the number of its changes to a file when it is not killed."""
    store = DeadlyStore(settings["uri"], settings["storage"], settings["deadly"])
    spec = make_spec(
        settings["uri"],
        settings["run_id"],
        storage=settings["storage"],
        partition_by=tuple(settings["partition_by"]),
        fingerprint=settings.get("fingerprint", "one"),
    )
    with RunLock(store, spec.run_id):
        recover(store)
        begin_run(store, spec)
        inputs = [row_of(str(number), settings["version"]) for number in range(settings["inputs"])]
        todo = CompletedSpec.of(spec).remaining([row.reference for row in inputs])
        names = {reference.input_id for reference in todo}
        with contextlib.closing(PartWriter(spec, store)) as writer:
            for number, row in enumerate(row for row in inputs if row.reference.input_id in names):
                with Path(settings["paid"]).open("a") as log:
                    log.write(f"{row.reference.input_id} {settings['version']}\n")
                writer.add(row)
                if number % settings["part"] == settings["part"] - 1:
                    writer.flush()
            writer.flush()
        commit_run(store, spec.run_id, complete=True)
    Path(settings["lived"]).write_text(str(next(store.changes)))
