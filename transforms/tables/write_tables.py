"""The `WriteTables` transform, the last step of a job: writes predictions and failures to the tables exactly once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from ..errors import StoreError
from ..records import Failure, Prediction
from ..runs.lock import RunLock, has_claim
from ..runs.parts import OutputSpec, commit_path, run_directory
from ..runs.record import begin_run
from .commit.commit import CommitResult, commit_run
from .staging.part_writer import PartWriter

__all__ = ["CommitParts", "StageRows", "WriteTables"]

Row = Prediction | Failure


class WriteTables(beam.PTransform):
    """Write rows as staged parts, and make them all visible at the end.

    Each collection is staged in the worker that made it, so that only the parts' ids cross a shuffle, and no
    answers. Takes one collection, or several in a tuple or a dict (Beam reads a list as data).

    Args:
        output: the directory of the tables, and how to write them.

    Returns:
        A collection of one `CommitResult`, once the tables are visible.

    >>> import apache_beam as beam
    >>> from bulkinfer.transforms import WriteTables
    >>> with beam.Pipeline() as pipeline:  # doctest: +SKIP
    ...     (outcome.predictions, outcome.failures) | WriteTables(output)
    """

    def __init__(self, output: OutputSpec) -> None:
        super().__init__()
        self.output = output

    def expand(
        self,
        rows: beam.PCollection[Row] | Sequence[beam.PCollection[Row]] | Mapping[str, beam.PCollection[Row]],
    ) -> beam.PCollection[CommitResult]:
        if isinstance(rows, Mapping):
            named = {str(name): collection for name, collection in rows.items()}
        elif isinstance(rows, beam.PCollection):
            named = {"Rows": rows}
        else:
            named = {f"Rows{number}": collection for number, collection in enumerate(rows)}
        parts = [
            collection
            | f"Stage{name}" >> StageRows(self.output)
            # After staging, so that ids and not answers pass through it.
            | f"OneWindow{name}" >> beam.WindowInto(GlobalWindows())
            for name, collection in named.items()
        ]
        return parts | "Parts" >> beam.Flatten() | CommitParts(self.output)


class StageRows(beam.PTransform):
    """Stage rows in the worker that made them, and yield the ids of the parts that are durable."""

    def __init__(self, output: OutputSpec) -> None:
        super().__init__()
        self.output = output

    def expand(self, rows: beam.PCollection[Row]) -> beam.PCollection[str]:
        return rows | "Stage" >> beam.ParDo(_StageFn(self.output)).with_output_types(str)


class CommitParts(beam.PTransform):
    """Make a run's parts visible once all of their ids are here; yields one `CommitResult`."""

    def __init__(self, output: OutputSpec) -> None:
        super().__init__()
        self.output = output

    def expand(self, parts: beam.PCollection[str]) -> beam.PCollection[CommitResult]:
        return (
            parts
            | "AllParts" >> beam.CombineGlobally(_together)
            | "Commit" >> beam.ParDo(_CommitFn(self.output)).with_output_types(CommitResult)
        )


class _StageFn(beam.DoFn):
    """Stages rows and outputs the ids of their durable parts."""

    def __init__(self, spec: OutputSpec) -> None:
        super().__init__()
        self._spec = spec
        self._writer: PartWriter | None = None
        self._window: Any = GlobalWindow()

    def setup(self) -> None:
        # In a user's own pipeline no launcher has begun the run.
        begin_run(self._spec.store(), self._spec)
        self._writer = PartWriter(self._spec)

    def process(self, row: Row, source: Any = beam.DoFn.WindowedValueParam) -> Iterator[str]:
        writer = self._writer or self._opened()
        (self._window, *_) = source.windows
        writer.add(row)
        for part in writer.take():
            yield part.part_id

    def finish_bundle(self) -> Iterator[WindowedValue]:
        writer = self._writer or self._opened()
        writer.flush()
        for part in writer.take():
            yield WindowedValue(part.part_id, self._window.max_timestamp(), (self._window,))

    def teardown(self) -> None:
        # Rows of a failed bundle are valid and paid for; a commit shows each input once.
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _opened(self) -> PartWriter:
        self.setup()
        if self._writer is None:
            raise RuntimeError("setup opened no writer")
        return self._writer


class _CommitFn(beam.DoFn):
    """Commits the run when all parts are staged; outputs one `CommitResult`."""

    def __init__(self, spec: OutputSpec) -> None:
        super().__init__()
        self._spec = spec

    def process(self, part_ids: list[str]) -> Iterator[CommitResult]:
        spec = self._spec
        store = spec.store()
        begin_run(store, spec)
        _check_all_there(store, spec, part_ids)
        stopped = store.exists(f"{run_directory(spec.run_id)}/stop.json")
        if has_claim(store, spec.run_id):
            yield commit_run(store, spec.run_id, complete=spec.lists_all and not stopped)
            return
        with RunLock(store, spec.run_id):
            yield commit_run(store, spec.run_id, complete=spec.lists_all and not stopped)


def _check_all_there(store: Any, spec: OutputSpec, part_ids: list[str]) -> None:
    directory = f"{run_directory(spec.run_id)}/parts"
    found = {entry.name.removesuffix(".json") for entry in store.files(directory)}
    missing = sorted(set(part_ids) - found)
    if missing and not store.exists(commit_path(spec.run_id)):  # else another commit has moved them
        raise StoreError(
            f"{store.url(directory)} lacks {len(missing)} of {len(part_ids)} parts that workers wrote, first "
            f"{missing[0]}; all workers must see the same store, so set output.uri to one that they share"
        )


def _together(values: Any) -> list[str]:
    """Combine part ids, single or in lists, into one list; empty for an empty collection."""
    together: list[str] = []
    for value in values:
        if isinstance(value, str):
            together.append(value)
        else:
            together.extend(value)
    return together
