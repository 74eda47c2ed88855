"""The engine as a pipeline step, against a real server that produces each fault and counts its calls."""

from __future__ import annotations

import pickle
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
import redis
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import FixedWindows, IntervalWindow, SlidingWindows, TimestampedValue
from bulkinfer.transforms.calls.limits import redis_limiter as fleet_limit
from bulkinfer.transforms.calls.predict import Predict
from bulkinfer.transforms.errors import CredentialsError, MethodError, ModelNotFoundError, StoreError
from bulkinfer.transforms.records import Content, Failure, Prediction, Reference
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from support.calls import call_to, texts
from support.collect import collect
from support.fault_server import FaultServer, running
from support.redis_server import redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running() as server:
        yield server


def predict(
    call: Any, contents: list[Any], control: ControlSpec | None = None, *, workers: int = 1
) -> tuple[list[Prediction], list[Failure]]:
    options = PipelineOptions(direct_num_workers=workers, direct_running_mode="multi_threading")
    with beam.Pipeline(runner="FnApiRunner", options=options if workers > 1 else None) as pipeline:
        inputs = pipeline | beam.Create(contents, reshuffle=workers > 1)
        outcome = inputs | Predict(call, control)
        predictions = collect(outcome.predictions, "predictions")
        failures = collect(outcome.failures, "failures")
    return predictions.elements, failures.elements


def ids(rows: list[Any]) -> list[str]:
    return sorted(row.reference.input_id for row in rows)


def names(count: int) -> list[str]:
    return [f"t{number:04d}" for number in range(count)]


def answer(prediction: Prediction) -> str:
    (output,) = prediction.outputs
    return str(output.data.parts[0].data.string_value)


def test_every_input_gets_its_own_answer_in_full_batches(server: FaultServer) -> None:
    server.set(base_ms=5)

    good, bad = predict(call_to(server.endpoint), texts(names(60)))

    assert not bad
    assert {row.reference.input_id: answer(row) for row in good} == {name: f"ok {name}" for name in names(60)}
    stats = server.stats()
    assert sorted(stats["sizes"]) == [4] + [8] * 7
    assert set(stats["inputs"].values()) == {1}


def test_batches_are_no_larger_than_a_limiters_limit(server: FaultServer) -> None:
    """A worker may be given all of it, whatever its part would be."""
    server.set(base_ms=5)
    with redis_server() as limiter:
        call = call_to(server.endpoint, workers=3, inputs_per_second=6, limiter=limiter)
        good, bad = predict(call, texts(names(12)))

    assert (len(good), bad) == (12, [])
    assert server.stats()["sizes"] == [6, 6]


def test_no_more_calls_are_under_way_than_allowed_over_all_bundles(server: FaultServer) -> None:
    server.set(base_ms=20, places=64)

    good, _ = predict(call_to(server.endpoint, in_flight=3), texts(names(400)), workers=3)

    assert len(good) == 400
    assert 2 <= server.stats()["peak"] <= 3


def test_no_more_bytes_are_under_way_than_allowed(server: FaultServer) -> None:
    server.set(base_ms=20, places=64)
    contents = [Content(Reference(name, None, "image"), name.encode() * 20_000) for name in names(20)]

    call = call_to(
        server.endpoint,
        method="measure",
        media_type="image",
        in_flight=16,
        batch_size=2,
        batch_bytes=250_000,
        in_flight_bytes=500_000,
    )
    good, bad = predict(call, contents)

    assert not bad
    assert [row.outputs[0].data.parts[0].data.int_value for row in good] == [100_000] * 20
    assert server.stats()["peak"] == 2  # two calls of two images of 100 kB


def test_results_carry_their_own_window_and_timestamp(server: FaultServer) -> None:
    server.set(base_ms=10, inputs={"t0007": {"kind": "status", "code": 10020}})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        stamped = [
            TimestampedValue(content, number) for number, content in enumerate(texts(names(50)), start=100)
        ]
        inputs = (
            pipeline
            | beam.Create(range(50))
            | beam.Map(lambda number, values: values[number], stamped)
            | beam.WindowInto(FixedWindows(10))
        )
        outcome = inputs | Predict(call_to(server.endpoint))
        both = collect((outcome.predictions, outcome.failures) | beam.Flatten())

    assert len(both.stamped) == 50
    for row, timestamp, window in both.stamped:
        second = 100 + int(row.reference.input_id[1:])
        assert int(timestamp) == second
        assert window == IntervalWindow(second // 10 * 10, second // 10 * 10 + 10)


def test_an_input_in_several_windows_is_sent_once_and_leaves_once_in_each_of_them(
    server: FaultServer,
) -> None:
    # So many that results are there while later inputs, of one window and of two, still come.
    server.set()
    names_of_text = names(1000)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = (
            pipeline
            | beam.Create([*texts(names_of_text), Content(Reference("t0007", None, "text"), None)])
            | beam.Map(lambda content: TimestampedValue(content, int(content.reference.input_id[1:])))
            | beam.WindowInto(SlidingWindows(10, 5))
        )
        outcome = inputs | Predict(call_to(server.endpoint))
        sent, failed = collect(outcome.predictions), collect(outcome.failures)

    assert sum(server.stats()["inputs"].values()) == 1000
    left = Counter((row.reference.input_id, int(window.start)) for row, _, window in sent.stamped)
    assert left == Counter((name, start) for name in names_of_text for start in _starts(int(name[1:])))
    assert sorted(int(window.start) for _, _, window in failed.stamped) == _starts(7)


def _starts(second: int) -> list[int]:
    """Where the windows of ten seconds, one each five, begin that hold a second."""
    return [second // 5 * 5 - 5, second // 5 * 5]


def test_an_unbounded_collection_leaves_as_it_comes(server: FaultServer) -> None:
    server.set(base_ms=10)
    stream = test_stream.TestStream()
    for second, content in enumerate(texts(names(30))):
        stream.advance_watermark_to(second).add_elements([TimestampedValue(content, second)])
    stream.advance_watermark_to_infinity()
    # The one local runner that simulates such streams.
    with beam.Pipeline("BundleBasedDirectRunner", PipelineOptions(streaming=True)) as pipeline:
        windowed = pipeline | stream | beam.WindowInto(FixedWindows(10))
        outcome = windowed | Predict(call_to(server.endpoint))
        predictions = collect(outcome.predictions)

    assert ids(predictions.elements) == names(30)
    for row, timestamp, window in predictions.stamped:
        second = int(row.reference.input_id[1:])
        assert int(timestamp) == second
        assert window == IntervalWindow(second // 10 * 10, second // 10 * 10 + 10)


def test_one_bad_input_of_128_costs_at_most_15_further_calls(server: FaultServer) -> None:
    server.set(inputs={"t0077": {"kind": "status", "code": 10020, "details": "cannot decode"}})

    good, bad = predict(call_to(server.endpoint, batch_size=128), texts(names(128)))

    assert len(good) == 127
    (failure,) = bad
    assert failure.reference.input_id == "t0077"
    assert (failure.stage, failure.error_type, failure.status_code) == ("call", "failure", 10020)
    assert "cannot decode" in failure.message
    assert failure.attempts == server.stats()["inputs"]["t0077"]
    assert failure.reference.inline is None
    stats = server.stats()
    assert stats["calls"] <= 16
    assert set(stats["answered"].values()) == {1}


@pytest.mark.parametrize("silent", [False, True], ids=["MIXED_STATUS", "SUCCESS with a failed output"])
def test_good_outputs_of_a_mixed_answer_are_kept_without_another_call(
    server: FaultServer, silent: bool
) -> None:
    faults = {"t0003": {"kind": "output", "code": 30104}, "t0005": {"kind": "output", "code": 10020}}
    server.set(inputs=faults, silent_mixed=silent)

    good, bad = predict(call_to(server.endpoint), texts(names(8)))

    assert ids(bad) == ["t0003", "t0005"]
    assert {row.error_type for row in bad} == {"input_invalid_argument", "failure"}
    assert len(good) == 6
    assert server.stats()["calls"] == 1


def test_outputs_that_ask_for_another_try_get_it_and_the_others_do_not(server: FaultServer) -> None:
    server.set(inputs={"t0002": {"kind": "output", "code": 21354, "times": 1}})

    good, bad = predict(call_to(server.endpoint), texts(names(8)))

    assert not bad
    assert len(good) == 8
    stats = server.stats()
    assert stats["sizes"] == [8, 1]
    assert next(row for row in good if row.reference.input_id == "t0002").stats.attempts == 2


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_wrong_count_of_outputs_is_never_paired(server: FaultServer, extra: int) -> None:
    server.set(inputs={"t0006": {"kind": "count", "extra": extra}})

    good, bad = predict(call_to(server.endpoint), texts(names(8)))

    assert ids(bad) == ["t0006"]
    assert bad[0].error_type == "output_count"
    assert {answer(row) for row in good} == {f"ok {name}" for name in names(8) if name != "t0006"}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "grpc", "code": "UNAVAILABLE"},
        {"kind": "grpc", "code": "ABORTED"},
        {"kind": "grpc", "code": "RESOURCE_EXHAUSTED", "details": "busy"},
        {"kind": "status", "code": 21351},
        {"kind": "status", "code": 21354},
        {"kind": "status", "code": 25604},
        {"kind": "status", "code": 40030},
        {"kind": "status", "code": 11005},
    ],
    ids=lambda fault: fault.get("code") if isinstance(fault, dict) else None,
)
def test_a_fault_that_passes_is_waited_for_and_the_batch_is_not_split(
    server: FaultServer, fault: dict[str, Any]
) -> None:
    server.set(calls=[{**fault, "times": 2}])

    good, bad = predict(call_to(server.endpoint), texts(names(8)))

    assert not bad
    assert {row.stats.attempts for row in good} == {3}
    assert server.stats()["sizes"] == [8, 8, 8]


def test_a_call_that_hangs_is_cut_at_its_deadline_and_sent_again(server: FaultServer) -> None:
    server.set(calls=[{"kind": "hang", "seconds": 30, "times": 1}])
    started = time.monotonic()

    good, _ = predict(call_to(server.endpoint, timeout=0.5), texts(names(8)))

    assert len(good) == 8
    assert time.monotonic() - started < 8
    assert server.stats()["sizes"] == [8, 2, 2, 2, 2]


def test_a_servers_hint_is_obeyed(server: FaultServer) -> None:
    server.set(calls=[{"kind": "grpc", "code": "UNAVAILABLE", "pushback_ms": 900, "times": 1}])

    predict(call_to(server.endpoint), texts(names(8)))

    first, second = server.stats()["arrivals"]
    assert 0.9 <= second - first < 1.6


def test_a_budget_that_is_spent_leaves_rows_that_may_be_tried_again(server: FaultServer) -> None:
    server.set(calls=[{"kind": "status", "code": 21355}])

    good, bad = predict(call_to(server.endpoint, retry_for=1.5), texts(names(8)))

    assert not good
    assert len(bad) == 8
    assert all(row.retryable and row.error_type == "model_loading" for row in bad)
    assert {row.attempts for row in bad} == {server.stats()["calls"]}


def test_an_input_that_kills_every_call_does_not_take_its_batch_along(server: FaultServer) -> None:
    server.set(inputs={"t0009": {"kind": "grpc", "code": "UNAVAILABLE"}}, base_ms=20)

    good, bad = predict(call_to(server.endpoint, retry_for=4, in_flight=2), texts(names(200)))

    assert ids(bad) == ["t0009"]
    assert bad[0].retryable
    assert len(good) == 199


def test_everything_bad_costs_little_more_than_a_call_an_input(server: FaultServer) -> None:
    server.set(inputs={name: {"kind": "status", "code": 10020} for name in names(64)})

    _, bad = predict(call_to(server.endpoint, batch_size=32), texts(names(64)))

    assert len(bad) == 64
    assert server.stats()["calls"] <= 64 + 2 * 8


def test_a_message_that_is_too_large_is_split_and_the_limit_remembered() -> None:
    with running(max_message=300_000) as small:
        small.set()
        contents = [Content(Reference(name, None, "image"), b"x" * 100_000) for name in names(24)]
        contents.append(Content(Reference("huge", None, "image"), b"x" * 400_000))
        call = call_to(small.endpoint, method="measure", media_type="image", in_flight=1)

        good, bad = predict(call, contents)

        assert len(good) == 24
        assert ids(bad) == ["huge"]
        assert bad[0].error_type == "too_large"
        assert set(small.stats()["sizes"]) == {2}  # messages above the limit never reach the server's handler


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ({"kind": "status", "code": 11008}, CredentialsError, "CLARIFAI_PAT"),
        ({"kind": "grpc", "code": "UNAUTHENTICATED"}, CredentialsError, "CLARIFAI_PAT"),
        ({"kind": "status", "code": 21200}, ModelNotFoundError, "model.url"),
        ({"kind": "grpc", "code": "NOT_FOUND"}, ModelNotFoundError, "model.url"),
        (
            {"kind": "status", "code": 10020, "details": "Method predict not found in model class"},
            MethodError,
            "model.method",
        ),
    ],
    ids=["bad key", "unauthenticated", "no model", "not found", "no method"],
)
def test_a_fault_after_which_nothing_works_stops_the_job_in_the_middle(
    server: FaultServer, tmp_path: Any, fault: dict[str, Any], error: type[Exception], text: str
) -> None:
    server.set(calls=[{**fault, "from": 5}], base_ms=5)
    spec = ControlSpec(str(tmp_path), {}, "run-1")

    good, bad = predict(call_to(server.endpoint), texts(names(4000)), spec)

    control = JobControl.shared(spec)
    assert not bad  # what was not sent is left to a later run
    assert len(good) <= 5 * 8
    assert server.stats()["calls"] <= 5 + 4
    with pytest.raises(error, match=text):
        control.raise_if_fatal()
    assert (tmp_path / "_runs/run-1/stop.json").exists()
    control.close()


def test_a_limiter_that_refuses_for_long_stops_the_job(
    server: FaultServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not sent is left to a later run; an endless wait would tell nobody."""
    monkeypatch.setattr(fleet_limit, "_REFUSED_S", 1.0)
    server.set(base_ms=5)
    spec = ControlSpec(str(tmp_path), {}, "run-limiter")
    with redis_server() as limiter:
        with redis.Redis.from_url(limiter) as client:
            client.replicaof("127.0.0.1", "1")  # read-only from now on
        good, bad = predict(
            call_to(server.endpoint, calls_per_second=50, limiter=limiter), texts(names(40)), spec
        )

    control = JobControl.shared(spec)
    assert (good, bad) == ([], [])
    with pytest.raises(StoreError, match=r"the Redis at \S+ refuses to keep the limit \(ReadOnlyError"):
        control.raise_if_fatal()
    control.close()


def test_without_a_launcher_the_pipeline_itself_fails(server: FaultServer) -> None:
    server.set(calls=[{"kind": "status", "code": 11008}])

    with pytest.raises(Exception, match="check CLARIFAI_PAT"):
        predict(call_to(server.endpoint), texts(names(50)))


def test_too_many_errors_stop_the_job(server: FaultServer, tmp_path: Any) -> None:
    server.set(inputs={name: {"kind": "output", "code": 30104} for name in names(4000)[::2]}, base_ms=5)
    spec = ControlSpec(str(tmp_path), {}, "run-2")

    good, bad = predict(call_to(server.endpoint, stop={"error_ratio": 0.2}), texts(names(4000)), spec)

    control = JobControl.shared(spec)
    assert control.stopped is not None
    assert control.stopped.reason == "error_ratio"
    assert 100 <= len(good) + len(bad) <= 100 + 8 * 8
    control.close()


def test_a_budget_of_inputs_is_never_exceeded(server: FaultServer, tmp_path: Any) -> None:
    server.set(base_ms=10)
    spec = ControlSpec(str(tmp_path), {}, "run-3")

    good, bad = predict(call_to(server.endpoint, stop={"inputs": 21}), texts(names(100)), spec)

    control = JobControl.shared(spec)
    assert (len(good), len(bad)) == (21, 0)
    assert sum(server.stats()["inputs"].values()) == 21
    assert control.stopped is not None
    assert control.stopped.reason == "budget"
    control.close()


def test_retries_are_counted_in_a_budget(server: FaultServer, tmp_path: Any) -> None:
    server.set(base_ms=10, calls=[{"kind": "grpc", "code": "UNAVAILABLE", "from": 1, "to": 3}])
    spec = ControlSpec(str(tmp_path), {}, "run-4")

    good, bad = predict(call_to(server.endpoint, stop={"inputs": 40}), texts(names(100)), spec)

    control = JobControl.shared(spec)
    assert sum(server.stats()["inputs"].values()) == 40
    assert (len(good), len(bad)) == (40 - 2 * 8, 0)
    assert control.stopped is not None
    assert "stop.inputs allows 40 inputs, retries included" in control.stopped.message
    control.close()


def test_an_interrupt_from_another_process_lets_calls_come_home_and_sends_no_more(
    server: FaultServer, tmp_path: Any
) -> None:
    server.set(base_ms=300)
    spec = ControlSpec(str(tmp_path), {}, "run-4")

    def interrupt() -> None:
        while server.stats()["calls"] < 4:  # the pipeline may take seconds to begin
            time.sleep(0.1)
        JobControl(spec).stop("interrupt", "stopped by the user")

    threading.Thread(target=interrupt, daemon=True).start()

    good, bad = predict(call_to(server.endpoint), texts(names(2000)), spec)

    assert not bad
    assert len(good) == sum(server.stats()["inputs"].values())
    assert 8 <= len(good) < 2000
    JobControl.shared(spec).close()


def test_the_unary_stream_is_joined_and_a_broken_one_starts_again(server: FaultServer) -> None:
    contents = texts(["a b c", "d e f", "g h", "i"])
    server.set(
        inputs={
            "a b c": {"kind": "break", "after": 2, "times": 1},
            "d e f": {"kind": "break", "after": 1, "code": "UNKNOWN", "times": 1},
            "g h": {"kind": "break", "after": 1, "status": 10020},
        }
    )

    good, bad = predict(call_to(server.endpoint, method="pieces"), contents)

    answers = {
        row.reference.input_id: [output.data.parts[0].data.string_value for output in row.outputs]
        for row in good
    }
    assert answers == {"a b c": ["ok a", "ok b", "ok c"], "d e f": ["ok d", "ok e", "ok f"], "i": ["ok i"]}
    assert ids(bad) == ["g h"]
    assert server.stats()["inputs"]["g h"] == 3
    assert server.stats()["inputs"]["a b c"] == 2


def test_both_streams_send_pieces_and_keep_the_answers_in_order(server: FaultServer) -> None:
    server.set(calls=[{"kind": "break", "after": 1, "times": 1}])
    contents = texts(["one\ntwo\nthree"])

    good, bad = predict(call_to(server.endpoint, method="echo"), contents)

    assert not bad
    (row,) = good
    said = [output.data.parts[0].data.string_value for output in row.outputs]
    assert said == ["ok one", "ok two", "ok three"]
    assert row.stats.attempts == 2


def test_a_content_that_does_not_fit_is_a_row_and_no_call(server: FaultServer) -> None:
    server.set()
    contents = [Content(Reference("bad", None, "text"), b"\xff\xfe\xff"), *texts(names(3))]

    good, bad = predict(call_to(server.endpoint), contents)

    assert len(good) == 3
    assert [(row.reference.input_id, row.stage, row.attempts) for row in bad] == [("bad", "encode", 0)]


def test_the_transform_pickles_without_secrets(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", "very-secret-pat")
    server.set(key="very-secret-pat")

    pickled = pickle.dumps(call_to(server.endpoint))

    assert b"very-secret-pat" not in pickled
    good, _ = predict(pickle.loads(pickled), texts(names(3)))
    assert len(good) == 3
