"""Whole jobs over what Hypothesis makes: many inputs a run, run in this process through the command line."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import yaml
from bulkinfer.pipelines.cli import main
from click.testing import CliRunner
from hypothesis import strategies as st

from support.features import logging_as_before
from support.jobs import rows

__all__ = ["MODEL", "ROUNDS", "Ended", "check_once", "command", "examples"]

MODEL = "https://clarifai.com/bulkinfer/fuzz/models/m"
#: How much of each fuzz the suite does; `make soak` does as much as it has time for.
ROUNDS = max(1, int(os.environ.get("BULKINFER_SEEDS", "200")) // 50)

Value = TypeVar("Value")


def examples(strategy: st.SearchStrategy[Value], count: int, seed: int) -> list[Value]:
    """So many values of a strategy; the same ones for the same seed."""
    found: list[Value] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def take(value: Value) -> None:
        found.append(value)

    take()
    return found


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def command(name: str, folder: Path, sections: dict[str, Any]) -> Ended:
    """Run `bulkinfer NAME job.yaml --json` in this process."""
    job = folder / "job.yaml"
    job.write_text(yaml.safe_dump(sections, allow_unicode=True), encoding="utf-8")
    with logging_as_before():
        done = CliRunner().invoke(main, [name, str(job), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stdout, done.stderr)


def check_once(out: Path, ended: Ended, inputs: int) -> None:
    """Check that a run ended well, and that each of so many inputs is in one table once."""
    assert ended.code in (0, 3), ended.err
    told = json.loads(ended.out)
    assert told["inputs"] == inputs, told
    found = collections.Counter(
        row["input_id"] for row in rows(out, "predictions") if row["output_index"] == 0
    )
    failed = collections.Counter(row["input_id"] for row in rows(out, "errors"))
    assert set(found.values()) <= {1}
    assert not found.keys() & failed.keys()
    assert sum(found.values()) + sum(failed.values()) == inputs, (told, found, failed)
