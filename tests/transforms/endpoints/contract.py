"""What every kind of endpoint must do behind the door: subclass `EndpointContract` with a `kind` fixture.

The engine, the limits and the tables are the real ones; only the endpoint and what it talks to are the kind's own.
"""

from __future__ import annotations

import collections
import contextlib
import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
import pytest
from bulkinfer.transforms.calls.batching import cut
from bulkinfer.transforms.calls.endpoint import Endpoint, Verdict
from bulkinfer.transforms.calls.engine import Engine
from bulkinfer.transforms.calls.model_call import ModelCall
from bulkinfer.transforms.calls.predict import Predict
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.errors import CredentialsError, EndpointError, MethodError, ModelNotFoundError
from bulkinfer.transforms.job.config import CallsConfig, SourceConfig, StopConfig
from bulkinfer.transforms.metrics import Metrics
from bulkinfer.transforms.records import Content, Failure, Prediction, Reference
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from bulkinfer.transforms.runs.parts import OutputSpec
from bulkinfer.transforms.sources.read_references import ReadReferences
from bulkinfer.transforms.sources.source import inspect_source
from bulkinfer.transforms.tables.completed import CompletedSpec
from bulkinfer.transforms.tables.write_tables import WriteTables
from pycocotools import mask as coco
from support.calls import items, texts
from support.collect import collect
from support.jobs import rows

__all__ = ["EndpointContract", "Kind", "Outcome"]

NAMES = [f"t{number:03}" for number in range(40)]
RETRIED = [Verdict.WAIT, Verdict.THROTTLED, Verdict.SERVER_FULL, Verdict.TRANSPORT]
BLAMING = [Verdict.BAD_INPUT, Verdict.SPLIT, Verdict.MISMATCH]
STOPPING = {
    Verdict.CREDENTIALS: CredentialsError,
    Verdict.NO_MODEL: ModelNotFoundError,
    Verdict.NO_METHOD: MethodError,
    Verdict.NO_API: EndpointError,
}


class Kind(Protocol):
    """A kind of endpoint and a server of its own that can be told to fail."""

    #: Bytes of a call's inputs that the server takes where `small` is asked for.
    small_bytes: int

    def endpoint(self, method: str, *, small: bool = False) -> Endpoint:
        """One that answers texts by `text`, `stream` (several pieces) or `masks` (one region with a mask)."""

    def play(
        self,
        *,
        first: Verdict | None = None,
        bad: Mapping[str, Verdict] | None = None,
        odd: Mapping[str, Verdict] | None = None,
        breaks: int = 0,
        seconds: float = 0.0,
        calls_per_second: int | None = None,
    ) -> None:
        """Say how the server behaves from now on, and forget what it saw.

        Args:
            first: the fault of the first call, if there is one.
            bad: inputs that break every call that they are in.
            odd: inputs that get a fault of their own beside the answers of others.
            breaks: so many first calls break after their first piece, of a stream.
            seconds: that a call takes.
            calls_per_second: further calls are refused for their rate.
        """

    def inputs(self) -> collections.Counter[str]:
        """How often each input came."""

    def calls(self) -> int:
        """How many calls came."""

    def answer(self, method: str, text: str) -> str:
        """The text that a right answer has."""


class Outcome:
    """What inputs came to."""

    def __init__(self, results: Sequence[Any], control: JobControl, metrics: Metrics) -> None:
        self.good = {v.reference.input_id: v for _, v in results if isinstance(v, Prediction)}
        self.bad = {v.reference.input_id: v for _, v in results if isinstance(v, Failure)}
        self.stopped, self.metrics = control.stopped, metrics.snapshot()
        assert len(self.good) + len(self.bad) == len(results)  # each input once


def call_of(endpoint: Endpoint, **calls: Any) -> ModelCall:
    settings = {"batch_size": 8, "in_flight": 4, "timeout": 10, "retry_for": 20, **calls}
    return ModelCall(endpoint, CallsConfig(**settings), StopConfig(error_ratio=1))


def most_of(endpoint: Endpoint) -> int:
    """Inputs in a full call of `call_of`."""
    return min(8, endpoint.limits.inputs or 8)


def sent(call: ModelCall, names: Sequence[str]) -> Outcome:
    """Send texts through an engine, as Predict does."""
    control, metrics = JobControl(), Metrics()
    engine = Engine(call, control, metrics)
    submitter, results, deadline = engine.open_submitter(), [], time.monotonic() + 60
    size = min(call.calls.batch_size, call.endpoint.limits.inputs or call.calls.batch_size)
    try:
        for batch in cut(items(call, texts(names)), size, 1 << 30, lambda _: 1):
            while not submitter.submit(batch):
                assert time.monotonic() < deadline
                submitter.wait(0.1)
                results += submitter.take()
        while submitter.pending:
            assert time.monotonic() < deadline
            submitter.wait(0.1)
            results += submitter.take()
        results += submitter.take()
    finally:
        engine.close()
    return Outcome(results, control, metrics)


class EndpointContract:
    """The tests; `kind` is a fixture of the subclass."""

    def test_it_is_plain_data_that_pickles(self, kind: Kind) -> None:
        endpoint = kind.endpoint("text")
        again = pickle.loads(pickle.dumps(endpoint))

        assert again == endpoint
        assert all(isinstance(word, str) for word in (endpoint.kind, endpoint.identity, endpoint.address))
        assert pickle.loads(pickle.dumps(endpoint.reader)).__self__ == endpoint

    def test_every_input_is_answered_once_in_batches(self, kind: Kind) -> None:
        kind.play()
        endpoint = kind.endpoint("text")
        outcome = sent(call_of(endpoint), NAMES)

        assert set(outcome.good) == set(NAMES)
        assert kind.inputs() == collections.Counter(NAMES)
        assert kind.calls() == len(NAMES) / most_of(endpoint)
        assert outcome.metrics["in_flight"] == 0

    @pytest.mark.parametrize("verdict", BLAMING, ids=lambda verdict: verdict.name)
    def test_inputs_that_break_their_calls_end_alone(self, kind: Kind, verdict: Verdict) -> None:
        kind.play(bad={"t003": verdict, "t017": verdict})
        outcome = sent(call_of(kind.endpoint("text")), NAMES)

        assert set(outcome.bad) == {"t003", "t017"}
        assert set(outcome.good) == set(NAMES) - set(outcome.bad)
        assert all(not failure.retryable and failure.message for failure in outcome.bad.values())

    def test_an_input_without_content_ends_alone(self, kind: Kind) -> None:
        kind.play()
        contents = [*texts(NAMES[:4]), Content(Reference("bare", None, "text"), None)]
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            outcome = pipeline | beam.Create(contents) | Predict(call_of(kind.endpoint("text")))
            good, bad = collect(outcome.predictions, "good"), collect(outcome.failures, "bad")

        assert sorted(one.reference.input_id for one in good.elements) == NAMES[:4]
        assert [(one.reference.input_id, one.stage) for one in bad.elements] == [("bare", "encode")]

    def test_an_input_with_a_fault_of_its_own_costs_the_others_no_call(self, kind: Kind) -> None:
        kind.play(odd={"t003": Verdict.BAD_INPUT})
        outcome = sent(call_of(kind.endpoint("text")), NAMES)

        assert set(outcome.bad) == {"t003"}
        assert kind.inputs() == collections.Counter(NAMES)

    @pytest.mark.parametrize("verdict", RETRIED, ids=lambda verdict: verdict.name)
    def test_faults_that_pass_cost_a_pause(self, kind: Kind, verdict: Verdict) -> None:
        kind.play(first=verdict)
        endpoint = kind.endpoint("text")
        names = NAMES[: most_of(endpoint)]  # one call
        outcome = sent(call_of(endpoint), names)

        assert set(outcome.good) == set(names)
        assert {prediction.stats.attempts for prediction in outcome.good.values()} == {2}
        # A server may be full for its rate or for the calls it works on: both are learned from.
        assert outcome.metrics["throttled"] == (verdict in (Verdict.THROTTLED, Verdict.SERVER_FULL))

    @pytest.mark.parametrize("verdict", STOPPING, ids=lambda verdict: verdict.name)
    def test_what_will_never_work_stops_the_job(self, kind: Kind, verdict: Verdict) -> None:
        kind.play(first=verdict)
        endpoint = kind.endpoint("text")
        outcome = sent(call_of(endpoint, in_flight=1), NAMES)

        assert (outcome.good, outcome.bad, kind.calls()) == ({}, {}, 1)
        assert outcome.stopped is not None
        assert outcome.stopped.reason == "fatal"
        error = outcome.stopped.exception()
        assert isinstance(error, STOPPING[verdict])
        assert endpoint.address in str(error)
        assert endpoint.identity in str(error)

    def test_a_server_that_refuses_for_the_rate_loses_nothing(self, kind: Kind) -> None:
        kind.play(calls_per_second=10)
        outcome = sent(call_of(kind.endpoint("text"), batch_size=2), NAMES)

        assert set(outcome.good) == set(NAMES)
        assert outcome.metrics["throttled"] > 0

    def test_messages_that_are_too_large_are_split_until_they_fit(self, kind: Kind) -> None:
        kind.play()
        names = [f"{name}{'.' * (kind.small_bytes // 3)}" for name in NAMES]
        outcome = sent(call_of(kind.endpoint("text", small=True), in_flight=1), names)

        assert set(outcome.good) == set(names)
        assert kind.inputs() == collections.Counter(names)  # what is refused for its size is not looked at
        assert kind.calls() <= len(names) / 2

    def test_an_input_that_is_too_large_alone_is_its_own_error(self, kind: Kind) -> None:
        kind.play()
        huge = "h" * 2 * kind.small_bytes
        outcome = sent(call_of(kind.endpoint("text", small=True)), [*NAMES[:3], huge])

        assert set(outcome.good) == set(NAMES[:3])
        assert outcome.bad[huge].error_type == "too_large"

    def test_streams_are_one_input_a_call_and_one_that_breaks_is_asked_again(self, kind: Kind) -> None:
        kind.play(breaks=2)
        outcome = sent(call_of(kind.endpoint("stream"), in_flight=1), ["a b c", "d e"])

        assert set(outcome.good) == {"a b c", "d e"}
        assert kind.calls() == 4

    def test_calls_under_way_come_home_when_the_job_stops(self, kind: Kind, tmp_path: Path) -> None:
        kind.play(seconds=0.3)
        spec = ControlSpec(str(tmp_path), {}, "run-1")
        control, metrics = JobControl.shared(spec), Metrics()
        engine = Engine(call_of(kind.endpoint("text"), in_flight=2), control, metrics)
        submitter, results = engine.open_submitter(), []
        with contextlib.closing(control), contextlib.closing(engine):
            most = most_of(engine.call.endpoint)
            for batch in cut(items(engine.call, texts(NAMES[: 4 * most])), most, 1 << 30, lambda _: 1):
                assert submitter.submit(batch)
            while kind.calls() < 2:
                time.sleep(0.01)
            control.stop("interrupt", "by the user")
            while submitter.pending:
                submitter.wait(0.1)
                results += submitter.take()
        outcome = Outcome(results, control, metrics)

        assert set(outcome.good) == set(kind.inputs())
        assert 0 < len(outcome.good) < 4 * most
        assert metrics.snapshot()["inputs_dropped"] == 4 * most - len(outcome.good)

    def test_a_run_goes_on_where_the_one_before_was_stopped(self, kind: Kind, tmp_path: Path) -> None:
        kind.play(seconds=0.2)
        run(kind, tmp_path, "20260101T000000Z-000001", stop_after=2)
        first = kind.inputs()
        assert 0 < len(first) < len(NAMES)

        run(kind, tmp_path, "20260101T000001Z-000002")

        assert kind.inputs() == collections.Counter(NAMES)
        found = rows(tmp_path / "out", "predictions")
        assert sorted(row["input_id"] for row in found) == NAMES
        assert {row["text"] for row in found} == {kind.answer("text", name) for name in NAMES}
        assert {row["model_url"] for row in found} == {kind.endpoint("text").identity}

    def test_the_pieces_of_a_stream_are_one_text(self, kind: Kind, tmp_path: Path) -> None:
        kind.play()
        run(kind, tmp_path, "20260101T000000Z-000001", method="stream", names=["a b c", "d e"])

        found = {row["input_id"]: row["text"] for row in rows(tmp_path / "out", "predictions")}
        assert found == {name: kind.answer("stream", name) for name in ("a b c", "d e")}

    def test_masks_become_rle_beside_the_predictions(self, kind: Kind, tmp_path: Path) -> None:
        kind.play()
        run(kind, tmp_path, "20260101T000000Z-000001", method="masks", names=NAMES[:5])

        found = rows(tmp_path / "out", "masks")
        assert sorted(row["input_id"] for row in found) == NAMES[:5]
        for row in found:
            assert coco.decode(row["segmentation"]).sum() == row["area"] == 16
            assert row["bbox"] == [0, 0, 4, 4]
        predictions = rows(tmp_path / "out", "predictions")
        assert [row["num_regions"] for row in predictions] == [1] * 5


def run(
    kind: Kind,
    folder: Path,
    run_id: str,
    *,
    method: str = "text",
    names: Sequence[str] = NAMES,
    stop_after: int | None = None,
) -> None:
    """A job in a pipeline, from a manifest to its tables; stopped after so many calls, if it is to be."""
    manifest = folder / "texts.csv"
    manifest.write_text("text\n" + "".join(f"{name}\n" for name in names))
    source = inspect_source(
        SourceConfig(manifest=str(manifest), columns={"content": "text", "id": "text"}, media="text")
    )
    endpoint = kind.endpoint(method)
    output = OutputSpec(
        str(folder / "out"), run_id, model_url=endpoint.identity, fingerprint="one", reader=endpoint.reader
    )
    control = ControlSpec(output.uri, {}, run_id)

    def stop() -> None:
        while kind.calls() < (stop_after or 0):
            time.sleep(0.01)
        JobControl.shared(control).stop("interrupt", "by the user")

    if stop_after is not None:
        threading.Thread(target=stop, daemon=True).start()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | ReadReferences(source, CompletedSpec.of(output))
        loaded = read.references | LoadContent(control=control)
        outcome = loaded.contents | Predict(call_of(endpoint, in_flight=1), control)
        (outcome.predictions, outcome.failures, loaded.failures, read.failures) | WriteTables(output)
    JobControl.shared(control).close()
