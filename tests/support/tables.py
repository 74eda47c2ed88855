"""Makes rows to write, stores that crash on request, and reads tables as a reader does."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import bulkinfer.transforms.endpoints.clarifai.session  # noqa: F401  (lets Beam pickle answers, as it does in a job)
import pyarrow as pa
import pyarrow.parquet as pq
from bulkinfer.transforms.endpoints.clarifai.answer.reader import OutputReader
from bulkinfer.transforms.records import Failure, Prediction, Reference
from bulkinfer.transforms.runs.parts import TABLES, OutputSpec
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.staging.part_writer import PartWriter
from clarifai_grpc.grpc.api import resources_pb2

__all__ = [
    "CrashingStore",
    "Killed",
    "failure",
    "make_spec",
    "prediction",
    "rows_seen",
    "stage",
    "temporary_output",
]

_SQUARE = b"".join(b"\xff" * 4 + b"\x00" * 4 if row < 4 else b"\x00" * 8 for row in range(8))


def temporary_output() -> str:
    """Make the URI of a new output in this process's memory."""
    return f"memory://test-{uuid.uuid4().hex}/out"


def make_spec(uri: str, run_id: str = "20260131T120000Z-000001", **changes: Any) -> OutputSpec:
    """Make the spec of an output with the kept column `city`."""
    settings: dict[str, Any] = {
        "keep_schema": pa.schema([("city", pa.string())]),
        "fingerprint": "one",
        "model_url": "https://clarifai.com/u/a/models/m",
        "reader": functools.partial(OutputReader, None),
        **changes,
    }
    return OutputSpec(uri, run_id, **settings)


def prediction(
    name: str, *, version: str = "v1", text: str = "", city: str | None = None, masks: int = 0
) -> Prediction:
    """Make a prediction with a text, and with so many masks."""
    output = resources_pb2.Output()
    output.status.code = 10000
    output.data.text.raw = text or f"about {name}"
    for number in range(masks):
        region = output.data.regions.add(id=f"{name}-{number}")
        region.region_info.mask.image.base64 = _png()
    reference = Reference(name, f"mem://{name}", "image", version, columns={"city": city})
    return Prediction(reference, (output,), width=8, height=8)


def failure(name: str, *, version: str = "v1", kind: str = "empty", stage: str = "read") -> Failure:
    """Make the failure of an input."""
    reference = Reference(name, f"mem://{name}", "image", version, columns={"city": None})
    return Failure(reference, stage, kind, f"{name} is {kind}")


def _png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("L", (8, 8), _SQUARE).save(file, "PNG")
    return file.getvalue()


def stage(
    spec: OutputSpec, parts: Iterable[Iterable[Prediction | Failure]], store: Store | None = None
) -> list[str]:
    """Write each group of rows as a part of its own; returns the parts' ids."""
    store = store or spec.store()
    begin_run(store, spec)
    writer = PartWriter(spec, store)
    with contextlib.closing(writer):
        for rows in parts:
            for row in rows:
                writer.add(row)
            writer.flush()
    return [part.part_id for part in writer.take()]


def rows_seen(store: Store, table: str) -> list[dict[str, Any]]:
    """Read all visible rows of a table, sorted by input."""
    found: list[dict[str, Any]] = []
    for entry in store.find(table):
        if entry.path.endswith(".parquet"):
            read = pq.ParquetFile(io.BytesIO(store.read(entry.path))).read()
            partition = dict(part.split("=") for part in entry.path.split("/")[1:-1])
            found += [{**row, **partition, "file": entry.path} for row in read.to_pylist()]
    return sorted(found, key=lambda row: (row["input_id"], row.get("region_index", 0)))


class Killed(BaseException):
    """Simulates `kill -9`: not an Exception, so that no handler of ours catches it."""


class CrashingStore(Store):
    """A store that raises Killed before its n-th change, and calls a watcher after each visible one.

    Args:
        uri: of the output.
        before: number of the change that never happens, from 0; None for no crash.
        watch: called after every change that a reader can see.
    """

    def __init__(
        self, uri: str, before: int | None = None, watch: Callable[[Store], None] | None = None
    ) -> None:
        super().__init__(uri)
        self.before, self.watch = before, watch
        self.changes = itertools.count()

    @contextlib.contextmanager
    def _change(self, path: str) -> Iterator[None]:
        if next(self.changes) == self.before:
            raise Killed
        yield
        if self.watch and not path.startswith("_runs"):
            self.watch(self)

    def write(self, path: str, data: bytes) -> None:
        with self._change(path):
            super().write(path, data)

    def create_new(self, path: str, data: bytes) -> bool:
        with self._change(path):
            return super().create_new(path, data)

    def create(self, path: str, write: Any) -> Any:
        with self._change(path):
            return super().create(path, write)

    def move(self, source: str, target: str) -> None:
        with self._change(target):
            super().move(source, target)

    def remove(self, path: str) -> None:
        with self._change(path):
            super().remove(path)

    def remove_tree(self, path: str) -> None:
        with self._change(path):
            super().remove_tree(path)


assert set(TABLES) == {"predictions", "masks", "errors"}
