"""Random faults of a real server, against the whole engine with one submitter and with several."""

from __future__ import annotations

import concurrent.futures
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from bulkinfer.transforms.calls.batching import cut
from bulkinfer.transforms.calls.engine import Engine
from bulkinfer.transforms.calls.model_call import ModelCall
from bulkinfer.transforms.calls.submissions import Result, Submitter
from bulkinfer.transforms.metrics import Metrics
from bulkinfer.transforms.records import Failure, Prediction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.calls import call_to, items, texts
from support.fault_server import FaultServer, running

#: The server's message limit; each text is a tenth of it, so a dozen in one message are too large.
MESSAGE = 20_000
NAMES = [f"t{number:03}" + "." * 2_000 for number in range(40)]
HUGE = "huge" + "." * 30_000


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with running(max_message=MESSAGE) as server:
        yield server


def through_engine(engine: Engine, call: ModelCall, names: list[str], batch_size: int) -> list[Result]:
    """Send inputs by one submitter and return its results, within 40 s; each token is the input's name."""
    submitter: Submitter = engine.open_submitter()
    results, deadline = [], time.monotonic() + 40
    for batch in cut(items(call, texts(names)), batch_size, 1 << 30, lambda _: 1):
        while not submitter.submit(batch):
            assert time.monotonic() < deadline
            submitter.wait(0.1)
            results += submitter.take()
    while submitter.pending:
        assert time.monotonic() < deadline
        submitter.wait(0.1)
        results += submitter.take()
    return results + submitter.take()


def play(
    server: FaultServer,
    names: list[list[str]],
    *,
    batch_size: int = 8,
    in_flight: int = 4,
    timeout: float = 20,
    **faults: Any,
) -> list[list[Result]]:
    """Run one submitter for each list of inputs under these faults; checks what always holds."""
    server.set(**faults)
    call = call_to(server.endpoint, batch_size=batch_size, in_flight=in_flight, timeout=timeout)
    metrics = Metrics()
    engine = Engine(call, None, metrics)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(names)) as threads:
            running_ones = [threads.submit(through_engine, engine, call, mine, batch_size) for mine in names]
            results = [one.result() for one in running_ones]
    finally:
        engine.close()
    stats, counts = server.stats(), metrics.snapshot()
    for mine, found in zip(names, results, strict=True):
        assert Counter(token for token, _ in found) == Counter(mine)
        for token, value in found:
            assert value.reference.input_id == token
            if isinstance(value, Prediction):
                (output,) = value.outputs
                assert output.data.parts[0].data.string_value == f"ok {token}"
                assert stats["answered"][token] == 1  # nothing that succeeded was sent again
            else:
                assert stats["answered"].get(token, 0) == 0
                assert value.error_type
                assert value.reference.inline is None
    assert stats["peak"] <= in_flight
    assert counts["inputs_done"] + counts["inputs_failed"] == sum(map(len, names))
    assert counts["in_flight"] == 0
    return results


def failed(results: list[list[Result]]) -> set[str]:
    return {token for found in results for token, value in found if isinstance(value, Failure)}


#: Transient faults. A model that is loading and a single throttling answer slow all calls down for many seconds, so
#: they are left to the tests with a simulated clock (test_batch_sender); a server with a real rate limit is below.
PASSING = st.sampled_from(
    [
        {"kind": "status", "code": 25604},
        {"kind": "status", "code": 40030},
        {"kind": "grpc", "code": "UNAVAILABLE"},
        {"kind": "grpc", "code": "ABORTED", "pushback_ms": 50},
        {"kind": "grpc", "code": "RESOURCE_EXHAUSTED", "details": "busy", "retry_after": 0.1},
        {"kind": "output", "code": 25604},
        {"kind": "hang", "seconds": 0.3},
    ]
)
BLAMING = st.sampled_from(
    [
        {"kind": "status", "code": 10020, "details": "Traceback: ValueError"},
        {"kind": "status", "code": 30104},
        {"kind": "grpc", "code": "UNKNOWN"},
        {"kind": "grpc", "code": "INVALID_ARGUMENT"},
        {"kind": "count", "extra": -1},
        {"kind": "count", "extra": 1},
        {"kind": "output", "code": 30104},
    ]
)
BAD = st.dictionaries(st.sampled_from(NAMES), BLAMING, max_size=5)
SUBMITTERS = st.integers(1, 3)


def scheduled(faults: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Assign each fault to the call with its index."""
    return [{**fault, "from": at, "to": at + 1} for at, fault in enumerate(faults) if fault]


def spread(names: list[str], submitters: int) -> list[list[str]]:
    return [names[number::submitters] for number in range(submitters)]


real = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@real
@given(
    st.lists(st.one_of(st.none(), PASSING), max_size=10),
    BAD,
    SUBMITTERS,
    st.integers(1, 24),
    st.integers(1, 4),
)
def test_only_bad_inputs_fail_whatever_passes_by(
    server: FaultServer,
    schedule: list[Any],
    bad: dict[str, Any],
    submitters: int,
    batch_size: int,
    in_flight: int,
) -> None:
    results = play(
        server,
        spread(NAMES, submitters),
        batch_size=batch_size,
        in_flight=in_flight,
        calls=scheduled(schedule),
        inputs=bad,
    )

    # What hits a whole call hides, at this server, what a bad input would have done to it.
    hidden = any(fault and fault["kind"] in ("hang", "output") for fault in schedule)
    assert failed(results) <= set(bad)
    assert hidden or failed(results) == set(bad)


@real
@given(
    st.lists(st.one_of(st.none(), PASSING, BLAMING), max_size=14),
    BAD,
    SUBMITTERS,
    st.integers(1, 24),
    st.booleans(),
)
def test_every_input_ends_once_whatever_the_faults_and_their_order(
    server: FaultServer,
    schedule: list[Any],
    bad: dict[str, Any],
    submitters: int,
    batch_size: int,
    silent: bool,
) -> None:
    blaming = sum(bool(fault) and fault["kind"] != "hang" for fault in schedule)

    results = play(
        server,
        spread([*NAMES, HUGE], submitters),
        batch_size=batch_size,
        calls=scheduled(schedule),
        inputs=bad,
        silent_mixed=silent,
    )

    lost = failed(results)
    assert HUGE in lost
    # A scripted fault costs an input only where that one stood alone in the call, or was the one it named.
    assert len(lost) <= len(bad) + 1 + blaming


def test_a_call_that_outlives_its_deadline_is_sent_again_and_answered_once(server: FaultServer) -> None:
    hang = {"kind": "hang", "seconds": 5.0}

    results = play(server, spread(NAMES[:24], 2), timeout=1.5, calls=scheduled([None, hang]))

    assert failed(results) == set()


@pytest.mark.parametrize("submitters", [1, 3])
def test_each_kind_of_fault_in_one_job(server: FaultServer, submitters: int) -> None:
    schedule = [{"kind": "grpc", "code": "UNAVAILABLE"}, {"kind": "status", "code": 40030}]
    shaky = {
        NAMES[3]: {"kind": "output", "code": 25604, "times": 2},
        NAMES[12]: {"kind": "count", "extra": -1, "times": 1},
        NAMES[21]: {"kind": "hang", "seconds": 0.2, "times": 1},
        NAMES[33]: {"kind": "status", "code": 10020, "times": 1},
    }
    bad = {NAMES[7]: {"kind": "status", "code": 10020}, NAMES[30]: {"kind": "output", "code": 30104}}

    results = play(
        server,
        spread([*NAMES, HUGE], submitters),
        batch_size=6,
        calls=scheduled(schedule),
        inputs={**bad, **shaky},
    )

    assert failed(results) == {*bad, HUGE}
    assert max(server.stats()["sizes"]) * len(NAMES[0]) < MESSAGE  # what is too large never reaches the model


def test_a_server_that_means_its_limit_throttles_and_loses_nothing(server: FaultServer) -> None:
    bad = {NAMES[7]: {"kind": "status", "code": 10020}}

    results = play(server, spread(NAMES, 2), batch_size=2, in_flight=8, calls_per_second=8, inputs=bad)

    stats = server.stats()
    assert failed(results) == set(bad)
    assert 0 < stats["throttled"] < stats["calls"] / 2
