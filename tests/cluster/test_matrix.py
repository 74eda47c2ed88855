"""The same job file gives the same tables, row by row, on every runner."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from bulkinfer.pipelines.embedded.server import EmbeddedServer
from support.cluster import aws_environment
from support.field import KEY, MODEL, PATIENCE, Field
from support.paths import CONFIGS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]

RUNNERS = {"d1": ("direct", 1), "d2": ("direct", 2), "f4": ("flink", 4), "s4": ("spark", 4)}
#: Columns that depend on the run and the time, not on the answer.
VOLATILE = ("run_id", "latency_ms", "created_at", "attempts", "output_id")


def _model(server: EmbeddedServer, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    known = {"url": MODEL, "endpoint": server.endpoint, "allow_plaintext": True}
    return {**known, "method": method, "arguments": dict(arguments)}


def _photos(field: Field, server: EmbeddedServer) -> dict[str, Any]:
    filesystem = field.filesystem()
    for photo in sorted((CONFIGS / "photos").glob("*.jpg"))[:12]:
        filesystem.put(str(photo), f"inputs/photos/{photo.name}")
    return {
        "source": {"files": "s3://inputs/photos/*.jpg", "storage": field.storage},
        "model": _model(server, "segment_anything", {"image": "$content"}),
        "calls": {"batch_size": 2, "in_flight": 2},
    }


def _texts(field: Field, server: EmbeddedServer) -> dict[str, Any]:
    lines = [
        {"id": f"t{n:04d}", "body": f"This is the plain English text number {n}.", "n": n} for n in range(500)
    ]
    field.filesystem().pipe("inputs/texts.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    columns = {"content": "body", "id": "id", "keep": ["n"]}
    return {
        "source": {
            "manifest": "s3://inputs/texts.jsonl",
            "media": "text",
            "columns": columns,
            "storage": field.storage,
        },
        "model": _model(server, "classify", {}),
    }


def _video(field: Field, server: EmbeddedServer) -> dict[str, Any]:
    filesystem = field.filesystem()
    lines = []
    for line in (CONFIGS / "track_video.jsonl").read_text().splitlines():
        row = json.loads(line)
        video = CONFIGS / row["video"]
        filesystem.put(str(video), f"inputs/{video.name}")
        lines.append(json.dumps({**row, "video": f"s3://inputs/{video.name}"}) + "\n")
    filesystem.pipe("inputs/videos.jsonl", "".join(lines).encode())
    return {
        "source": {
            "manifest": "s3://inputs/videos.jsonl",
            "columns": {"uri": "video"},
            "storage": field.storage,
        },
        "model": _model(server, "generate", {"video": "$content", "list_dict_inputs": "$column.objects"}),
        "calls": {"timeout": "5m"},
    }


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_photos, id="photos"),
        pytest.param(_texts, id="texts", marks=pytest.mark.cluster_all),
        pytest.param(_video, id="video", marks=pytest.mark.cluster_all),
    ],
)
def test_tables_are_equal_on_every_runner(field: Field, embedded: EmbeddedServer, make: Any) -> None:
    """Predictions and masks are compared between direct with one and two workers, Flink and Spark."""
    sections = make(field, embedded)
    kind = make.__name__.strip("_")
    tables = {}
    for label, (name, workers) in RUNNERS.items():
        ran = field.run(f"{kind}-{label}", {**sections, "runner": field.runner(name, workers)})
        assert ran.code == 0, f"{label}: {ran.err[-3000:]}"
        assert ran.json["errors"] == 0
        assert KEY not in ran.out + ran.err
        tables[label] = {
            table: field.rows(f"{kind}-{label}", table, without=VOLATILE)
            for table in ("predictions", "masks")
        }
    assert tables["d1"]["predictions"]
    for label in RUNNERS:
        assert tables[label] == tables["d1"], label


@pytest.mark.cluster_all
@pytest.mark.parametrize("name", ["flink", "spark"])
def test_the_example_job_files_run(
    field: Field, embedded: EmbeddedServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """launch.py starts them unchanged; keys and addresses are in the environment."""
    filesystem = field.filesystem()
    for photo in ("coins.jpg", "coffee.jpg"):
        filesystem.put(str(CONFIGS / "photos" / photo), f"inputs/photos/{photo}")
    options = field.cluster.flink_options()
    environment = {
        **aws_environment(field.cluster.s3),
        "BUCKET": "inputs",
        "MODEL_URL": MODEL,
        "ENDPOINT": embedded.endpoint,
        "FLINK_MASTER": options["flink_master"],
        "FLINK_JOB_SERVER_JAR": options["flink_job_server_jar"],
        "SPARK_MASTER": "local[4]",
        "SPARK_JOB_SERVER_JAR": field.spark["spark_job_server_jar"],
        "WORKER_POOL": field.spark["environment_config"],
    }
    for key, value in environment.items():
        monkeypatch.setenv(key, str(value))
    job = CONFIGS / "cluster" / f"{name}.yaml"
    done = subprocess.run(
        [
            sys.executable,
            str(CONFIGS / "launch.py"),
            f"--job_file={job}",
            "--set=source.files=s3://inputs/photos/co*.jpg",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=field.folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["predictions"] >= 2


def test_the_key_is_in_no_log_and_no_file(field: Field) -> None:
    """The key in the workers' environment is in no log of the cluster and nowhere in the store."""
    for log in field.cluster.logs.rglob("*.log"):
        assert KEY not in log.read_text(errors="replace"), log
    filesystem = field.filesystem()
    for path in filesystem.find("out"):
        assert KEY.encode() not in filesystem.cat_file(path), path
