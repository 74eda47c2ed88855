"""The transform `Predict`: sends contents to a model, and yields predictions and failures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics as BeamMetrics
from apache_beam.pvalue import PCollection, TaggedOutput

from ..metrics import process_metrics
from ..records import Content, Failure, Prediction
from ..runs.control import ControlSpec
from ..runs.rebalance import WorkPassSpec
from ..windows import beside
from .caller import Caller
from .model_call import ModelCall
from .submissions import Result

__all__ = ["FAILED", "Outcome", "Predict"]

FAILED = "failed"


class Outcome(NamedTuple):
    """What `Predict` gives; every input is in exactly one of the two."""

    predictions: PCollection[Prediction]
    failures: PCollection[Failure]


@dataclasses.dataclass
class Predict(beam.PTransform):
    """Send contents to the model in batches, many calls at once.

    Results leave as they come, in any order, each with its input's own window and timestamp. When the job
    stops early, the inputs that were not sent yield nothing; a later run sends them.

    Attributes:
        call: the endpoint and the limits of calls.
        control: where the run's stop marker lies; without it a fault after which nothing will work raises in
            the bundle, and no other worker hears of it.
        work_pass: learns when this worker's last call has ended, and sets its part of the limits; see
            `runs.rebalance`. By default the only pass, of a runner that moves work between workers.
    """

    call: ModelCall
    control: ControlSpec | None = None
    work_pass: WorkPassSpec | None = None

    def __post_init__(self) -> None:
        super().__init__()
        if self.work_pass is None and self.control is not None and self.call.workers > 1:
            self.work_pass = WorkPassSpec(self.control, 1, self.call.workers, last=True, open_ended=True)

    def expand(self, contents: PCollection[Content]) -> Outcome:
        fn = _PredictFn(self.call, self.control, self.work_pass)
        sent = contents | "Call" >> beam.ParDo(fn).with_outputs(FAILED, main="predictions")
        return Outcome(sent.predictions, sent[FAILED])


class _PredictFn(beam.DoFn):
    """Sends the contents of a bundle; yields results with later elements and at the bundle's end."""

    def __init__(self, call: ModelCall, control: ControlSpec | None, work_pass: WorkPassSpec | None) -> None:
        super().__init__()
        self._spec = call, control, work_pass
        self._caller: Caller | None = None

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_caller": None}

    def setup(self) -> None:
        self._caller = Caller(*self._spec)

    def start_bundle(self) -> None:
        assert self._caller is not None
        self._caller.begin()

    def process(self, content: Content, source: Any = beam.DoFn.WindowedValueParam) -> Iterator[Any]:
        # The windowed value and not its window: an input in several windows is sent once, and Beam prepares the
        # arguments once and not for each element, which took longer than all else here.
        assert self._caller is not None
        results = self._caller.send([content], [source.with_value(None)])
        return beside(source, map(_output, itertools.chain.from_iterable(results)))

    def finish_bundle(self) -> Iterator[Any]:
        assert self._caller is not None
        yield from map(_output, itertools.chain.from_iterable(self._caller.finish()))
        process_metrics().report(lambda name: BeamMetrics.counter("bulkinfer", name))

    def teardown(self) -> None:
        if self._caller is not None:
            self._caller.close()
            self._caller = None


def _output(result: Result) -> Any:
    source, value = result
    windowed = source.with_value(value)
    return TaggedOutput(FAILED, windowed) if isinstance(value, Failure) else windowed
