"""One process at a time commits a run: others wait while it lives, and take over when it dies."""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from bulkinfer.transforms.errors import OutputInUseError, StoreError
from bulkinfer.transforms.runs import claims, record
from bulkinfer.transforms.runs.claims import ClaimFile
from bulkinfer.transforms.runs.parts import index_directory
from bulkinfer.transforms.storage.store import Store
from bulkinfer.transforms.tables.commit import claim as commit_claim
from bulkinfer.transforms.tables.commit import commit, recovery
from bulkinfer.transforms.tables.commit.claim import committing
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.commit.steps import CommitPlan, Step
from bulkinfer.transforms.tables.completed import CompletedSpec
from support.claims import write_claim
from support.tables import make_spec, prediction, rows_seen, stage

ROWS = [prediction(f"{number}", text="x" * number) for number in range(12)]


@pytest.fixture(autouse=True)
def short_poll(monkeypatch):
    monkeypatch.setattr(commit_claim, "_POLL_S", 0.02)


@pytest.fixture
def conditional():
    """Whether the store creates a file only where there is none; then no claim is asked for."""
    return False


#: The same orders of events where a claim decides, and where the store does.
either = pytest.mark.parametrize("conditional", [False, True], ids=["by claims", "by the store"])


@pytest.fixture
def spec(tmp_path, monkeypatch, conditional):
    monkeypatch.setattr(record, "_can_create_new", lambda *_: conditional)
    spec = make_spec(str(tmp_path))
    stage(spec, [ROWS[:6], ROWS[6:]])
    return spec


class PausedStore(Store):
    """A store whose first call of `method` on a path with this end waits until `go_on` is set, and may then fail."""

    def __init__(self, uri, method, end, fault=None):
        super().__init__(uri)
        self.fault = fault
        self.paused, self.go_on = threading.Event(), threading.Event()
        setattr(self, method, functools.partial(self._pause, getattr(self, method), end))

    def _pause(self, method, end, path="", *rest):
        if path.endswith(end) and not self.paused.is_set():
            self.paused.set()
            assert self.go_on.wait(20)
            if self.fault is not None:
                raise self.fault
        return method(path, *rest)


class Committer(threading.Thread):
    """A thread that commits a run; its result is kept."""

    def __init__(self, store, run_id):
        super().__init__()
        self.store, self.run_id, self.result = store, run_id, None
        self.start()

    def run(self):
        self.result = commit_run(self.store, self.run_id)

    def end(self):
        self.join(20)
        return self.result


def claim_path(spec, name="aaaa"):
    return f"_runs/{spec.run_id}/committing-{name}.json"


def seen_once(spec):
    seen = Counter(row["input_id"] for row in rows_seen(spec.store(), "predictions"))
    return sorted(seen) == sorted(f"{n}" for n in range(len(ROWS))) and set(seen.values()) == {1}


def claims_left(spec):
    return [e for e in spec.store().files(f"_runs/{spec.run_id}") if e.name.startswith("committing")]


def test_one_who_comes_while_another_commits_waits_and_finds_its_result(spec, caplog):
    slow = PausedStore(spec.uri, "write", "commit.json")
    first = Committer(slow, spec.run_id)
    assert slow.paused.wait(10)
    second = Committer(spec.store(), spec.run_id)
    second.join(0.3)
    waited = second.is_alive() and not spec.store().exists(f"_runs/{spec.run_id}/commit.json")
    slow.go_on.set()

    assert waited
    assert first.end() is not None
    assert second.end() == first.end()
    assert seen_once(spec)
    assert claims_left(spec) == []
    assert caplog.text.count("waiting for another process that commits the run") == 1


@either
def test_recovery_waits_for_the_commit_step_of_a_job_whose_launcher_died(spec, monkeypatch):
    monkeypatch.setattr(recovery, "_QUIET_S", 0.05)
    slow = PausedStore(spec.uri, "remove_tree", "staging")  # all moves are done, nothing is cleaned
    step = Committer(slow, spec.run_id)
    assert slow.paused.wait(10)
    threading.Timer(0.3, slow.go_on.set).start()

    (result,) = recover(spec.store())

    assert result == step.end()
    assert seen_once(spec)


def test_a_claim_of_a_dead_process_of_this_machine_holds_nobody_up(spec):
    write_claim(spec.store(), claim_path(spec), age_s=0, machine=claims._machine(), pid=2**22 + 1)

    started = time.monotonic()
    commit_run(spec.store(), spec.run_id)

    assert time.monotonic() - started < 5
    assert claims_left(spec) == []


def test_a_claim_of_another_machine_holds_others_up_until_it_expires(spec):
    write_claim(spec.store(), claim_path(spec), age_s=0, ttl_s=1.0)

    started = time.monotonic()
    commit_run(spec.store(), spec.run_id)

    assert 0.9 < time.monotonic() - started < 10
    assert claims_left(spec) == []


def test_a_claim_that_a_living_process_could_not_withdraw_expires(spec):
    store = spec.store()
    own = {"machine": claims._machine(), "pid": 1, "process_start": claims._process_start(1)}
    write_claim(store, claim_path(spec), age_s=80, **own)

    commit_run(store, spec.run_id)

    assert seen_once(spec)


def test_a_claim_that_cannot_be_withdrawn_does_not_undo_a_commit(spec, caplog):
    class Stubborn(Store):
        def remove(self, path):
            if "committing-" in path:
                raise StoreError("the store is away")
            super().remove(path)

    assert commit_run(Stubborn(spec.uri), spec.run_id).predictions == len(ROWS)
    assert "claim not withdrawn, it expires in 60 s: cause=the store is away" in caplog.text


@either
@pytest.mark.parametrize(
    ("method", "end"),
    [("files", "/parts"), ("open", "-predictions.parquet"), ("create", "index-part-00000.parquet")],
    ids=["before it listed parts", "before it read them", "when it has read them"],
)
def test_one_who_wakes_after_others_took_it_for_dead_leaves_what_they_did(
    spec, monkeypatch, caplog, method, end
):
    monkeypatch.setattr(commit, "committing", functools.partial(committing, ttl_s=0.3))
    monkeypatch.setattr(ClaimFile, "lapsed", False)  # it does not notice
    with monkeypatch.context() as asleep:
        asleep.setattr(ClaimFile, "keep", lambda _: None)
        slow = PausedStore(spec.uri, method, end)
        first = Committer(slow, spec.run_id)
        assert slow.paused.wait(10)
    result = commit_run(spec.store(), spec.run_id)
    visible = spec.store().find()
    slow.go_on.set()

    assert first.end() == result
    assert "broken part" not in caplog.text
    assert seen_once(spec)
    # It left neither an index nor prepared files of its own.
    assert [entry.path for entry in spec.store().find()] == [entry.path for entry in visible]
    later = CompletedSpec.of(make_spec(spec.uri, "later"))
    assert later.remaining([row.reference for row in ROWS]) == []


@either
@pytest.mark.parametrize(
    ("method", "end"),
    [("create", "masks-empty.parquet"), ("move", "predictions-00000.parquet")],
    ids=["while it prepared", "while it published"],
)
def test_one_who_wakes_amid_what_others_cleaned_finds_their_result(spec, monkeypatch, method, end):
    monkeypatch.setattr(commit, "committing", functools.partial(committing, ttl_s=0.3))
    with monkeypatch.context() as asleep:
        asleep.setattr(ClaimFile, "keep", lambda _: None)
        slow = PausedStore(spec.uri, method, end, StoreError("the directory is gone"))
        first = Committer(slow, spec.run_id)
        assert slow.paused.wait(10)
    result = commit_run(spec.store(), spec.run_id)
    slow.go_on.set()

    assert first.end() == result
    assert seen_once(spec)


@either
def test_one_who_finds_the_run_committed_after_a_fault_gives_that_result(spec, monkeypatch):
    monkeypatch.setattr(commit, "committing", functools.partial(committing, ttl_s=0.3))
    monkeypatch.setattr(ClaimFile, "lapsed", False)  # it does not notice
    with monkeypatch.context() as asleep:
        asleep.setattr(ClaimFile, "keep", lambda _: None)
        slow = PausedStore(spec.uri, "create", "masks-empty.parquet", StoreError("the directory is gone"))
        first = Committer(slow, spec.run_id)
        assert slow.paused.wait(10)
    result = commit_run(spec.store(), spec.run_id)
    slow.go_on.set()

    assert first.end() == result


class OvertakenStore(Store):
    """A store in which another committer does each move or copy first, between the look for the source and ours."""

    def move(self, source, target):
        super().move(source, target)
        super().move(source, target)

    def copy(self, source, target):
        super().copy(source, target)
        self.remove(source)
        super().copy(source, target)


@pytest.mark.parametrize("renames", [True, False], ids=["by moves", "by copies"])
def test_a_step_that_another_committer_does_first_is_done(tmp_path, monkeypatch, renames):
    store = OvertakenStore(str(tmp_path))
    store.write("ready/file", b"rows")
    copy = functools.partial(shutil.copyfile, tmp_path / "ready/file", tmp_path / "predictions")
    monkeypatch.setattr(OvertakenStore, "can_rename", renames)
    monkeypatch.setattr(store.filesystem, "cp_file", lambda *_: copy())

    commit._carry_out(store, Step(0, "ready/file", "predictions", 4))

    assert store.read("predictions") == b"rows"


def test_a_step_that_fails_while_its_source_is_there_is_not_done(tmp_path):
    class Full(Store):
        def move(self, source, target):
            raise StoreError("the disk is full")

    store = Full(str(tmp_path))
    store.write("ready/file", b"new")
    store.write("predictions", b"old")

    with pytest.raises(StoreError, match="the disk is full"):
        commit._carry_out(store, Step(0, "ready/file", "predictions", 3, replaces=True))


def test_two_who_carry_the_same_plan_out_at_once_both_succeed(tmp_path):
    for trial in range(40):
        store = Store(str(tmp_path / f"{trial}"))
        steps = tuple(Step(0, f"ready/{number}", f"predictions/{number}", 1) for number in range(30))
        for step in steps:
            store.write(step.source, b"x")
        plan, start = CommitPlan(steps, {}, (), {}), threading.Barrier(2)

        def publish(uri=store.uri, plan=plan, start=start):
            start.wait(10)
            commit._publish(Store(uri), plan)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(publish) for _ in range(2)]:
                done.result(20)
        assert [entry.path for entry in store.find()] == sorted(step.target for step in steps)


def test_one_whose_claim_lapsed_asks_for_the_right_again_before_it_plans(spec, monkeypatch, caplog):
    lapsed = iter([True, False])
    monkeypatch.setattr(ClaimFile, "lapsed", property(lambda _: next(lapsed)))

    result = commit_run(spec.store(), spec.run_id)

    assert result.predictions == len(ROWS)
    assert "another process took over the commit" in caplog.text
    assert seen_once(spec)


def test_the_index_becomes_visible_with_the_plan_that_it_belongs_to(spec):
    slow = PausedStore(spec.uri, "write", "commit.json")
    first = Committer(slow, spec.run_id)
    assert slow.paused.wait(10)
    before = spec.store().files(index_directory(spec.run_id))
    slow.go_on.set()
    first.end()

    assert before == []
    assert len(spec.store().files(index_directory(spec.run_id))) == 1


def test_of_many_committers_each_is_alone_in_its_turn(tmp_path):
    inside, most, done = [], [], []

    def commit_once():
        with committing(Store(str(tmp_path)), "run"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.03)
            inside.pop()
        done.append(1)

    threads = [threading.Thread(target=commit_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (max(most), len(done)) == (1, 6)


def test_one_who_waits_long_says_so_again_and_how_long(spec, monkeypatch, caplog):
    monkeypatch.setattr(commit_claim, "_TELL_S", 0.4)
    write_claim(spec.store(), claim_path(spec), age_s=0, ttl_s=2.0)

    commit_run(spec.store(), spec.run_id)

    waited = re.findall(r"waiting for another process .* waited_s=(\d)", caplog.text)
    assert 3 <= len(waited) <= 6
    assert (waited[0], waited[-1] > "0") == ("0", True)


def test_a_committer_that_lives_and_does_not_end_is_not_waited_for_forever(tmp_path):
    store = Store(str(tmp_path))
    holder = f"process {os.getpid()} on {re.escape(socket.gethostname())}"
    told = f"{holder} commits run it since .*; when it is stuck stop it"

    with (
        committing(store, "it"),
        pytest.raises(OutputInUseError, match=told),
        committing(store, "it", patience_s=0.2),
    ):
        pass


def test_of_several_that_are_there_the_first_is_named(tmp_path):
    store = Store(str(tmp_path))
    for name, since, pid in [("aa", "2026-01-31T12:05:00+00:00", 1), ("bb", "2026-01-31T12:00:00+00:00", 2)]:
        write_claim(store, f"_runs/it/committing-{name}.json", age_s=0, since=since, pid=pid)

    with (
        pytest.raises(OutputInUseError, match="process 2 on elsewhere"),
        committing(store, "it", patience_s=0.1),
    ):
        pass


def test_a_claim_costs_one_write_one_listing_and_one_deletion(tmp_path):
    calls = []

    class Counted(Store):
        def write(self, path, data):
            calls.append("write")
            super().write(path, data)

        def files(self, directory=""):
            calls.append("list")
            return super().files(directory)

        def remove(self, path):
            calls.append("remove")
            super().remove(path)

    with committing(Counted(str(tmp_path)), "run"):
        pass
    assert calls == ["write", "list", "remove"]


def test_a_slow_committer_keeps_its_claim_fresh(tmp_path):
    with committing(Store(str(tmp_path)), "run", ttl_s=0.4) as claim:
        time.sleep(0.8)
        assert not claim.lapsed
