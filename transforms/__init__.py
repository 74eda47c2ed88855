"""The way of one input, as Beam transforms and as plain Python.

    from bulkinfer.transforms import ReadReferences, LoadContent, Predict, WriteTables

The names below are loaded when first used: Beam takes seconds to import, and most modules here do without it.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "CallStats": "records",
    "Content": "records",
    "CompletedSpec": "completed",
    "Failure": "records",
    "JobConfig": "config",
    "LoadContent": "content",
    "OutputSpec": "parts",
    "Predict": "predict",
    "Prediction": "records",
    "ReadReferences": "references",
    "Reference": "records",
    "WriteTables": "tables",
    "inspect_source": "sources",
    "load_job": "job_file",
    "prepare_call": "model_call",
    "prepare_job": "preparation",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
