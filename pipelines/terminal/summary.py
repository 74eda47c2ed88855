"""The summary of a finished run, as text or JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

__all__ = ["Summary"]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The figures of one run, as `--json` prints them.

    Attributes:
        inputs: references that the source holds.
        predictions: inputs that this run put into `predictions`.
        errors: inputs that this run put into `errors`.
        skipped: inputs that earlier runs had finished.
        masks: rows of `masks` that this run wrote.
        masks_unreadable: of these, rows whose mask cannot be read; `note` says why.
        calls: calls sent, retries included.
        retries: calls that repeated inputs of an earlier call.
        tokens: of prompts and answers, as the server reports them.
        cost: what `stop.prices` add up to for this run; None without prices.
        seconds: wall time of the whole run.
        output: directory of the tables.
        stopped: why the run stopped early; None when it finished.
        remaining: inputs of the source that are in no table yet, or whose content changed since.
        new: inputs of this run that no earlier one had done.
        changed: inputs of this run that an earlier one had done, with other content or for another job.
        gone: inputs in `predictions` that the source names no more; None when the run did not go through all of it.
        dropped: inputs whose rows this run removed, because the source names them no more.
        limit: the run was to do only the first so many inputs.
        skipped_errors: of the skipped, those that are in `errors`.
    """

    run_id: str
    inputs: int = 0
    predictions: int = 0
    errors: int = 0
    skipped: int = 0
    masks: int = 0
    masks_unreadable: int = 0
    calls: int = 0
    retries: int = 0
    tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    output: str = ""
    stopped: str | None = None
    skipped_errors: int = 0
    remaining: int = 0
    new: int = 0
    changed: int = 0
    gone: int | None = None
    dropped: int = 0
    limit: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all figures by name, as `--json` prints them."""
        return {**dataclasses.asdict(self), "seconds": round(self.seconds, 3)}

    @property
    def difference(self) -> dict[str, float | None]:
        """How what this run found differs from what earlier ones had left, and what it cost, for its record."""
        names = ("new", "changed", "gone", "dropped", "skipped", "remaining", "cost")
        return {name: getattr(self, name) for name in names}

    @property
    def exit_code(self) -> int:
        """0 when every input is in `predictions`, 3 when some are in `errors`, 4 when it left some undone."""
        if self.stopped or (self.remaining and self.limit is None):
            return 4
        return 3 if self.errors or self.skipped_errors else 0

    def to_text(
        self, command: str, flags: str = "", python: str = "python", page: str | None = None, query: str = ""
    ) -> str:
        """Format the summary for a terminal: what was written, one query to paste, where to look next.

        Args:
            command: the command that ran, for the lines that say how to continue.
            flags: Beam's flags, which come last in it.
            python: an interpreter that has this package, as the user would type it.
            page: where the report was written.
            query: DuckDB's SQL that tells something about the tables; "" for none.
        """
        rate = self.predictions / self.seconds if self.seconds else 0.0
        lines = [
            f"run {self.run_id}: {self.inputs} inputs, {self.predictions} predictions, {self.errors} errors, "
            f"{self.skipped} skipped, {self.masks} masks",
            f"{self.new} new, {self.changed} changed, {self.remaining} remaining, "
            + (
                f"{self.gone} gone from the source" + (f", {self.dropped} dropped" if self.dropped else "")
                if self.gone is not None
                else "gone from the source: not known"
            ),
            f"{self.calls} calls, {self.retries} retries, {self.seconds:.1f} s, {rate:.1f} predictions/s"
            + (f", {self.tokens:,} tokens" if self.tokens else "")
            + (f", cost {self.cost:,.6g}" if self.cost is not None else ""),
        ]
        if self.masks_unreadable:
            lines.append(
                f"{self.masks_unreadable} of the masks cannot be read: `note` in {self.output}/masks/ says why"
            )
        if self.predictions + self.errors + self.skipped:
            lines += ["", *(f"  {line}" for line in self._tables())]
        if query:
            lines += ["", "a query to paste (it needs duckdb):"]
            lines.append(f'  {python} -c "import duckdb; print(duckdb.sql(\\"{query}\\"))"')
        if page is not None:
            local = page.startswith("/")
            how = f"open it in a browser: {Path(page).as_uri()}" if local else "open it in a browser"
            lines += ["", f"the report, masks drawn over the pictures: {page}", f"  {how}"]
        if self.stopped:
            lines += [
                "",
                f"stopped early: {self.stopped}",
                f"go on with the same command: {command} {flags}".rstrip(),
            ]
        elif self.remaining:
            failed = "" if self.errors or self.predictions or self.skipped_errors else "nothing failed; "
            todo = command.replace(" --retry-failed", "")
            lines += [
                "",
                f"{failed}{self.remaining} inputs are not done: {todo} {flags}".rstrip(),
            ]
        elif self.errors or self.skipped_errors:
            lines += [
                "",
                f"why inputs failed: {self.output}/errors/",
                f"try them again: {command} --retry-failed {flags}".rstrip(),
            ]
        return "\n".join(
            [*lines, "", "next: docs/tables.md names every column, README.md the other commands"]
        )

    def _tables(self) -> list[str]:
        meanings = {
            "predictions": "one row an input",
            "masks": "one row a region",
            "errors": "one row an input that failed",
            f"_runs/{self.run_id}": "what this run did",
        }
        return [
            f"{self.output}/{name}/".ljust(len(self.output) + 40) + what for name, what in meanings.items()
        ]
