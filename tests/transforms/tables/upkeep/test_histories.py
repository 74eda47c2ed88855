"""Random histories of nights: at the end of each the tables hold exactly what a model of them says."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from bulkinfer.transforms.runs.record import list_runs
from bulkinfer.transforms.tables.commit.commit import commit_run
from bulkinfer.transforms.tables.commit.dropped import write_dropped
from bulkinfer.transforms.tables.commit.recovery import recover
from bulkinfer.transforms.tables.completed import CompletedIndex, CompletedSpec
from bulkinfer.transforms.tables.upkeep.compact import compact
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import (
    CrashingStore,
    Killed,
    failure,
    make_spec,
    prediction,
    rows_seen,
    stage,
    temporary_output,
)

NAMES = "abcdefgh"

#: What changes before a night: which inputs the source names then, in which version; which fail; which job asks; where
#: the night is killed; and whether the output is compacted after it, and where that is killed.
nights = st.fixed_dictionaries(
    {
        "named": st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["v1", "v2"]), min_size=1),
        "failing": st.sets(st.sampled_from(NAMES), max_size=3),
        "job": st.sampled_from(["one", "one", "two"]),
        "on_change": st.sampled_from(["redo", "keep"]),
        "retry": st.booleans(),
        "killed": st.none() | st.integers(0, 30),
        "compacted": st.booleans(),
        "compact_killed": st.none() | st.integers(0, 40),
    }
)


@dataclasses.dataclass
class Lake:
    """An output, and what it should hold: of each input the version, the job and whether it succeeded."""

    uri: str = dataclasses.field(default_factory=temporary_output)
    runs: int = 0
    model: dict[str, tuple[str, str, bool]] = dataclasses.field(default_factory=dict)

    def spec(self, job: str = "one") -> Any:
        self.runs += 1
        return make_spec(self.uri, f"20260131T{self.runs:06d}Z-abcdef", fingerprint=job)

    def store(self, before: int | None = None) -> CrashingStore:
        return CrashingStore(self.uri, before)

    def night(self, plan: dict[str, Any], killed: int | None) -> None:
        """One start of a job, as `bulkinfer run` goes about it; may be killed before a change of the store."""
        spec, store = self.spec(plan["job"]), self.store(killed)
        recover(store)
        asked = CompletedSpec.of(spec, on_change=plan["on_change"], revalidate=False)
        index = CompletedIndex.read(store, asked)
        references = [prediction(name, version=version).reference for name, version in plan["named"].items()]
        division = index.divide(references)
        named = index.none()
        named[division.rows] = True
        stage(spec, [], store)  # it has a record from here on
        if len(gone := index.present(named)):
            write_dropped(store, spec.run_id, gone)
        todo = {one.input_id for one in division.kept}
        if plan["retry"]:  # what failed is done again in the same night
            todo |= {name for name, (*_, fine) in self.model.items() if not fine} & plan["named"].keys()
        rows = [self.row(name, plan) for name in sorted(todo)]
        stage(spec, [rows[:3], rows[3:]], store)
        commit_run(store, spec.run_id, complete=True)

    def row(self, name: str, plan: dict[str, Any]) -> Any:
        make = failure if name in plan["failing"] else prediction
        return make(name, version=plan["named"][name])

    def after(self, plan: dict[str, Any]) -> None:
        """What a whole night makes of the model."""
        model = {name: found for name, found in self.model.items() if name in plan["named"]}
        for name, version in plan["named"].items():
            known = model.get(name)
            same = known is not None and known[0] == version
            if (
                not same
                or (known[1] != plan["job"] and plan["on_change"] == "redo")
                or (plan["retry"] and not known[2])
            ):
                model[name] = (version, plan["job"], name not in plan["failing"])
        self.model = model

    def compact(self, killed: int | None) -> None:
        store = self.store(killed)
        recover(store)
        self.runs += 1
        compact(store, f"20260131T{self.runs:06d}Z-c0ffee", 1_000_000)

    def check(self) -> None:
        store = self.store()
        jobs = {run.run_id: run.fingerprint for run in list_runs(store)}
        found = {}
        for table, fine in (("predictions", True), ("errors", False)):
            for row in rows_seen(store, table):
                assert row["input_id"] not in found, row
                found[row["input_id"]] = (jobs[row["run_id"]], fine)
        assert found == {name: (job, fine) for name, (_, job, fine) in self.model.items()}
        index = CompletedIndex.read(store, CompletedSpec.of(make_spec(self.uri, "next"), revalidate=False))
        for name, (version, job, _) in self.model.items():
            done = not index.divide([prediction(name, version=version).reference]).kept
            assert done == (job == "one"), name
        gone = [name for name in NAMES if name not in self.model]
        assert len(index.divide([prediction(name).reference for name in gone]).kept) == len(gone)


def play(history):
    lake = Lake()
    for plan in history:
        if plan["killed"] is not None:
            with contextlib.suppress(Killed):
                lake.night(plan, plan["killed"])
            # The same command again; what the killed one made durable is done, and with the same outcome.
        lake.night(plan, None)
        lake.after(plan)
        lake.check()
        if plan["compacted"]:
            with contextlib.suppress(Killed):
                lake.compact(plan["compact_killed"])
            recover(lake.store())
            lake.check()


@settings(max_examples=12, deadline=None)
@given(st.lists(nights, min_size=2, max_size=5))
def test_after_every_whole_night_the_tables_hold_what_they_should(history):
    play(history)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@settings(max_examples=300, deadline=None)
@given(st.lists(nights, min_size=2, max_size=8))
def test_so_they_do_after_many_and_longer_histories(history):
    play(history)
