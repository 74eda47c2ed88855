"""One writer at an output: whoever is alive keeps it, whoever is dead loses it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from bulkinfer.transforms.errors import OutputInUseError
from bulkinfer.transforms.runs import lock as run_lock
from bulkinfer.transforms.runs.lock import LOCKS, RunLock
from bulkinfer.transforms.storage.store import Entry, Store
from support.claims import write_claim

THEIRS = f"{LOCKS}/theirs.json"
HOLD = """
import sys, time
from bulkinfer.transforms.runs.lock import RunLock
from bulkinfer.transforms.storage.store import Store
with RunLock(Store(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "theirs"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def short_poll(monkeypatch):
    monkeypatch.setattr(run_lock, "_POLL_S", 0.05)


class ShiftedClock(Store):
    """A store whose clock is an hour off, as a listing shows it."""

    def files(self, directory=""):
        return [Entry(one.path, one.size, one.mtime - 3600) for one in super().files(directory)]


def test_a_run_of_this_machine_that_is_alive_is_named_at_once(tmp_path, holder, caplog):
    with pytest.raises(OutputInUseError) as told, RunLock(Store(str(tmp_path)), "mine"):
        pass
    message = str(told.value)
    assert "waiting" not in caplog.text
    assert f"run theirs writes to {tmp_path} since 20" in message
    assert f"(process {holder.pid} on " in message
    assert "wait until it ends, stop it, or set another output.uri" in message
    assert [entry.name for entry in Store(str(tmp_path)).files(LOCKS)] == ["theirs.json"]


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells one process from the next of its number"
)
def test_a_killed_run_of_this_machine_loses_its_lock_at_once(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunLock(Store(str(tmp_path)), "mine"):
        assert [entry.name for entry in Store(str(tmp_path)).files(LOCKS)] == ["mine.json"]
    assert Store(str(tmp_path)).files(LOCKS) == []


@pytest.mark.parametrize("kind", [Store, ShiftedClock])
def test_a_run_elsewhere_is_dead_after_a_minute_of_silence_whatever_the_clocks_say(tmp_path, kind):
    store = kind(str(tmp_path))
    write_claim(store, THEIRS, age_s=80)
    with RunLock(store, "mine"):
        assert [entry.name for entry in store.files(LOCKS)] == ["mine.json"]


def test_a_run_elsewhere_that_may_be_dead_is_waited_for_until_its_claim_expires(tmp_path, short_poll, caplog):
    """As when Kubernetes starts a new pod ten seconds after it lost one."""
    store = Store(str(tmp_path))
    write_claim(store, THEIRS, age_s=58.8)
    started = time.monotonic()
    with RunLock(store, "mine"):
        waited = time.monotonic() - started
    assert 1.0 < waited < 10
    assert caplog.text.count("run theirs (process 4711 on elsewhere) writes to") == 1
    assert "or is dead: waiting up to 1 s for a sign of life" in caplog.text


@pytest.mark.parametrize("held", [True, False], ids=["a run", "an earlier start"])
def test_one_elsewhere_is_alive_once_it_renews_its_claim(tmp_path, short_poll, held):
    store = Store(str(tmp_path))
    name = "a_start_with_a_smaller_name"
    write_claim(store, f"{LOCKS}/{name}.json", age_s=5, run_id=name, held=held)
    heartbeat = threading.Timer(
        0.3, lambda: write_claim(store, f"{LOCKS}/{name}.json", age_s=0, run_id=name, held=held)
    )
    heartbeat.start()
    started = time.monotonic()
    with pytest.raises(OutputInUseError, match="process 4711 on elsewhere"), RunLock(store, "mine"):
        pass
    assert 0.3 <= time.monotonic() - started < 10
    assert [entry.name for entry in store.files(LOCKS)] == [f"{name}.json"]


def test_a_wait_that_is_interrupted_leaves_no_claim(tmp_path, monkeypatch):
    store = Store(str(tmp_path))
    write_claim(store, THEIRS, age_s=5)
    monkeypatch.setattr(run_lock.time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), RunLock(store, "mine"):
        pass
    assert [entry.name for entry in store.files(LOCKS)] == ["theirs.json"]


def test_a_lock_is_renewed(tmp_path):
    store = Store(str(tmp_path))
    with RunLock(store, "mine", ttl_s=0.4):
        first = store.files(LOCKS)[0].mtime
        time.sleep(0.5)
        assert store.files(LOCKS)[0].mtime > first


def test_of_many_that_begin_at_once_exactly_one_goes_on(tmp_path):
    store = Store(str(tmp_path))
    start, won, refused = threading.Barrier(6), [], []
    done = threading.Event()

    def begin(name):
        start.wait()
        try:
            with RunLock(store, name):
                won.append(name)
                done.wait(10)
        except OutputInUseError:
            refused.append(name)
        if len(refused) == 5:
            done.set()

    threads = [threading.Thread(target=begin, args=(f"run{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(won), len(refused)) == (1, 5)


def test_a_claim_that_nobody_understands_refuses(tmp_path):
    Store(str(tmp_path)).write(f"{LOCKS}/odd.json", b"{}")
    with (
        pytest.raises(OutputInUseError, match="is no claim that this version of bulkinfer understands"),
        RunLock(Store(str(tmp_path)), "mine"),
    ):
        pass
