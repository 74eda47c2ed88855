"""The transform `Inference`: units of a source -> durable parts of the tables, in one step and batch by batch.

Between its units and its parts a job opens, loads, calls and stages. As steps of a pipeline these hand on one element
after the other, which costs more than all else that a short text needs; here they hand on lists.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics as BeamMetrics
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from .metrics import process_metrics
from .runs.rebalance import WorkPassSpec
from .runs.versions import Versions
from .worker import InferenceSpec, InferenceWorker

__all__ = ["LEFT", "Inference", "Inferred"]

LEFT = "left"


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
        self._worker: InferenceWorker | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_worker": None}

    def setup(self) -> None:
        self._launcher.check(Versions.here(), platform.node())
        self._worker = InferenceWorker(self._spec, self._pass_spec)

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


def _at_the_end(value: Any) -> WindowedValue:
    """A value that leaves when its bundle ends, beside no element whose window it could have."""
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), (window,))


def _report() -> None:
    """Tell Beam what was counted; it hears a bundle's own thread alone."""
    process_metrics().report(lambda name: BeamMetrics.counter("bulkinfer", name))
