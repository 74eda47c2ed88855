"""Claims of processes that are not there."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from bulkinfer.transforms.storage.store import Store

__all__ = ["write_claim"]


def write_claim(store: Store, path: str, *, age_s: float, **changes: Any) -> None:
    """A claim of a process on another machine, last renewed so long ago; its clock is a day ahead."""
    claim = {
        "format": 1,
        "run_id": "theirs",
        "host": "elsewhere",
        "machine": "elsewhere/boot/pid",
        "pid": 4711,
        "process_start": "1",
        "since": "2026-01-31T12:00:00+00:00",
        "held": True,
        "ttl_s": 60.0,
        "written_at": time.time() + 86400,
        **changes,
    }
    store.write(path, json.dumps(claim).encode())
    then = time.time() - age_s
    os.utime(store.full_path(path), (then, then))
