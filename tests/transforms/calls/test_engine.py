"""The engine without Beam: submitters, bounds, and random faults that must not lose or double an input."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from bulkinfer.transforms.calls import submissions
from bulkinfer.transforms.calls.batching import Item, cut
from bulkinfer.transforms.calls.engine import Engine
from bulkinfer.transforms.calls.model_call import ModelCall
from bulkinfer.transforms.calls.submissions import WAITING_FACTOR, Capacity, Result, Submitter
from bulkinfer.transforms.errors import EndpointError
from bulkinfer.transforms.metrics import Metrics
from bulkinfer.transforms.records import Content, Failure, Prediction, Reference
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.calls import call_to, items, texts
from support.fault_server import FaultServer, running
from support.redis_server import redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running() as server:
        yield server


def drive(submitter: Submitter, batches: Iterator[Sequence[Item]], *, until: float = 90.0) -> list[Result]:
    """Hand batches in and take everything out, as a DoFn does.

    The bound is against hanging alone: a few refusals among the first calls make the rest slow, and rightly so.
    """
    results: list[Result] = []
    deadline = time.monotonic() + until
    for batch in batches:
        while not submitter.submit(batch):
            assert time.monotonic() < deadline
            submitter.wait(0.2)
            results += submitter.take()
    while submitter.pending:
        assert time.monotonic() < deadline
        submitter.wait(0.2)
        results += submitter.take()
    return results


def predicted(
    call: ModelCall, contents: Sequence[Content], control: JobControl | None = None
) -> list[Result]:
    engine = Engine(call, control, Metrics())
    size = call.calls.batch_size if call.binding.method.type == "UNARY_UNARY" else 1
    try:
        return drive(engine.open_submitter(), cut(items(call, contents), size, 1 << 30, lambda item: 1))
    finally:
        engine.close()


NAMES = [f"n{number:02d}" for number in range(40)]
TRANSIENT = st.sampled_from(
    [
        {"kind": "grpc", "code": "UNAVAILABLE"},
        {"kind": "grpc", "code": "RESOURCE_EXHAUSTED", "details": "busy"},
        {"kind": "status", "code": 11005},
        {"kind": "status", "code": 25604},
        {"kind": "count", "extra": -1},
        {"kind": "count", "extra": 2},
        {"kind": "status", "code": 10020},
        {"kind": "grpc", "code": "UNKNOWN"},
    ]
)
PERMANENT = st.sampled_from(
    [
        {"kind": "status", "code": 10020},
        {"kind": "status", "code": 21313},
        {"kind": "output", "code": 30104},
        {"kind": "output", "code": 10020},
        {"kind": "count", "extra": 1},
        {"kind": "grpc", "code": "INVALID_ARGUMENT"},
        {"kind": "grpc", "code": "INTERNAL", "details": "bad tensor"},
    ]
)
PASSING = st.builds(lambda fault, times: {**fault, "times": times}, TRANSIENT, st.integers(1, 2))
PASSING_OUTPUT = st.builds(lambda times: {"kind": "output", "code": 21354, "times": times}, st.integers(1, 2))


@pytest.mark.timeout(600)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bad=st.dictionaries(st.sampled_from(NAMES), PERMANENT, max_size=6),
    shaky=st.dictionaries(st.sampled_from(NAMES), st.one_of(PASSING, PASSING_OUTPUT), max_size=6),
    calls=st.lists(PASSING, max_size=3),
    batch=st.integers(1, 40),
    in_flight=st.integers(1, 5),
)
def test_random_faults_end_with_every_input_once_and_only_bad_ones_fail(
    server: FaultServer,
    bad: dict[str, Any],
    shaky: dict[str, Any],
    calls: list[Any],
    batch: int,
    in_flight: int,
) -> None:
    server.set(inputs={**shaky, **bad}, calls=calls)

    results = predicted(call_to(server.endpoint, batch_size=batch, in_flight=in_flight), texts(NAMES))

    assert Counter(token for token, _ in results) == Counter(NAMES)
    failed = {token for token, value in results if isinstance(value, Failure)}
    # A fault of a whole call that passes may still hit an input when it stands alone, where a FAILURE is final.
    assert set(bad) <= failed or not bad
    final = any(fault["kind"] in ("status", "count") or fault.get("code") == "UNKNOWN" for fault in calls)
    if not final:
        unlucky = {name for name, fault in shaky.items() if fault["kind"] in ("status", "count", "grpc")}
        assert failed <= set(bad) | unlucky
    stats = server.stats()
    assert stats["peak"] <= in_flight
    for token, value in results:
        if isinstance(value, Prediction):
            assert value.outputs[0].data.parts[0].data.string_value == f"ok {token}"
            assert value.stats.attempts == stats["inputs"][token] + refused(
                stats, token, value.stats.attempts
            )


def refused(stats: dict[str, Any], token: str, attempts: int) -> int:
    """Attempts of an input in throttled calls, whose inputs the server does not count."""
    return 0 if not stats["throttled"] else attempts - stats["inputs"][token]


STREAM_FAULTS = st.sampled_from(
    [
        {"kind": "break", "after": 1, "times": 1},
        {"kind": "break", "after": 2, "times": 2},
        {"kind": "break", "after": 0, "times": 1},
        {"kind": "break", "after": 1, "code": "UNKNOWN", "times": 2},
        {"kind": "grpc", "code": "UNAVAILABLE", "times": 1},
        {"kind": "status", "code": 21354, "times": 1},
    ]
)


@pytest.mark.parametrize("method", ["pieces", "echo"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.dictionaries(st.integers(0, 9), STREAM_FAULTS, max_size=4))
def test_a_stream_is_whole_or_not_there(server: FaultServer, method: str, faults: dict[int, Any]) -> None:
    gap = " " if method == "pieces" else "\n"
    names = [gap.join(f"{word}{number}" for word in "abc") for number in range(10)]
    first = {name: name if method == "pieces" else name.split(gap)[0] for name in names}
    server.set(inputs={first[names[number]]: fault for number, fault in faults.items()})

    results = predicted(call_to(server.endpoint, method=method), texts(names))

    assert sorted(token for token, _ in results) == sorted(names)
    for token, value in results:
        assert isinstance(value, Prediction), value
        said = [output.data.parts[0].data.string_value for output in value.outputs]
        assert said == [f"ok {word}" for word in token.split(gap)]


@pytest.mark.parametrize("times", [1, 9])
def test_an_error_that_a_stream_says_in_a_piece_is_no_piece_of_its_answer(
    server: FaultServer, times: int
) -> None:
    error = {"code": 21354, "description": "busy", "details": "upstream"}
    server.set(inputs={"a b c": {"kind": "say", "after": 1, "text": json.dumps(error), "times": times}})

    ((_, value),) = predicted(call_to(server.endpoint, method="pieces", retry_for=1.0), texts(["a b c"]))

    if times == 1:  # MODEL_BUSY_PLEASE_RETRY is retried, from the stream's start
        assert isinstance(value, Prediction)
        assert [one.data.parts[0].data.string_value for one in value.outputs] == ["ok a", "ok b", "ok c"]
    else:
        assert isinstance(value, Failure)
        assert (value.status_code, value.retryable) == (21354, True)


def test_a_submitter_that_is_cancelled_gives_nothing_of_its_old_bundle(server: FaultServer) -> None:
    server.set(base_ms=200)
    call = call_to(server.endpoint)
    engine = Engine(call, None, Metrics())
    submitter = engine.open_submitter()
    old = items(call, texts(["old1", "old2"]))
    assert submitter.submit(old)
    time.sleep(0.05)

    submitter.cancel()
    results = drive(submitter, iter([items(call, texts(["new"]))]))

    assert [token for token, _ in results] == ["new"]
    assert submitter.pending == 0
    engine.close()


def test_submitters_share_the_bounds_and_get_their_own_results(server: FaultServer) -> None:
    server.set(base_ms=20, places=64)
    call = call_to(server.endpoint, in_flight=2)
    engine = Engine(call, None, Metrics())
    found: dict[int, list[Result]] = {}

    def work(number: int) -> None:
        mine = items(call, texts(f"{number}-{each}" for each in range(40)))
        found[number] = drive(engine.open_submitter(), cut(mine, 8, 1 << 30, lambda item: 1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.close()

    assert server.stats()["peak"] <= 2
    for number, results in found.items():
        assert sorted(token for token, _ in results) == sorted(f"{number}-{each}" for each in range(40))


def test_a_full_engine_refuses_batches_until_there_is_capacity(server: FaultServer) -> None:
    server.set(base_ms=300)
    call = call_to(
        server.endpoint,
        method="measure",
        media_type="image",
        in_flight=2,
        batch_bytes=10_000,
        in_flight_bytes=25_000,
    )
    engine = Engine(call, None, Metrics())
    submitter = engine.open_submitter()
    batches = [items(call, [Content(Reference(f"i{n}", None, "image"), b"x" * 10_000)]) for n in range(3)]

    assert submitter.submit(batches[0])
    assert submitter.submit(batches[1])
    assert not submitter.submit(batches[2])
    deadline = time.monotonic() + 5
    while not submitter.submit(batches[2]):
        assert time.monotonic() < deadline
        submitter.wait(0.2)
    while submitter.pending:
        submitter.wait(0.2)
        submitter.take()
    engine.close()


def test_one_batch_larger_than_all_capacity_still_goes(server: FaultServer) -> None:
    server.set()
    call = call_to(
        server.endpoint, method="measure", media_type="image", batch_bytes=1000, in_flight_bytes=1000
    )

    results = predicted(call, [Content(Reference(f"i{n}", None, "image"), b"x" * 50_000) for n in range(3)])

    assert len(results) == 3


def test_contents_are_let_go_when_their_batch_ends(server: FaultServer) -> None:
    class Watched(Content):
        """A content that can be watched."""

    server.set()
    call = call_to(server.endpoint, method="measure", media_type="image")
    engine = Engine(call, None, Metrics())
    submitter = engine.open_submitter()
    content = Watched(Reference("a", None, "image"), b"x" * 1000)
    watched = weakref.ref(content)
    gc.disable()
    try:
        results = drive(submitter, iter([items(call, [content])]))
        del content
        time.sleep(0.1)
        assert len(results) == 1
        assert watched() is None  # at once, not by the garbage collector
    finally:
        gc.enable()
    engine.close()


def test_engines_are_shared_by_token_and_outlive_a_short_pause(server: FaultServer) -> None:
    call = call_to(server.endpoint)
    other = call_to(server.endpoint)
    first, second, third = Engine.shared(call), Engine.shared(call), Engine.shared(other)

    assert first is second
    assert first is not third
    for engine in (first, second, third):
        engine.release()
    again = Engine.shared(call)
    assert again is first
    again.release()


def test_an_engine_that_closes_leaves_no_connection_at_the_limiter(server: FaultServer) -> None:
    """A worker process opens one engine a run, and Redis allows so many connections."""
    server.set(base_ms=5)
    with redis_server() as limiter, redis.Redis.from_url(limiter) as client:
        before = len(client.client_list())
        predicted(call_to(server.endpoint, calls_per_second=50, limiter=limiter), texts(NAMES[:8]))

        deadline = time.monotonic() + 5.0
        while (open_now := len(client.client_list())) > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_now == before


def test_a_run_gets_no_engine_that_another_run_stopped(server: FaultServer, tmp_path: Path) -> None:
    call = call_to(server.endpoint)
    specs = [ControlSpec(str(tmp_path), {}, f"run-{number}") for number in range(2)]
    stopped = Engine.shared(call, specs[0])
    stopped.control.stop("interrupt", "by hand")
    stopped.release()
    alone = Engine.shared(call)
    alone.control.stop("fatal", "no key")
    alone.release()

    for spec in (specs[1], None):
        engine = Engine.shared(call, spec)
        assert engine.control.stopped is None
        engine.release()
    for spec in specs:
        JobControl.shared(spec).close()


def test_a_timeout_too_short_for_the_model_stops_the_job_and_names_the_key(server: FaultServer) -> None:
    server.set(base_ms=400)
    control = JobControl()

    assert predicted(call_to(server.endpoint, timeout=0.15), texts(NAMES), control) == []

    with pytest.raises(
        EndpointError, match=r"every call ended at calls.timeout \(0.15 s\); raise calls.timeout"
    ):
        control.raise_if_fatal()
    assert max(server.stats()["inputs"].values()) <= 3


def test_counters_tell_what_happened(server: FaultServer) -> None:
    server.set(
        inputs={"t1": {"kind": "output", "code": 30104}},
        calls=[{"kind": "status", "code": 25604, "times": 1}],
    )
    call = call_to(server.endpoint)
    metrics = Metrics()
    engine = Engine(call, None, metrics)
    drive(engine.open_submitter(), iter([items(call, texts(["t0", "t1", "t2"]))]))
    engine.close()

    counts = metrics.snapshot()
    wanted = {
        "calls": 2,
        "retries": 1,
        "inputs_sent": 3,
        "inputs_done": 2,
        "inputs_failed": 1,
        "in_flight": 0,
    }
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["bytes_sent"] > 0
    assert counts["bytes_received"] > 0


def test_no_server_is_a_row_and_not_a_crash(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkinfer.transforms.endpoints.over_grpc.channel.CONNECT_S", 0.3)
    with running() as short_lived:
        call = call_to(short_lived.endpoint, retry_for=1.0)

    results = predicted(call, texts(["a", "b"]))

    assert {token for token, _ in results} == {"a", "b"}
    for _, value in results:
        assert isinstance(value, Failure)
        assert (value.error_type, value.grpc_code, value.retryable, value.attempts) == (
            "unavailable", "UNAVAILABLE", True, 0,
        )  # fmt: skip


def test_no_more_waits_in_an_engine_than_leaves_in_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other worker can take over what waits: slow calls keep little, quick ones eight times what is under way."""
    now = 100.0
    monkeypatch.setattr(submissions, "time", SimpleNamespace(monotonic=lambda: now))

    def waiting(seconds_a_call: float) -> int:
        """Batches that wait beside four under way, after so many calls."""
        nonlocal now
        capacity = Capacity(4, 1 << 30)
        for _ in range(40):
            while capacity.enter(100):
                pass
            now += seconds_a_call / 4
            capacity.leave(100)
        while capacity.enter(100):
            pass
        return capacity.batches - 4

    assert waiting(10.0) == 1
    assert waiting(1.0) in (7, 8, 9)
    assert waiting(0.05) == 4 * WAITING_FACTOR
