"""Jobs of `kind: openai` against LiteLLM's proxy, the way to a hundred vendors; it is installed for this test alone."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.jobs import rows, run_cli, write_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

KEY = "sk-a-key-of-some-length-1234"
CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, api_key: none, mock_response: "It is a cat."}
general_settings: {master_key: %s}
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("litellm")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "litellm[proxy]>=1.100"]
    subprocess.run(pip, check=True, timeout=600)
    (folder / "config.yaml").write_text(CONFIG % KEY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [folder / "venv/bin/litellm", "--config", folder / "config.yaml", "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/health/liveliness"):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[
                -2000:
            ]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


@pytest.fixture
def job(tmp_path: Path, proxy: str) -> Path:
    lines = (json.dumps({"id": f"i{n}", "text": f"What is picture {n}?"}) + "\n" for n in range(20))
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    return write_job(
        tmp_path,
        source={"manifest": "texts.jsonl", "media": "text", "columns": {"content": "text", "id": "id"}},
        model={
            "kind": "openai",
            "endpoint": proxy,
            "name": "mock",
            "key_env": "OWN_KEY",
            "arguments": {"prompt": "$content"},
        },
    )


@pytest.mark.parametrize(
    "options",
    [(), ("--set", "model.arguments.stream=true"), ("--set", "model.method=responses")],
    ids=["chat", "stream", "responses"],
)
def test_what_the_proxy_answers_becomes_rows(tmp_path: Path, job: Path, options: tuple[str, ...]) -> None:
    ran = run_cli("run", job, "--json", *options, cwd=tmp_path, env={"OWN_KEY": KEY})

    assert ran.code == 0, ran.err
    found = rows(tmp_path / "out", "predictions")
    assert len(found) == 20
    assert {(row["text"], row["finish_reason"]) for row in found} == {("It is a cat.", "stop")}
    assert all(row["prompt_tokens"] > 0 < row["completion_tokens"] for row in found)


@pytest.mark.parametrize(
    ("key", "options", "told"),
    [
        ("sk-another", (), "check the key"),
        (KEY, ("--set", "model.name=mok"), "has no model 'mok'; did you mean 'mock'?"),
        (
            KEY,
            ("--set", "model.method=embeddings", "--set", "model.arguments={prompt: x}"),
            "write input: $content",
        ),
    ],
    ids=["key", "model", "arguments"],
)
def test_what_can_never_work_is_told(
    tmp_path: Path, job: Path, key: str, options: tuple[str, ...], told: str
) -> None:
    ran = run_cli("run", job, *options, cwd=tmp_path, env={"OWN_KEY": key})

    assert ran.code == 2
    assert told in ran.err
