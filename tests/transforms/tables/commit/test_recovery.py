"""A later start stops workers that outlive their launcher, and keeps what they finish."""

from __future__ import annotations

import json
import threading

import pytest
from bulkinfer.transforms.runs.control import ControlSpec, JobControl
from bulkinfer.transforms.runs.record import begin_run
from bulkinfer.transforms.tables.commit import commit, recovery
from bulkinfer.transforms.tables.commit.recovery import recover
from support.tables import make_spec, prediction, stage

MARKER = "_runs/20260131T120000Z-000001/stop.json"


def _begun(tmp_path, runner):
    spec = make_spec(str(tmp_path))
    begin_run(spec.store(), spec, {"runner": {"name": runner}})
    return spec


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(recovery, "_QUIET_S", 0.2)


@pytest.mark.parametrize("runner", ["flink", "direct"])
def test_workers_of_an_interrupted_run_are_told_to_stop(tmp_path, quiet, runner):
    spec = _begun(tmp_path, runner)
    control = JobControl(ControlSpec(str(tmp_path), {}, spec.run_id))

    recover(spec.store())

    assert control.poll() is not None
    assert control.stopped.drops_waiting


def test_what_workers_elsewhere_finish_meanwhile_is_kept(tmp_path, quiet, monkeypatch):
    """The thread does as a worker: it polls for the marker, then writes its part."""
    spec = _begun(tmp_path, "flink")
    stage(spec, [[prediction("early")]])
    monkeypatch.setattr(recovery, "_QUIET_S", 2.0)
    control = JobControl(ControlSpec(str(tmp_path), {}, spec.run_id))

    def worker():
        while control.poll() is None:
            pass
        stage(spec, [[prediction("late")]])

    thread = threading.Thread(target=worker)
    thread.start()
    (result,) = recover(spec.store())
    thread.join()

    assert result.predictions == 2


def test_an_earlier_reason_to_stop_stays(tmp_path, quiet):
    spec = _begun(tmp_path, "flink")
    store = spec.store()
    store.write(MARKER, b'{"reason": "budget", "message": "spent", "error": ""}')

    recover(store)

    assert json.loads(store.read(MARKER))["reason"] == "budget"


def test_a_run_whose_plan_stands_is_not_waited_for(tmp_path, monkeypatch):
    """Its workers cannot stage parts any more."""
    spec = _begun(tmp_path, "flink")
    stage(spec, [[prediction("a")]])
    store = spec.store()
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "_QUIET_S", 0.1)
        patch.setattr(commit, "_publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recover(store)
    monkeypatch.setattr(recovery, "_QUIET_S", 1e9)

    (result,) = recover(store)

    assert result.predictions == 1
