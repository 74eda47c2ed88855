"""A job ends before anything is sent when its workers have another version than the launcher."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from support.cluster import workers_site
from support.fault_server import running
from support.field import MODEL, PATIENCE
from support.jobs import run_cli
from support.spark_cluster import spark_pool

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3 * PATIENCE)]

OLD = "0.0.1"


def _site_of_old(folder: Path) -> Path:
    """Copy the folder that pools import from, relabelled as an older bulkinfer."""
    site = shutil.copytree(workers_site(), folder / "site")
    (info,) = site.glob("bulkinfer-*.dist-info")
    old = info.rename(site / f"bulkinfer-{OLD}.dist-info")
    said = (old / "METADATA").read_text()
    here = metadata.version("bulkinfer")
    assert f"\nVersion: {here}\n" in said
    (old / "METADATA").write_text(said.replace(f"\nVersion: {here}\n", f"\nVersion: {OLD}\n"))
    return site


def test_a_pool_of_another_version_is_named_and_nothing_is_sent(
    tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    """A real worker pool beside a local Spark has the older version."""
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"id": n, "body": f"text {n}"}) + "\n" for n in range(50))
    )
    environment = {"PYTHONPATH": str(_site_of_old(tmp_path))}
    with running() as server, spark_pool(tmp_path / "logs", pool_env=environment) as options:
        job = {
            "source": {
                "manifest": str(tmp_path / "texts.jsonl"),
                "media": "text",
                "columns": {"content": "body", "id": "id"},
            },
            "model": {"url": MODEL, "endpoint": server.endpoint, "allow_plaintext": True},
            "output": {"uri": str(tmp_path / "out")},
            "runner": {"name": "spark", "workers": 2, "options": options},
        }
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job))
        ran = run_cli("run", path, cwd=tmp_path, timeout=PATIENCE)
        stats = server.stats()

    *_, said = ran.err.splitlines()
    record_property("code", ran.code)
    record_property("said", said)
    assert ran.code == 1, ran.err  # 1 and not 2: only a started run learns its workers' versions
    here = metadata.version("bulkinfer")
    assert f"has bulkinfer {OLD} and this launcher {here}; install bulkinfer {here}" in said
    assert stats["answered"] == {}
