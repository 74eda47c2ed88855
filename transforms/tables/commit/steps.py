"""A commit's plan as a file, `commit.json`: the visible changes in order, and the figures for the run's record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from ...errors import StoreError
from ...runs.parts import FORMAT

__all__ = ["CommitPlan", "Step", "read_plan"]


@dataclasses.dataclass(frozen=True)
class Step:
    """One visible change: a file that appears, is replaced or is deleted.

    Attributes:
        stage: stages run in ascending order; steps of one stage may run at once.
        source: the prepared file, or None to delete the target.
        target: the visible path.
        size: bytes of the prepared file.
        replaces: the target may exist with other content, as an older file that loses rows.
        tree: source and target are directories; the target's content goes, at once where there is a source.
    """

    stage: int
    source: str | None
    target: str
    size: int = 0
    replaces: bool = False
    tree: bool = False


@dataclasses.dataclass(frozen=True)
class CommitPlan:
    """All changes of one commit in order, and the figures for the run's record."""

    steps: tuple[Step, ...]
    counts: Mapping[str, int]
    parts: tuple[str, ...]
    invalid_parts: Mapping[str, str]
    keep: str = ""  #: the table's kept columns from then on, as the run's record holds them
    #: Of `compact`: all files that its run answers for from then on, each with its fingerprint.
    jobs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Of `compact`: files that go, which a directory's step does not name.
    merged: tuple[str, ...] = ()

    @property
    def added(self) -> tuple[str, ...]:
        """Table files with rows that appear."""
        if self.jobs:
            return tuple(self.jobs)
        new = (step.target for step in self.steps if step.source is not None and not step.replaces)
        return tuple(path for path in new if not path.endswith("-empty.parquet"))

    @property
    def removed(self) -> tuple[str, ...]:
        """Table files that go, because all their rows were done again."""
        return (*self.merged, *(step.target for step in self.steps if step.source is None and not step.tree))

    def to_json(self) -> bytes:
        """Serialize to the bytes of `commit.json`."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, sort_keys=True).encode()


def read_plan(data: bytes, place: str) -> CommitPlan:
    """Parse a commit plan.

    Raises:
        StoreError: a newer version of this tool wrote it, or it is broken.
    """
    try:
        values = json.loads(data)
        if values["format"] > FORMAT:
            raise StoreError(
                f"{place} was written by a newer version of bulkinfer; upgrade it, then start again"
            )
        steps = tuple(Step(**step) for step in values["steps"])
        return CommitPlan(
            steps,
            values["counts"],
            tuple(values["parts"]),
            values["invalid_parts"],
            values.get("keep", ""),
            values.get("jobs", {}),
            tuple(values.get("merged", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{place} is no commit plan ({type(error).__name__}: {error}); set another output.uri"
        ) from error
