"""Whatever is thrown, and where: one line, an exit code, and the traceback only when asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.jobs import run_cli, write_job

MODEL = "https://clarifai.com/bulkinfer/embedded/models/demo"

#: Put before the command: it throws where the test says, in whatever process reaches that place.
SABOTAGE = """
import importlib.abc, importlib.machinery, os, sys

MODULE, NAME = os.environ["SABOTAGE"].rsplit(":", 1)


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        loader = spec.loader
        run = loader.exec_module

        def exec_module(module):
            run(module)
            owner = module
            *parents, last = NAME.split(".")
            for parent in parents:
                owner = getattr(owner, parent)

            def thrown(*_, **__):
                raise RuntimeError("thrown\\nover two lines, with https://user:planted-secret@host/")

            setattr(owner, last, thrown)

        loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SABOTAGE)
    return write_job(
        tmp_path,
        source={"files": "in/*.txt"},
        model={"url": MODEL, "endpoint": "embedded", "method": "classify"},
    )


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("bulkinfer.transforms.sources.listing:_entries", ()),
        ("bulkinfer.transforms.storage.store:Store.write", ()),
        ("bulkinfer.transforms.sources.read_references:ListSource.expand", ("--", "--job_name=mine")),
        ("bulkinfer.transforms.worker:InferenceWorker.begin", ()),
        ("bulkinfer.transforms.inference:_InferFn.setup", ("--set", "runner.workers=2")),
        ("bulkinfer.transforms.tables.commit.commit:make_plan", ()),
        ("bulkinfer.transforms.job.job_file:load_job", ()),
    ],
    ids=["listing", "store", "Beam", "worker thread", "worker process", "commit", "job file"],
)
def test_an_exception_of_any_layer_is_one_line(
    job: Path, place: str, options: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    path = os.pathsep.join([str(job.parent / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {"SABOTAGE": place, "PYTHONPATH": path}

    ran = run_cli("run", job, "--json", *options, cwd=job.parent, env=env)

    told = [line for line in ran.err.splitlines() if line.startswith("bulkinfer: ")]
    assert len(told) == 1, ran.err
    assert "thrown" in told[0]
    assert "Traceback" not in ran.err
    assert "planted-secret" not in ran.err + ran.out
    assert ran.code in (1, 2)
    assert json.loads(ran.out) == {"error": told[0].removeprefix("bulkinfer: "), "exit_code": ran.code}


def test_with_v_the_traceback_follows(job: Path) -> None:
    path = os.pathsep.join([str(job.parent / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {"SABOTAGE": "bulkinfer.transforms.job.job_file:load_job", "PYTHONPATH": path}

    ran = run_cli("run", job, "-v", cwd=job.parent, env=env)

    assert ran.code == 1
    assert ran.err.startswith("bulkinfer: a fault of bulkinfer itself: RuntimeError: thrown over two lines")
    assert "Traceback (most recent call last)" in ran.err


def test_neither_a_log_nor_a_traceback_holds_the_secrets_of_references() -> None:
    script = (
        "import logging, click\n"
        "from bulkinfer.pipelines.terminal.faults import faults_told\n"
        "from bulkinfer.pipelines.terminal.logs import configure_logging\n"
        "from bulkinfer.transforms.errors import SourceError\n"
        "configure_logging(2)\n"
        "logging.getLogger('fsspec').debug('GET https://me:hunter2@h/a?sig=hunter3')\n"
        "with click.Context(click.Command('run')) as context, faults_told():\n"
        "    context.params['verbose'] = 1\n"
        "    try:\n"
        "        raise ValueError('https://h/a?X-Amz-Signature=hunter4')\n"
        "    except ValueError as error:\n"
        "        raise SourceError('cannot open https://me:hunter5@h/a') from error\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert "GET https://***@h/a?sig=***" in done.stderr
    assert "bulkinfer: cannot open https://***@h/a\nTraceback" in done.stderr
    assert "hunter" not in done.stderr
