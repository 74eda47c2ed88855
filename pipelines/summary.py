"""What a finished run tells a person or a program."""

from __future__ import annotations

import dataclasses
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
        calls: calls sent, retries included.
        retries: calls that repeated inputs of an earlier call.
        seconds: wall time of the whole run.
        output: directory of the tables.
        stopped: why the run stopped early; None when it finished.
        skipped_errors: of the skipped, those that are in `errors`.
    """

    run_id: str
    inputs: int
    predictions: int
    errors: int
    skipped: int
    masks: int
    calls: int
    retries: int
    seconds: float
    output: str
    stopped: str | None = None
    skipped_errors: int = 0

    def to_json(self) -> dict[str, Any]:
        """The contract's summary object, with `stopped` and `skipped_errors` beside it."""
        return {**dataclasses.asdict(self), "seconds": round(self.seconds, 3)}

    @property
    def exit_code(self) -> int:
        """0 all landed, 3 some inputs are in `errors`, 4 stopped early and resumable."""
        if self.stopped:
            return 4
        return 3 if self.errors or self.skipped_errors else 0

    def to_text(self, command: str) -> str:
        """A few lines for a terminal: what was written, one query to paste, where to look next."""
        rate = self.predictions / self.seconds if self.seconds else 0.0
        table = "masks" if self.masks else "predictions"
        columns = "label, count(*) AS n, avg(area) AS mean_area" if self.masks else "label, count(*) AS n"
        lines = [
            f"run {self.run_id}: {self.inputs} inputs, {self.predictions} predictions, {self.errors} errors, "
            f"{self.skipped} skipped, {self.masks} masks",
            f"{self.calls} calls, {self.retries} retries, {self.seconds:.1f} s, {rate:.1f} predictions/s",
            "",
            *(f"  {self.output}/{name}/" for name in self._written()),
            f"  {self.output}/_runs/{self.run_id}/",
            "",
            "query it, with `pip install duckdb`:",
            f"  python -c \"import duckdb; duckdb.sql(\\\"SELECT {columns} FROM '{self.output}/{table}/**/*.parquet' "
            'GROUP BY label ORDER BY n DESC\\").show()"',
        ]
        if self.stopped:
            lines += ["", f"stopped early: {self.stopped}", f"go on with the same command: {command}"]
        elif self.errors or self.skipped_errors:
            lines += [
                "",
                f"see why inputs failed: {self.output}/errors/",
                f"try them again: {command} --retry-failed",
            ]
        return "\n".join(lines)

    def _written(self) -> list[str]:
        counts = {"predictions": self.predictions, "masks": self.masks, "errors": self.errors}
        return [name for name, rows in counts.items() if rows]
