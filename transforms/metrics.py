"""Every counter of a worker process, its unit and where it is counted.

Counters are process-wide and thread-safe. The bundle's own thread passes their growth on to Beam's counters,
because Beam loses metrics written from any other thread; part manifests carry their growth since the last
part.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["COUNTERS", "Metrics", "process_metrics"]

#: Name to meaning. All but the last three only grow.
COUNTERS: Mapping[str, str] = {
    "calls": "calls started, retries and pieces of split batches included (engine)",
    "retries": "calls that sent inputs again, after a pause or in a split batch (engine)",
    "throttled": "calls that the server refused for its rate limit, or because it was full (engine)",
    "splits": "batches and pieces that were cut because a call failed as a whole (engine)",
    "inputs_sent": "inputs that were sent at least once (engine)",
    "inputs_in_calls": "inputs of all calls, each as often as it was sent (engine)",
    "inputs_done": "inputs that ended as a prediction (engine)",
    "inputs_failed": "inputs that ended as an error of the call (engine, predict)",
    "inputs_dropped": "inputs left to a later run, because the job stopped (engine, predict)",
    "bytes_sent": "bytes of request messages (engine)",
    "bytes_received": "bytes of response messages (engine)",
    "prompt_tokens": "tokens of prompts, as the server reports them (engine)",
    "completion_tokens": "tokens of completions, as the server reports them (engine)",
    "call_ms": "milliseconds that calls took, summed over calls (engine)",
    "wait_ms": "milliseconds that batches waited for a rate limit or after a fault (engine)",
    "inputs_skipped": "inputs that earlier runs finished (completed)",
    "errors_skipped": "of these, inputs that are in `errors` (completed)",
    "inputs_new": "inputs of this run that were in no table before (completed)",
    "inputs_changed": "inputs of this run that an earlier one finished, with other content or job (completed)",
    "inputs_predicted": "inputs of the source that were in `predictions` before this run (completed)",
    "inputs_undone": "inputs that a run of failed inputs alone left out although no run did them (completed)",
    "masks_unreadable": "rows of `masks` whose mask cannot be read (tables)",
    "in_flight": "calls under way at this moment (engine)",
    "waiting_for_store": "writers of parts that wait for the output's store at this moment (tables)",
    "waiting_for_model": "callables that are being made at this moment (endpoints.python)",
}
#: What goes up and down, and is no growth.
_GAUGES = frozenset({"in_flight", "waiting_for_store", "waiting_for_model"})


class Counter(Protocol):
    """A counter of Beam's."""

    def inc(self, n: int) -> None:
        """Grow by so much."""


class Metrics:
    """Counters by name, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self._taken: dict[str, dict[str, int]] = {}

    def add(self, **growth: int) -> None:
        """Add to counters; a name that is not in `COUNTERS` raises KeyError."""
        with self._lock:
            for name, value in growth.items():
                self._values[name] += value

    def snapshot(self) -> dict[str, int]:
        """All counters as they are."""
        with self._lock:
            return dict(self._values)

    def take_delta(self, reader: str = "parts") -> dict[str, int]:
        """How much each counter grew since this reader last asked; counters that did not grow are left out.

        Args:
            reader: each one has its own memory of what it took.
        """
        with self._lock:
            before = self._taken.get(reader, {})
            self._taken[reader] = dict(self._values)
            return {
                name: value - before.get(name, 0)
                for name, value in self._values.items()
                if name not in _GAUGES and value != before.get(name, 0)
            }

    def report(self, counter: Callable[[str], Counter]) -> None:
        """Pass the growth of all counters on; only a bundle's own thread may, for Beam hears no other.

        Args:
            counter: gives Beam's counter of a name.
        """
        for name, growth in self.take_delta("beam").items():
            counter(name).inc(growth)


_PROCESS = Metrics()


def process_metrics() -> Metrics:
    """The counters of this process."""
    return _PROCESS
