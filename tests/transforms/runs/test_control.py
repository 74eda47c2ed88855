"""Stopping a job, in one process and over several."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bulkinfer.transforms.errors import CredentialsError, JobError
from bulkinfer.transforms.job.config import StopConfig
from bulkinfer.transforms.runs.control import ControlSpec, JobControl, StopReason


@pytest.fixture
def spec(tmp_path: Path) -> ControlSpec:
    return ControlSpec(str(tmp_path), {}, "run-1")


def test_the_first_reason_stands_and_lies_in_the_output(spec: ControlSpec, tmp_path: Path) -> None:
    control = JobControl(spec)
    assert control.stopped is None

    control.stop("budget", "spent")
    control.stop("interrupt", "later")

    assert control.stopped == StopReason("budget", "spent")
    assert json.loads((tmp_path / spec.marker).read_text())["reason"] == "budget"


def test_another_worker_hears_of_it_within_seconds(spec: ControlSpec) -> None:
    control = JobControl.shared(spec)
    code = (
        "import sys, pickle; from bulkinfer.transforms.runs.control import JobControl; "
        "JobControl(pickle.loads(bytes.fromhex(sys.argv[1]))).stop('interrupt', 'by hand')"
    )
    subprocess.run([sys.executable, "-c", code, pickle.dumps(spec).hex()], check=True)

    assert control.wait(5.0)
    assert control.stopped is not None
    assert control.stopped.message == "by hand"
    control.close()


def test_a_fatal_stop_raises_the_same_error_everywhere(spec: ControlSpec) -> None:
    JobControl(spec).stop("fatal", "the key is wrong", CredentialsError("the key is wrong"))

    other = JobControl(spec)
    assert other.poll() is not None
    with pytest.raises(CredentialsError, match="the key is wrong"):
        other.raise_if_fatal()


@pytest.mark.parametrize("error", ["", "NoSuchError", "Any", "InputError"])
def test_a_fatal_stop_of_an_unknown_kind_is_a_job_error(error: str) -> None:
    made = StopReason("fatal", "what happened", error).exception()

    assert type(made) is JobError
    assert str(made) == "what happened"


def test_other_stops_raise_nothing() -> None:
    control = JobControl()
    control.stop("error_ratio", "too many")

    control.raise_if_fatal()


def test_the_error_ratio_is_not_judged_before_100_inputs() -> None:
    control = JobControl()
    control.limits = StopConfig(error_ratio=0.2)

    control.record(finished=99, failed=99)
    assert control.stopped is None

    control.record(finished=1, failed=0)
    assert control.stopped is not None
    assert control.stopped.reason == "error_ratio"
    assert "99 of 100 finished inputs failed" in control.stopped.message
    assert "stop.error_ratio=0.2" in control.stopped.message


def test_a_ratio_at_the_limit_goes_on_and_1_never_stops() -> None:
    control, never = JobControl(), JobControl()
    control.limits, never.limits = StopConfig(error_ratio=0.2), StopConfig(error_ratio=1)

    control.record(finished=1000, failed=200)
    never.record(finished=1000, failed=1000)

    assert control.stopped is None
    assert never.stopped is None


def test_a_budget_is_handed_out_to_the_last_input_and_stops_at_the_next() -> None:
    control = JobControl()
    control.limits = StopConfig(inputs=5)

    assert control.admit(3) == 3
    assert control.admit(2) == 2
    assert control.stopped is None
    assert control.admit(1) == 0
    assert control.stopped is not None
    assert control.stopped.reason == "budget"
    assert not control.stopped.drops_waiting


def test_what_is_sent_is_counted_apart_from_what_is_handed_out() -> None:
    control = JobControl()
    control.limits = StopConfig(inputs=5)

    assert control.admit(5) == 5
    assert control.reserve(3) == 3
    assert control.stopped is None
    assert control.left == 2
    assert control.reserve(3) == 2  # a retry among them
    assert control.reserve(1) == 0
    assert control.stopped is not None
    assert "stop.inputs allows 5 inputs, retries included" in control.stopped.message


@pytest.mark.parametrize(("workers", "part"), [(4, 2), (10, 1), (11, 0)])
def test_workers_divide_a_budget(workers: int, part: int) -> None:
    for count in ("admit", "reserve"):
        control = JobControl()
        control.limits, control.workers = StopConfig(inputs=10), workers

        assert control.left == part
        assert getattr(control, count)(100) == part


def test_a_store_that_cannot_take_the_marker_does_not_keep_this_worker_running(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    control = JobControl(ControlSpec(str(tmp_path / "file" / "inside"), {}, "run"))

    control.stop("interrupt", "now")

    assert control.stopped is not None


def test_a_broken_marker_is_no_marker(spec: ControlSpec, tmp_path: Path) -> None:
    marker = tmp_path / spec.marker
    marker.parent.mkdir(parents=True)
    marker.write_text("{")

    assert JobControl(spec).poll() is None


def test_the_watcher_ends_with_its_run(spec: ControlSpec) -> None:
    first = JobControl.shared(spec)
    assert JobControl.shared(spec) is first
    first.close()

    time.sleep(0.05)
    assert JobControl.shared(spec) is not first
    JobControl.shared(spec).close()
