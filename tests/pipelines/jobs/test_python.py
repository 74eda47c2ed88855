"""Jobs of `kind: python` by the command line: found, made, killed, resumed, and what is said where that fails."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from bulkinfer.pipelines.jobs.plan import plan_job
from bulkinfer.transforms.errors import JobError
from bulkinfer.transforms.job.job_file import load_job
from bulkinfer.transforms.preparation import fingerprint, prepare_job
from support.jobs import COMMAND, Ran, rows, run_cli, write_job

MODEL = """
import os, time
from pathlib import Path

class Model:
    version = "1"

    def __init__(self, log, seconds=0.0):
        self.log, self.seconds = Path(log), seconds
        self.note("made")

    def __call__(self, text):
        print("a model that prints")
        self.note(*text)
        time.sleep(self.seconds)
        return [ValueError("bad") if one == "bad" else {"text": one.upper(), "length": len(one)} for one in text]

    def note(self, *words):
        with self.log.open("a") as file:
            file.write("".join(f"{word}\\n" for word in words))
"""


def job(folder: Path, count: int = 20, *, seconds: float = 0.0, **sections: Any) -> Path:
    """A job of so many texts, beside its module."""
    (folder / "jobs").mkdir()
    (folder / "jobs" / "own_models.py").write_text(MODEL)
    names = [f"t{number:03}" for number in range(count)]
    (folder / "texts.csv").write_text("text\n" + "".join(f"{name}\n" for name in names))
    model = {
        "kind": "python",
        "callable": "own_models:Model",
        "setup": {"log": str(folder / "log"), "seconds": seconds},
        **sections.pop("model", {}),
    }
    return write_job(
        folder / "jobs",
        source={"manifest": "texts.csv", "media": "text", "columns": {"content": "text", "id": "text"}},
        model=model,
        **sections,
    )


def log(folder: Path) -> list[str]:
    path = folder / "log"
    return path.read_text().split() if path.exists() else []


def run(folder: Path, *options: str) -> Ran:
    return run_cli("run", "jobs/job.yaml", "--json", *options, cwd=folder)


def test_the_module_lies_beside_the_job_file_and_what_it_prints_is_no_result(tmp_path: Path) -> None:
    job(tmp_path)
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    assert ran.json["predictions"] == 20  # standard output holds one object of JSON
    assert "a model that prints" in ran.err
    (first, *_) = rows(tmp_path / "out", "predictions")
    assert (first["text"], first["json"]) == ("T000", '{"length":4}')
    assert (first["model_url"], first["model_version"]) == ("python:own_models:Model", "1")
    assert log(tmp_path).count("made") == 1
    assert run(tmp_path).json["new"] == 0


def test_another_version_or_setup_is_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = load_job("jobs/job.yaml").config
    prepared = prepare_job(config)
    call = prepared.call
    newer = dataclasses.replace(call, endpoint=dataclasses.replace(call.endpoint, version="2"))  # type: ignore[type-var]

    assert prepare_job(config).output.fingerprint == prepared.output.fingerprint
    assert fingerprint(config, newer) != prepared.output.fingerprint
    other = load_job("jobs/job.yaml", ["model.setup.seconds=1"]).config
    assert prepare_job(other).output.fingerprint != prepared.output.fingerprint


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_workers_of_their_own_make_a_model_each(tmp_path: Path, executor: str) -> None:
    job(
        tmp_path,
        200,
        seconds=0.02,
        calls={"batch_size": 4},
        model={"executor": executor},
        runner={"workers": 2},
    )
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    assert ran.json["predictions"] == 200
    assert 1 <= log(tmp_path).count("made") <= 2
    assert sorted(word for word in log(tmp_path) if word != "made") == [f"t{at:03}" for at in range(200)]


def test_after_a_kill_the_same_command_pays_little_again(tmp_path: Path) -> None:
    job(tmp_path, 120, seconds=0.1, calls={"batch_size": 4})
    started = subprocess.Popen(
        [*COMMAND, "run", "jobs/job.yaml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(log(tmp_path)) < 60:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    ran = run(tmp_path)

    assert ran.code == 0, ran.err
    found = [row["input_id"] for row in rows(tmp_path / "out", "predictions")]
    assert found == [f"t{number:03}" for number in range(120)]
    paid = len([word for word in log(tmp_path) if word != "made"])
    assert paid - 120 <= 4 + 4 * 25  # in flight, and what 2.5 s give


def test_an_input_of_its_own_fault_is_an_error_row(tmp_path: Path) -> None:
    job(tmp_path)
    (tmp_path / "texts.csv").write_text("text\ngood\nbad\n")
    ran = run(tmp_path)

    assert ran.code == 3
    (row,) = rows(tmp_path / "out", "errors")
    assert (row["input_id"], row["stage"], row["error_type"]) == ("bad", "call", "value_error")
    assert row["message"] == "the callable answered with ValueError: bad"
    assert not row["retryable"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"callable": "nowhere:Model"}, "model.callable: there is no module 'nowhere', neither in "),
        ({"callable": "own_models:Modl"}, "has no 'Modl'; did you mean 'Model'?"),
        ({"callable": "own_models"}, "model.callable: 'own_models' does not fit; write "),
        ({"callable": None}, "model: kind: python calls a class or function; add callable: MODULE:NAME"),
        ({"url": "https://clarifai.com/a/b/models/c"}, "model: url is no key of kind python"),
        (
            {"setup": {}},
            "model.setup: missing a required argument: 'log', where own_models:Model(log, seconds=0.0)",
        ),
        ({"method": "predict"}, "model.method: the class own_models:Model has no method 'predict'"),
        ({"arguments": {"txt": "$content"}}, "model.arguments: missing a required argument: 'text'"),
        ({"kind": "clarifai"}, "model: callable, setup are no keys of kind clarifai"),
        ({"executor": "fibre"}, "model.executor: 'fibre' is not known; write one of 'thread' or 'process'"),
    ],
    ids=str,
)
def test_a_job_that_cannot_run_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], message: str
) -> None:
    job(tmp_path, model=keys)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError) as caught:
        plan_job(load_job("jobs/job.yaml"))

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_ends_with_2_before_anything_is_written(tmp_path: Path) -> None:
    job(tmp_path, model={"callable": "nowhere:Model"})
    ran = run(tmp_path)

    assert (ran.code, ran.json["exit_code"]) == (2, 2)
    assert f"there is no module 'nowhere', neither in {tmp_path / 'jobs'} (model.folder" in ran.json["error"]
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_made_ends_the_job_with_1_and_a_line(tmp_path: Path) -> None:
    job(tmp_path)
    ran = run(tmp_path, "--set", "model.setup.log=/no/such/folder/log")

    assert ran.code == 1
    told = "own_models:Model cannot be made: it raised FileNotFoundError: "
    assert told in json.loads(ran.out)["error"]
    assert "Traceback" not in ran.err
