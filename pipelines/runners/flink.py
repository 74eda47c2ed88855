"""Reads a Flink cluster's number of task managers and slots from its REST API."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from bulkinfer.transforms.errors import RunnerError

__all__ = ["flink_overview"]

_REST_SECONDS = 5


def flink_overview(master: str) -> Mapping[str, Any]:
    """Get the JobManager's overview of its cluster, by Flink's own names.

    Raises:
        RunnerError: it does not answer.
    """
    url = (master if "://" in master else f"http://{master}").rstrip("/") + "/overview"
    try:
        with urllib.request.urlopen(url, timeout=_REST_SECONDS) as answer:
            overview: Mapping[str, Any] = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise RunnerError(
            f"runner.options.flink_master: no Flink answers at {url} ({error}); start the cluster, or write "
            "HOST:PORT of the JobManager's REST API"
        ) from error
    return overview
