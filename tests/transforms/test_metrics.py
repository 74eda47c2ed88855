"""Counters of a worker process."""

from __future__ import annotations

import threading

import pytest
from bulkinfer.transforms.metrics import COUNTERS, Metrics, process_metrics


def test_each_reader_gets_the_growth_since_it_last_asked() -> None:
    metrics = Metrics()
    metrics.add(calls=2, in_flight=1)

    assert metrics.take_delta("a") == {"calls": 2}
    metrics.add(calls=1, inputs_done=5)
    assert metrics.take_delta("a") == {"calls": 1, "inputs_done": 5}
    assert metrics.take_delta("b") == {"calls": 3, "inputs_done": 5}
    assert metrics.take_delta("a") == {}


def test_a_counter_that_is_not_documented_is_refused() -> None:
    with pytest.raises(KeyError, match="callz"):
        Metrics().add(callz=1)


def test_counts_from_many_threads_add_up() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.add(calls=1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert metrics.snapshot()["calls"] == 8000


def test_the_process_has_one_set_and_every_counter_says_where_it_counts() -> None:
    assert process_metrics() is process_metrics()
    assert set(process_metrics().snapshot()) == set(COUNTERS)
    assert all(meaning.endswith(")") for meaning in COUNTERS.values() if "in_flight" not in meaning)
