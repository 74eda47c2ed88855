"""Writes modules of callables for a test, and binds them as a job does."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bulkinfer.transforms.calls.model_call import ModelCall
from bulkinfer.transforms.endpoints.python.kind import PythonKind
from bulkinfer.transforms.job.config import CallsConfig, ModelConfig, StopConfig

__all__ = ["prepare", "write"]


def write(folder: Path, text: str) -> str:
    """Write a module under a name that no other test has, and return the name."""
    name = f"module_{uuid.uuid4().hex[:12]}"
    (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return name


def prepare(
    folder: Path, text: str, name: str = "f", *, media: str = "text", columns: Sequence[str] = (), **keys: Any
) -> ModelCall:
    """A callable of a module of this text, bound as a job binds it; `calls` are keys of that section."""
    calls = CallsConfig(**{"batch_size": 8, "timeout": 10, "retry_for": 5, **keys.pop("calls", {})})
    model = ModelConfig(kind="python", callable=f"{write(folder, text)}:{name}", folder=str(folder), **keys)
    kind = PythonKind()
    stop = StopConfig(error_ratio=1)
    return kind.prepare(model, calls, stop, address=kind.address(model), media_type=media, columns=columns)
