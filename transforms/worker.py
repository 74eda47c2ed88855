"""Does the inputs of units in one process: opens, loads, calls and stages them by lists; `Inference` without Beam."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from .calls.caller import Caller
from .calls.model_call import ModelCall
from .content.loader import Loaded, Loader, LoadOptions
from .records import Content, Failure, Reference
from .runs.chunks import to_chunk
from .runs.control import ControlSpec, JobControl
from .runs.parts import OutputSpec
from .runs.rebalance import WorkPass, WorkPassSpec
from .runs.record import begin_run
from .sources.opener import Left, Opener
from .sources.pieces import Completed
from .sources.source import SourceSpec
from .tables.staging.part_writer import PartWriter

__all__ = ["InferenceSpec", "InferenceWorker"]


@dataclasses.dataclass(frozen=True)
class InferenceSpec:
    """What a worker needs to know of a job; plain data that pickles.

    Attributes:
        source: from `inspect_source`.
        loading: how contents are loaded.
        call: the endpoint and the limits of calls.
        output: the directory of the tables, and how to write them.
        completed: leaves out what earlier runs finished, of units that are pieces of a manifest.
        control: where the run's stop marker lies.
    """

    source: SourceSpec
    loading: LoadOptions
    call: ModelCall
    output: OutputSpec
    completed: Completed | None
    control: ControlSpec


class InferenceWorker:
    """Loads, calls and stages what units name, for one bundle after another; each call yields what is handed back."""

    def __init__(self, spec: InferenceSpec, work_pass: WorkPassSpec | None = None) -> None:
        self._hands_back = work_pass if work_pass is not None and not work_pass.last else None
        self._pass: WorkPass | None = None
        control = JobControl.shared(spec.control)
        self._opener = Opener(
            spec.source,
            spec.completed,
            step=spec.call.calls.batch_size,
            parts=spec.call.workers,
            control=control,
        )
        begin_run(spec.output.store(), spec.output)
        self._loader = Loader(spec.loading, control)
        self._caller = Caller(spec.call, spec.control, work_pass)
        self.writer = PartWriter(spec.output)

    def begin(self) -> None:
        """Begin a bundle."""
        self._pass = WorkPass.shared(self._hands_back) if self._hands_back is not None else None
        self._opener.begin(self._is_over)
        self._loader.begin(self._is_over)
        self._caller.begin()

    def do(self, unit: Any) -> Iterator[Any]:
        """Do the inputs of a unit."""
        for item in self._opener.open(unit):
            if isinstance(item, Failure):
                self.writer.add(item)
            elif isinstance(item, Left):
                yield item.unit
            else:
                for loaded in self._loader.load(item, [None] * len(item)):
                    yield from self._call(loaded)

    def finish(self) -> Iterator[Any]:
        """End the bundle: everything that was begun has its outcome in a part."""
        for loaded in self._loader.finish():
            yield from self._call(loaded)
        for results in self._caller.finish():
            self.writer.add(*[outcome for _, outcome in results])
        self.writer.flush()

    def close(self) -> None:
        """Cancel what is under way; what is paid for becomes durable."""
        self._loader.close()
        self._caller.close()
        self.writer.close()

    def _call(self, loaded: Sequence[Loaded]) -> Iterator[Any]:
        contents = [one for _, one in loaded if isinstance(one, Content)]
        if len(contents) < len(loaded):
            self.writer.add(*[one for _, one in loaded if isinstance(one, Failure)])
            if left := [one for _, one in loaded if isinstance(one, Reference)]:
                yield to_chunk(left)
        if contents:
            for results in self._caller.send(contents, [None] * len(contents)):
                self.writer.add(*[outcome for _, outcome in results])

    def _is_over(self) -> bool:
        return self._pass is not None and self._pass.over
