"""The transform `Inference`: units of a source -> durable parts of the tables, in one step and batch by batch.

Between its units and its parts a job opens, loads, calls and stages. As steps of a pipeline these hand on one element
after the other, which costs more than all else that a short text needs; here they hand on lists.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics as BeamMetrics
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from .calls.caller import Caller
from .calls.model_call import ModelCall
from .content.loader import Loaded, Loader, LoadOptions
from .metrics import process_metrics
from .records import Content, Failure, Reference
from .runs.chunks import to_chunk
from .runs.control import ControlSpec, JobControl
from .runs.parts import OutputSpec
from .runs.rebalance import WorkPass, WorkPassSpec
from .runs.record import begin_run
from .runs.versions import Versions
from .sources.opener import Left, Opener
from .sources.pieces import Completed
from .sources.source import SourceSpec
from .tables.staging.part_writer import PartWriter

__all__ = ["LEFT", "Inference", "InferenceSpec", "Inferred"]

LEFT = "left"


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


class Inferred(NamedTuple):
    """The ids of the parts that hold what became of the inputs, and units that were handed back."""

    parts: PCollection[str]
    left: PCollection[Any]


class Inference(beam.PTransform):
    """Do the inputs of units, as one pass over the work; see `runs.rebalance`.

    Args:
        spec: of the job.
        work_pass: learns when this worker's last call has ended; None for a single worker.

    Raises:
        RunnerError: in a worker whose versions are other than the launcher's.
    """

    def __init__(self, spec: InferenceSpec, work_pass: WorkPassSpec | None = None) -> None:
        super().__init__()
        self.spec, self.work_pass = spec, work_pass
        self.launcher = Versions.here()

    def expand(self, units: PCollection[Any]) -> Inferred:
        fn = _InferFn(self.spec, self.work_pass, self.launcher)
        done = units | "Infer" >> beam.ParDo(fn).with_outputs(LEFT, main="parts")
        return Inferred(done.parts, done[LEFT])


class _InferFn(beam.DoFn):
    """Units -> ids of parts as they become durable, and what is handed back."""

    def __init__(self, spec: InferenceSpec, work_pass: WorkPassSpec | None, launcher: Versions) -> None:
        super().__init__()
        self._spec, self._pass_spec, self._launcher = spec, work_pass, launcher
        self._worker: _Worker | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_worker": None}

    def setup(self) -> None:
        self._launcher.check(Versions.here(), platform.node())
        self._worker = _Worker(self._spec, self._pass_spec)

    def start_bundle(self) -> None:
        assert self._worker is not None
        self._worker.begin()

    def process(self, unit: Any) -> Iterator[Any]:
        assert self._worker is not None
        for left in self._worker.do(unit):
            yield TaggedOutput(LEFT, left)
        for part in self._worker.writer.take():
            yield part.part_id
        _report()

    def finish_bundle(self) -> Iterator[Any]:
        assert self._worker is not None
        for left in self._worker.finish():
            yield TaggedOutput(LEFT, _at_the_end(left))
        for part in self._worker.writer.take():
            yield _at_the_end(part.part_id)
        _report()

    def teardown(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class _Worker:
    """Loads, calls and stages what units name, for one bundle after another; each call yields what is handed back."""

    def __init__(self, spec: InferenceSpec, work_pass: WorkPassSpec | None) -> None:
        self._hands_back = work_pass if work_pass is not None and not work_pass.last else None
        self._pass: WorkPass | None = None
        self._opener = Opener(
            spec.source, spec.completed, step=spec.call.calls.batch_size, parts=spec.call.workers
        )
        begin_run(spec.output.store(), spec.output)
        self._loader = Loader(spec.loading, JobControl.shared(spec.control))
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


def _at_the_end(value: Any) -> WindowedValue:
    """A value that leaves when its bundle ends, beside no element whose window it could have."""
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), (window,))


def _report() -> None:
    """Tell Beam what was counted; it hears a bundle's own thread alone."""
    process_metrics().report(lambda name: BeamMetrics.counter("bulkinfer", name))
