"""Who is alive, as far as a claim and this machine can tell."""

from __future__ import annotations

import os

import pytest
from bulkinfer.transforms.runs import claims
from bulkinfer.transforms.runs.claims import ClaimFile
from bulkinfer.transforms.storage.store import Store
from support.claims import write_claim

MAC = "MacBook-Pro.local"
GONE = 2**22 + 1  #: above the largest process number of Linux


@pytest.fixture
def mac(monkeypatch):
    """A machine without /proc."""

    def start(pid):
        return "" if pid == GONE else "unknown"

    monkeypatch.setattr(claims, "_machine", lambda: MAC)
    monkeypatch.setattr(claims, "_process_start", start)


def alive(folder, **claim):
    store = Store(str(folder))
    write_claim(store, "claims/theirs.json", **claim)
    own = ClaimFile(store, "claims", "mine", "mine")
    own.write()
    (rival,) = own.rivals()
    return rival.alive


def test_a_run_of_another_machine_of_the_same_name_is_not_dead_because_its_process_is_not_here(tmp_path, mac):
    assert alive(tmp_path, age_s=10, machine=MAC, pid=GONE, process_start="unknown")


def test_a_dead_run_does_not_live_on_in_a_later_process_of_its_number(tmp_path, mac):
    assert not alive(tmp_path, age_s=86400, machine=MAC, pid=os.getpid(), process_start="unknown")


@pytest.mark.parametrize(("age_s", "lives"), [(10, True), (80, False)])
def test_a_process_here_whose_start_is_unknown_has_to_renew_its_claim(tmp_path, monkeypatch, age_s, lives):
    monkeypatch.setattr(claims, "_process_start", lambda _: "unknown")
    here = {"machine": claims._machine(), "pid": os.getpid(), "process_start": "unknown"}
    assert alive(tmp_path, age_s=age_s, **here) is lives


def test_a_process_here_that_is_known_to_live_is_alive_however_long_it_was_silent(tmp_path):
    here = {"machine": claims._machine(), "pid": os.getpid()}
    assert alive(tmp_path, age_s=3600, **here, process_start=claims._process_start(os.getpid()))


def test_a_process_here_that_is_gone_is_dead_however_fresh_its_claim(tmp_path):
    assert not alive(tmp_path, age_s=0, machine=claims._machine(), pid=GONE)
