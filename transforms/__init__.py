"""The way of one input, as Beam transforms and as plain Python.

    from bulkinfer.transforms import ReadReferences, LoadContent, Predict, WriteTables

The names below are loaded when first used: Beam takes seconds to import, and most modules here do without it.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
from typing import Any

_HOMES = {
    "CallStats": "records",
    "Content": "records",
    "CompletedSpec": "tables.completed",
    "Failure": "records",
    "JobConfig": "job.config",
    "LoadContent": "content.load_content",
    "OutputSpec": "runs.parts",
    "Predict": "calls.predict",
    "Prediction": "records",
    "ReadReferences": "sources.read_references",
    "Reference": "records",
    "WriteTables": "tables.write_tables",
    "inspect_source": "sources.source",
    "load_job": "job.job_file",
    "prepare_call": "endpoints.clarifai.prepare",
    "prepare_job": "preparation",
}

#: Modules that docs/library.md imports by name, and the rooms in which they stand.
_MODULES = {
    "addresses": "endpoints.clarifai.addresses",
    "answers": "endpoints.clarifai.answer.answers",
    "config": "job.config",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)


def _attribute(module: str, name: str) -> Any:
    if name.startswith("__"):  # tools that look at all modules must not load these
        raise AttributeError(name)
    return getattr(importlib.import_module(f".{module}", __name__), name)


for _old, _new in _MODULES.items():
    _alias = types.ModuleType(f"{__name__}.{_old}", f"Stands for `{_new}`, which is loaded when first used.")
    _alias.__getattr__ = functools.partial(_attribute, _new)  # type: ignore[method-assign]
    sys.modules[_alias.__name__] = _alias
