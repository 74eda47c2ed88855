"""One writer at an output: whoever is alive keeps it, whoever is dead loses it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from bulkinfer.transforms.errors import OutputInUseError
from bulkinfer.transforms.run_lock import LOCKS, RunLock
from bulkinfer.transforms.store import Entry, Store
from support.claims import write_claim

HOLD = """
import sys, time
from bulkinfer.transforms.run_lock import RunLock
from bulkinfer.transforms.store import Store
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


class ShiftedClock(Store):
    """A store whose clock is an hour off, as a listing shows it."""

    def files(self, directory=""):
        return [Entry(one.path, one.size, one.mtime - 3600) for one in super().files(directory)]


def test_a_run_that_is_alive_is_named(tmp_path, holder):
    with pytest.raises(OutputInUseError) as told, RunLock(Store(str(tmp_path)), "mine"):
        pass
    message = str(told.value)
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
    write_claim(store, f"{LOCKS}/theirs.json", age_s=40)
    with pytest.raises(OutputInUseError, match="process 4711 on elsewhere"), RunLock(store, "mine"):
        pass
    write_claim(store, f"{LOCKS}/theirs.json", age_s=80)
    with RunLock(store, "mine"):
        pass


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
