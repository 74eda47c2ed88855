"""`bulkinfer run` and `bulkinfer plan`: do a job, or say what it would do."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from bulkinfer.transforms.errors import BulkinferError
from bulkinfer.transforms.storage.references import hide_secrets

from ..terminal.faults import faults_told
from ..terminal.logs import configure_logging
from .options import Examples, job_argument, json_option, limit_option, set_option, verbose_option

if TYPE_CHECKING:
    from bulkinfer.transforms.job.config import JobConfig, OutputConfig

__all__ = ["plan", "run", "written_report"]

_SOME_FAILED = 3


@click.command(
    cls=Examples,
    examples=(
        "bulkinfer run job.yaml",
        "bulkinfer run job.yaml --limit 100 --set calls.in_flight=4 --json",
        "bulkinfer run job.yaml --retry-failed --report",
        "bulkinfer run job.yaml --set runner.name=flink -- --flink_master=host:8081",
    ),
)
@job_argument
@set_option
@limit_option
@click.option("--retry-failed", is_flag=True, help="Run only what is in `errors`.")
@click.option(
    "--error-type",
    "error_types",
    multiple=True,
    metavar="TYPE",
    help="With --retry-failed: only errors of this type.",
)
@click.option(
    "--force", is_flag=True, help="Run everything again, also what is done; older rows are replaced."
)
@click.option(
    "--allow-vanish",
    is_flag=True,
    help="With source.vanished: drop, also when the source names more than half of the inputs no more.",
)
@click.option(
    "--errors-are-fine", is_flag=True, help="End with 0 in place of 3, so that a schedule raises no alarm."
)
@click.option("--report", is_flag=True, help="Write report.html into the output at the end, see `report`.")
@json_option
@verbose_option
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
def run(
    job: Path,
    overrides: tuple[str, ...],
    limit: int | None,
    retry_failed: bool,
    error_types: tuple[str, ...],
    force: bool,
    allow_vanish: bool,
    errors_are_fine: bool,
    report: bool,
    as_json: bool,
    verbose: int,
    beam_options: tuple[str, ...],
) -> None:
    """Run a job: predictions, masks and errors land in Parquet. Run again, it does only what is missing."""
    with faults_told():
        from bulkinfer.pipelines.runners.options import with_flags
        from bulkinfer.transforms.job.job_file import load_job

        job_file = with_flags(load_job(job, overrides), beam_options)
        if error_types and not retry_failed:
            raise click.UsageError("--error-type picks among failed inputs; add --retry-failed")
        if retry_failed and force:
            raise click.UsageError("--retry-failed and --force contradict each other; keep one of them")
        configure_logging(verbose)
        from bulkinfer.pipelines.runners.checks import check_runner

        check_runner(job_file.config)  # before Beam's import, which takes 2 s
        from bulkinfer.pipelines.jobs.bulk_inference import RunOptions
        from bulkinfer.pipelines.jobs.kinds import run_any

        options = RunOptions(
            limit=limit,
            retry_failed=retry_failed,
            error_types=error_types,
            force=force,
            allow_vanish=allow_vanish,
            configure_logging=lambda: configure_logging(verbose),
        )
        with contextlib.redirect_stdout(sys.stderr):  # what a callable of the job's prints is no result
            summary = run_any(job_file, options)
        command = shlex.join(
            ["bulkinfer", "run", str(job), *(w for item in overrides for w in ("--set", item))]
        )
        flags = shlex.join(["--", *beam_options]) if beam_options else ""
        page = written_report(job_file.config) if report else None
        if as_json:
            click.echo(json.dumps(summary.to_json() | ({"report": page} if report else {})))
        else:
            click.echo(summary.to_text(command, flags, _own_python(), page, _query(job_file.config.output)))
        sys.exit(0 if errors_are_fine and summary.exit_code == _SOME_FAILED else summary.exit_code)


def _query(output: OutputConfig) -> str:
    """A query that tells something about the tables; "" where they cannot be read, which is no fault of the run."""
    from bulkinfer.pipelines.terminal.query import telling_query
    from bulkinfer.transforms.storage.store import Store

    with contextlib.suppress(BulkinferError, OSError, ValueError):
        return telling_query(Store(output.uri, output.storage), output.uri)
    return ""


@click.command(cls=Examples, examples=("bulkinfer plan job.yaml", "bulkinfer plan job.yaml --json"))
@job_argument
@set_option
@limit_option
@json_option
@verbose_option
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
def plan(
    job: Path,
    overrides: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    verbose: int,
    beam_options: tuple[str, ...],
) -> None:
    """Check everything, count inputs and bytes, estimate calls and time. Sends no input, writes nothing."""
    with faults_told():
        from bulkinfer.pipelines.runners.options import with_flags
        from bulkinfer.transforms.job.job_file import load_job

        job_file = with_flags(load_job(job, overrides), beam_options)
        configure_logging(verbose)
        from bulkinfer.pipelines.jobs.plan import plan_job

        with contextlib.redirect_stdout(sys.stderr):  # a callable's module may print
            result = plan_job(job_file, limit=limit)
        click.echo(json.dumps(result.to_json()) if as_json else result.to_text())


def written_report(job: JobConfig) -> str | None:
    """Where the report of a job's output was written; a fault of it is told, and the job's own result stands."""
    from bulkinfer.pipelines.report.output import output_of
    from bulkinfer.pipelines.report.report import write_report

    try:
        return write_report(output_of(job))
    except BulkinferError as error:
        click.echo(f"bulkinfer: no report was written: {hide_secrets(str(error))}", err=True)
        return None


def _own_python() -> str:
    """The path of the running interpreter, relative to the working directory where possible."""
    executable = Path(sys.executable)
    with contextlib.suppress(ValueError):
        return str(executable.relative_to(Path.cwd()))
    return str(executable)
