"""Calls in threads and in processes of their own, through the engine: those that hang, those that die, made once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.transforms.calls.model_call import ModelCall
from bulkinfer.transforms.endpoints.python import session
from bulkinfer.transforms.errors import EndpointError
from bulkinfer.transforms.metrics import process_metrics
from contract import Outcome, sent
from modules import prepare, write
from support.callables import open_play

PLAY = {"first": None, "bad": {}, "odd": [], "breaks": 0, "seconds": 0.0, "rate": None}


def played(folder: Path, executor: str, *, bad: dict[str, str] | None = None, **calls: Any) -> ModelCall:
    """A call of `support.callables.Played` with a file of its own."""
    with open_play(folder / "play.json") as play:
        play.update(PLAY, bad=bad or {}, unmade=calls.pop("unmade", False))
    text = "from support.callables import Played\n"
    return prepare(
        folder, text, "Played", setup={"play": str(folder / "play.json")}, executor=executor, calls=calls
    )


def seen(folder: Path) -> dict[str, Any]:
    with open_play(folder / "play.json") as play:
        return dict(play)


def names(count: int) -> Sequence[str]:
    return [f"t{number:02}" for number in range(count)]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_it_is_made_once_for_all_sessions_of_a_process(tmp_path: Path, executor: str) -> None:
    call = played(tmp_path, executor)
    for _ in range(2):
        assert len(sent(call, names(20)).good) == 20
    assert seen(tmp_path)["made"] == 1


@pytest.mark.parametrize(("given", "most"), [({}, 1), ({"in_flight": 3}, 3)])
def test_one_call_at_a_time_is_under_way_unless_the_job_wants_more(
    tmp_path: Path, given: dict[str, int], most: int
) -> None:
    text = """
        import threading, time
        class f:
            def __init__(self):
                self.now = self.most = 0
                self.lock = threading.Lock()
            def __call__(self, text):
                with self.lock:
                    self.now += 1
                    self.most = max(self.most, self.now)
                time.sleep(0.1)
                with self.lock:
                    self.now -= 1
                return [str(self.most)] * len(text)
        """
    outcome = sent(prepare(tmp_path, text, calls={"batch_size": 2, **given}), names(20))

    assert max(prediction.answer[0].texts["text"] for prediction in outcome.good.values()) == str(most)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_cannot_be_made_ends_the_job_in_a_line(tmp_path: Path, executor: str) -> None:
    outcome = sent(played(tmp_path, executor, unmade=True), names(4))

    assert outcome.stopped is not None
    error = outcome.stopped.exception()
    assert isinstance(error, EndpointError)
    assert "Played cannot be made: it raised FileNotFoundError: weights.bin (callables.py:" in str(error)
    assert (outcome.good, outcome.bad) == ({}, {})


def test_a_process_that_dies_while_the_model_is_made_ends_the_job(tmp_path: Path) -> None:
    text = "import os\nclass f:\n    def __init__(self): os._exit(7)\n    def __call__(self, text): pass\n"
    outcome = sent(prepare(tmp_path, text, executor="process"), names(4))

    assert outcome.stopped is not None
    told = str(outcome.stopped.exception())
    assert "f cannot be made: the process of the callable ended by exit code 7" in told


def test_a_call_that_hangs_in_a_thread_is_given_up(tmp_path: Path) -> None:
    outcome = sent(played(tmp_path, "thread", bad={"t03": "hang"}, timeout=0.5, batch_size=4), names(12))

    assert set(outcome.bad) == {"t03"}
    assert outcome.bad["t03"].retryable
    assert "calls.timeout (0.5 s)" in outcome.bad["t03"].message
    assert set(outcome.good) == set(names(12)) - {"t03"}


def test_threads_that_hang_for_ever_are_no_more_than_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_HANGING", 2)
    outcome = sent(
        played(tmp_path, "thread", bad=dict.fromkeys(names(8), "hang"), timeout=0.3, batch_size=1),
        names(12)[::-1],
    )

    assert outcome.stopped is not None
    told = str(outcome.stopped.exception())
    assert "2 calls of " in told
    assert "did not return within calls.timeout (0.3 s) and still run" in told
    assert "write model.executor: process" in told


def test_a_call_that_hangs_in_a_process_ends_with_it(tmp_path: Path) -> None:
    outcome = sent(played(tmp_path, "process", bad={"t03": "hang"}, timeout=1.5, batch_size=4), names(8))

    assert set(outcome.bad) == {"t03"}
    assert set(outcome.good) == set(names(8)) - {"t03"}
    assert seen(tmp_path)["made"] > 2  # a process that was ended is made anew


def test_an_input_that_kills_its_process_ends_alone(tmp_path: Path) -> None:
    outcome = sent(played(tmp_path, "process", bad={"t02": "die"}, batch_size=4), names(8))

    assert set(outcome.bad) == {"t02"}
    assert outcome.bad["t02"].error_type == "process_died"
    assert "ended by signal SIGSEGV" in outcome.bad["t02"].message
    assert set(outcome.good) == set(names(8)) - {"t02"}


def test_as_many_processes_run_as_calls_are_under_way(tmp_path: Path) -> None:
    text = """
        import os, time
        def f(text):
            print("not on standard output")
            time.sleep(0.2)
            return [str(os.getpid())] * len(text)
        """
    call = prepare(tmp_path, text, executor="process", calls={"batch_size": 2, "in_flight": 2})
    outcome = sent(call, names(20))
    processes = {prediction.answer[0].texts["text"] for prediction in outcome.good.values()}

    assert len(processes) == 2
    assert str(os.getpid()) not in processes


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    name = write(
        tmp_path, "import os, time\ndef f(text):\n    print(os.getpid(), flush=True)\n    time.sleep(600)\n"
    )
    script = f"""
import os, sys, threading, time
sys.path[:0] = {sys.path!r}
from bulkinfer.transforms.endpoints.python.kind import PythonKind
from bulkinfer.transforms.endpoints.python.places import ChildModel
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig
folder = {str(tmp_path)!r}
model = ModelConfig(kind="python", callable="{name}:f", folder=folder)
call = PythonKind().prepare(model, CallsConfig(), StopConfig(), address=folder, media_type="text", columns=())
child = ChildModel(call.endpoint.spec)
child.make()
threading.Thread(target=child.call, args=([{{"text": "a"}}],), daemon=True).start()
time.sleep(600)
"""
    started = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert started.stderr is not None
    child = int(next(line for line in started.stderr if line.strip().isdigit()))
    started.kill()
    started.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started.stderr.close()


def test_making_a_model_is_told_while_it_lasts(tmp_path: Path) -> None:
    text = f"""
        import sys
        sys.path[:0] = {sys.path!r}
        class f:
            def __init__(self):
                from bulkinfer.transforms.metrics import process_metrics
                self.told = process_metrics().snapshot()["waiting_for_model"]
            def __call__(self, text):
                return [str(self.told)] * len(text)
        """
    outcome = sent(prepare(tmp_path, text), names(1))

    assert [prediction.answer[0].texts["text"] for prediction in outcome.good.values()] == ["1"]
    assert process_metrics().snapshot()["waiting_for_model"] == 0


def test_one_process_of_a_host_makes_its_model_before_the_others(tmp_path: Path) -> None:
    script = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from bulkinfer.transforms.endpoints.python.host_lock import one_at_first
with one_at_first({str(tmp_path)!r}):
    folder = Path({str(tmp_path)!r})
    first = not (folder / "downloaded").exists()
    if first:
        print("alone", flush=True)
        while not (folder / "go").exists():
            time.sleep(0.01)
        (folder / "downloaded").touch()
    else:
        (folder / sys.argv[1]).touch()
        while len(list(folder.glob("waiting-*"))) < 2:  # both others are in here at once
            time.sleep(0.01)
"""

    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", script, name], stdout=subprocess.PIPE, text=True)

    first = start("first")
    assert first.stdout is not None
    assert first.stdout.readline() == "alone\n"
    others = [start("waiting-1"), start("waiting-2")]
    time.sleep(0.5)
    assert not list(tmp_path.glob("waiting-*"))
    (tmp_path / "go").touch()
    for process in (first, *others):
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
        process.stdout.close()


def test_models_that_nobody_uses_make_room_for_the_next(tmp_path: Path) -> None:
    text = "import os\ndef f(text):\n    return [str(os.getpid())] * len(text)\n"
    outcomes: list[Outcome] = []
    for _ in range(2):
        outcomes.append(sent(prepare(tmp_path, text, executor="process"), names(1)))
    first, second = (int(one.good["t00"].answer[0].texts["text"]) for one in outcomes)

    assert first != second
    deadline = time.monotonic() + 30
    while Path(f"/proc/{first}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
