"""The `bulkinfer` command line; no other module prints results, and none exits but the one that tells faults.

Each command imports what it needs when it runs, because Beam alone takes seconds to import and `--help` must not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from .runners.proxies import spare_loopback
from .terminal.faults import faults_told
from .terminal.logs import configure_logging

__all__ = ["EXIT_CODES", "main"]

EXIT_CODES = {
    0: "every input is in `predictions`",
    1: "the job failed",
    2: "the command line, the job file or the preflight check is at fault, and no input was sent",
    3: "the job finished and some inputs are in `errors`",
    4: "stopped early by a limit the job set (error ratio, budget, interrupt); the same command goes on",
}

_SOME_FAILED = 3

_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


class _Examples(click.Command):
    """A command whose help ends with examples, line by line."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {example}\n")


def _own_python() -> str:
    """The path of the running interpreter, relative to the working directory where possible."""
    executable = Path(sys.executable)
    with contextlib.suppress(ValueError):
        return str(executable.relative_to(Path.cwd()))
    return str(executable)


_job_argument = click.argument("job", type=click.Path(path_type=Path))
_set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a key of the job file."
)
_limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N inputs."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
_verbose_option = click.option("-v", "--verbose", count=True, help="Log more; twice for everything.")
_endpoint_option = click.option(
    "--endpoint",
    metavar="E",
    help="Address of the API, or `embedded`. Default: $CLARIFAI_API_BASE, else the public API.",
)
_model_option = click.option(
    "--model", metavar="URL", help="https://clarifai.com/USER/APP/models/MODEL[/versions/V]"
)


@click.group(
    epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="bulkinfer")
def main() -> None:
    """Bulk inference over everything a data lake holds: references in, predictions and masks in Parquet out."""
    # Arrow's own allocators keep what each thread freed: 65 MB of peak for 2 MB of rows, and are no faster here. Arrow
    # reads the variable when it is imported, in this process and in its workers.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    spare_loopback()


@main.command(
    cls=_Examples,
    examples=(
        "bulkinfer run job.yaml",
        "bulkinfer run job.yaml --limit 100 --set calls.in_flight=4 --json",
        "bulkinfer run job.yaml --retry-failed",
        "bulkinfer run job.yaml --set runner.name=flink -- --flink_master=host:8081",
    ),
)
@_job_argument
@_set_option
@_limit_option
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
    "--errors-are-fine", is_flag=True, help="End with 0 in place of 3, so that a schedule raises no alarm."
)
@_json_option
@_verbose_option
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
def run(
    job: Path,
    overrides: tuple[str, ...],
    limit: int | None,
    retry_failed: bool,
    error_types: tuple[str, ...],
    force: bool,
    errors_are_fine: bool,
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
            configure_logging=lambda: configure_logging(verbose),
        )
        summary = run_any(job_file, options)
        command = shlex.join(
            ["bulkinfer", "run", str(job), *(w for item in overrides for w in ("--set", item))]
        )
        flags = shlex.join(["--", *beam_options]) if beam_options else ""
        click.echo(
            json.dumps(summary.to_json()) if as_json else summary.to_text(command, flags, _own_python())
        )
        sys.exit(0 if errors_are_fine and summary.exit_code == _SOME_FAILED else summary.exit_code)


@main.command(cls=_Examples, examples=("bulkinfer plan job.yaml", "bulkinfer plan job.yaml --json"))
@_job_argument
@_set_option
@_limit_option
@_json_option
@_verbose_option
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

        result = plan_job(job_file, limit=limit)
        click.echo(json.dumps(result.to_json()) if as_json else result.to_text())


@main.command(
    cls=_Examples,
    examples=(
        'bulkinfer call --endpoint embedded --method classify --inputs \'{"text": "guten Morgen"}\'',
        "bulkinfer call --endpoint http://127.0.0.1:9001 --method segment_anything --file image=photo.jpg",
        "bulkinfer call --endpoint embedded --method levels --file audio=speech.wav --stream piece_seconds=1",
        'bulkinfer call --model https://clarifai.com/USER/APP/models/MODEL --inputs \'{"prompt": "Hi"}\'',
    ),
)
@_endpoint_option
@_model_option
@click.option("--method", default="predict", show_default=True, metavar="M", help="The model's method.")
@click.option("--inputs", default="{}", metavar="JSON", help="The method's arguments by name.")
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="ARG=PATH",
    help="An argument whose value is a file's content; several times for a list.",
)
@click.option("--deployment", metavar="USER_ID/ID", help="A dedicated deployment.")
@click.option("--nodepool", metavar="USER_ID/COMPUTE_CLUSTER_ID/ID", help="A dedicated nodepool.")
@click.option(
    "--stream",
    multiple=True,
    metavar="KEY=VALUE",
    help="How content is cut for an argument that streams: piece_bytes=SIZE or piece_seconds=DURATION. Text "
    "is cut into lines, anything else goes whole.",
)
@click.option("--raw", is_flag=True, help="Print the Output messages in protobuf's JSON.")
@_verbose_option
def call(
    endpoint: str | None,
    model: str | None,
    method: str,
    inputs: str,
    files: tuple[str, ...],
    deployment: str | None,
    nodepool: str | None,
    stream: tuple[str, ...],
    raw: bool,
    verbose: int,
) -> None:
    """One call, its answer as JSON on stdout."""
    with faults_told():
        from bulkinfer.pipelines.jobs.one_call import call_once

        configure_logging(verbose)
        where = {"deployment": deployment, "nodepool": nodepool}
        answer = call_once(endpoint, model, method, inputs, files, **where, stream=stream, raw=raw)
        click.echo(json.dumps(answer, ensure_ascii=False))


@main.command(
    cls=_Examples,
    examples=("bulkinfer methods --endpoint embedded", "bulkinfer methods --endpoint E --model URL --json"),
)
@_endpoint_option
@_model_option
@_json_option
@_verbose_option
def methods(endpoint: str | None, model: str | None, as_json: bool, verbose: int) -> None:
    """The endpoint's methods: parameters, types and defaults."""
    with faults_told():
        from bulkinfer.pipelines.jobs.one_call import list_methods

        configure_logging(verbose)
        found = list_methods(endpoint, model)
        if as_json:
            click.echo(json.dumps([method.to_json() for method in found]))
        else:
            for method in found:
                click.echo(f"{method.signature_text}    # {method.type}")


@main.command(cls=_Examples, examples=("bulkinfer serve", "bulkinfer serve --port 9001 --host 0.0.0.0"))
@click.option(
    "--port", default=9001, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Interface to bind; loopback unless told otherwise.",
)
@click.option("--model", metavar="URL", help="Answer for this model alone; by default for any.")
@click.option("--key-env", metavar="NAME", help="Environment variable with a key that calls must carry.")
@_verbose_option
def serve(port: int, host: str, model: str | None, key_env: str | None, verbose: int) -> None:
    """The embedded model server: a real endpoint of the same API, for trying things out and for tests."""
    with faults_told():
        from bulkinfer.pipelines.embedded.server import run_forever

        configure_logging(verbose)
        run_forever(
            port=port,
            host=host,
            model_url=model,
            required_key_env=key_env,
            on_ready=lambda address: click.echo(f"serving on {address}; stop with Ctrl-C", err=True),
        )


@main.command(cls=_Examples, examples=("bulkinfer schema > job.schema.json",))
def schema() -> None:
    """JSON Schema of the job file."""
    from bulkinfer.transforms.job.job_file import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
