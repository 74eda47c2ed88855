"""The transform `Predict`: sends contents to a model, and yields predictions and failures."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics as BeamMetrics
from apache_beam.pvalue import PCollection, TaggedOutput

from ..errors import BulkinferError, EncodeError, InputError
from ..records import Content, Failure, Prediction, failure_of
from ..runs.control import ControlSpec, StopReason
from ..runs.rebalance import WorkPass, WorkPassSpec
from ..windows import beside
from .batching import Batcher, Item, even_batch_size
from .engine import Engine
from .limits.divided import part_of
from .model_call import ModelCall
from .submissions import Result, Submitter

__all__ = ["FAILED", "Outcome", "Predict"]

logger = logging.getLogger(__name__)

FAILED = "failed"
#: A batch that is not full is sent after so many seconds, when a further input comes.
FLUSH_S = 1.0
#: Seconds to wait for a full engine before checking again whether the job stops.
WAIT_S = 0.2


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
    """Hands batches to the process's engine; yields results with later elements and at the bundle's end."""

    def __init__(self, call: ModelCall, control: ControlSpec | None, work_pass: WorkPassSpec | None) -> None:
        super().__init__()
        self._call = call
        self._control_spec = control
        self._pass_spec = work_pass
        self._engine: Engine | None = None
        self._submitter: Submitter | None = None
        self._pass: WorkPass | None = None  # while a bundle is open

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_engine": None, "_submitter": None, "_pass": None}

    def setup(self) -> None:
        call, limits = self._call, self._call.calls
        self._engine = Engine.shared(call, self._control_spec)
        self._submitter = self._engine.open_submitter()
        self._encode = call.endpoint.encoder()
        workers = 1 if limits.limiter else call.workers  # a limiter gives any worker all of a limit
        allowed = part_of(limits.inputs_per_second, workers)
        most = min(limits.batch_size, call.endpoint.limits.inputs or limits.batch_size)
        size = even_batch_size(most, allowed)
        self._batcher: Batcher[Item] = Batcher(size, int(limits.batch_bytes))

    def start_bundle(self) -> None:
        assert self._submitter is not None
        self._submitter.cancel()  # a bundle that failed left its calls behind
        self._batcher.flush()
        self._end_pass(done=False)
        if self._pass_spec is not None:
            assert self._engine is not None
            self._pass = WorkPass.shared(self._pass_spec)
            self._pass.begin(self._engine.limits)

    def process(self, content: Content, source: Any = beam.DoFn.WindowedValueParam) -> Iterator[Any]:
        # The windowed value and not its window: an input in several windows is sent once, and Beam prepares the
        # arguments once and not for each element, which took longer than all else here.
        return beside(source, self._add(content, source))

    def _add(self, content: Content, source: Any) -> Iterator[Any]:
        engine, submitter = self._engine, self._submitter
        assert engine is not None
        assert submitter is not None
        yield from map(_output, submitter.take())
        if engine.control.stopped is not None:
            self._stop(engine.control.stopped)
            return
        try:
            encoded = self._encoded(content)
        except InputError as error:
            engine.metrics.add(inputs_failed=1)
            engine.control.record(finished=1, failed=1)
            reference = dataclasses.replace(content.reference, inline=None)  # an error row holds no content
            yield _output((source, failure_of(reference, error)))
            return
        if not engine.control.admit(1):
            engine.metrics.add(inputs_dropped=1)
            return
        token = source.with_value(None)
        item = Item(content.reference, encoded, token, content.width, content.height, content.orientation)
        batches = self._batcher.add(item, encoded.nbytes)
        if self._batcher.age > FLUSH_S:
            batches.append(self._batcher.flush())
        for batch in batches:
            yield from self._submit(batch)

    def _encoded(self, content: Content) -> Any:
        try:
            return self._encode(content)
        except BulkinferError:
            raise
        except Exception as error:  # whatever a value does to its encoder is about this input
            message = f"its values cannot be encoded for the method: {type(error).__name__}"
            raise EncodeError("wrong_type", message) from error

    def finish_bundle(self) -> Iterator[Any]:
        engine, submitter = self._engine, self._submitter
        assert engine is not None
        assert submitter is not None
        if engine.control.stopped is not None:
            self._stop(engine.control.stopped)
        if batch := self._batcher.flush():
            yield from self._submit(batch)
        while submitter.pending:
            self._raise_if_lost()
            submitter.wait(WAIT_S)
            yield from map(_output, submitter.take())
        yield from map(_output, submitter.take())
        if engine.control.stopped is not None:
            self._stop(engine.control.stopped)
        self._end_pass(done=True)
        self._report()

    def teardown(self) -> None:
        self._end_pass(done=False)
        if self._submitter is not None:
            self._submitter.cancel()
            self._submitter = None
        if self._engine is not None:
            self._engine.release()
            self._engine = None

    def _submit(self, batch: list[Item]) -> Iterator[Any]:
        engine, submitter = self._engine, self._submitter
        assert engine is not None
        assert submitter is not None
        while not submitter.submit(batch):
            stopped = engine.control.stopped
            if stopped is not None and stopped.drops_waiting:
                engine.metrics.add(inputs_dropped=len(batch))
                return
            self._raise_if_lost()
            submitter.wait(WAIT_S)
            yield from map(_output, submitter.take())
        self._report()

    def _stop(self, why: StopReason) -> None:
        """Drop the open batch if the stop says so; raise a fatal stop where no launcher reports it."""
        engine = self._engine
        assert engine is not None
        if why.drops_waiting:
            engine.metrics.add(inputs_dropped=len(self._batcher.flush()))
        if self._control_spec is None:
            engine.control.raise_if_fatal()

    def _raise_if_lost(self) -> None:
        if self._pass is not None:
            self._pass.raise_if_lost()

    def _end_pass(self, *, done: bool) -> None:
        if self._pass is not None:
            self._pass.end(done=done)
            self._pass = None

    def _report(self) -> None:
        assert self._engine is not None
        self._engine.metrics.report(lambda name: BeamMetrics.counter("bulkinfer", name))


def _output(result: Result) -> Any:
    source, value = result
    windowed = source.with_value(value)
    return TaggedOutput(FAILED, windowed) if isinstance(value, Failure) else windowed
