"""Fixtures of the cluster tests: one cluster for all of them, stopped at the end; logs stay in `.cluster/logs`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from bulkinfer.pipelines.embedded.server import EmbeddedServer, serve
from support.cluster_downloads import CACHE
from support.fault_server import FaultServer, running
from support.field import KEY, Field, playing_field
from support.services import orderly_end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of all cluster tests, and keep them in `.cluster/report.jsonl`, one line a test."""
    lines = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call" and "cluster" in report.keywords:
                test = report.nodeid.rpartition("::")[2]
                figures = {"test": test, "outcome": outcome, "seconds": round(report.duration, 1)}
                lines.append({**figures, **dict(report.user_properties)})
    if lines:
        written = [json.dumps(line) for line in lines]
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "report.jsonl").write_text("".join(f"{line}\n" for line in written))
        terminalreporter.section("figures of the cluster")
        for line in written:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _orderly() -> Iterator[None]:
    with orderly_end():
        yield


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Flink with two TaskManagers of two slots, a local Spark with a pool, and S3."""
    with playing_field(CACHE / "logs", tmp_path_factory.mktemp("jobs")) as made:
        yield made


@pytest.fixture(scope="session")
def embedded(field: Field) -> Iterator[EmbeddedServer]:
    """Our own model server, at an address that all hosts reach."""
    with serve(host=field.cluster.here.ip) as server:
        yield server


@pytest.fixture(scope="session")
def faults(field: Field) -> Iterator[FaultServer]:
    """A fault server with latency and limited capacity, at an address that all hosts reach."""
    with running(host=field.cluster.here.ip) as server:
        yield server


@pytest.fixture(autouse=True)
def _the_key(monkeypatch: pytest.MonkeyPatch, _no_credentials_of_ours: None) -> None:
    monkeypatch.setenv("CLARIFAI_PAT", KEY)
    assert os.environ["CLARIFAI_PAT"] == KEY
