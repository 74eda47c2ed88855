"""Storage options whose values each worker reads for itself, so that no secret travels with the job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["filled_in"]


def filled_in(options: Mapping[str, Any], *, forgiving: bool = False) -> dict[str, Any]:
    """Options with the values that `{env: NAME}` and `{file: PATH}` stand for, on the machine that asks.

    Args:
        options: fsspec options, flat or nested.
        forgiving: leave out what cannot be read here.

    Raises:
        ValueError: a variable is not set, or a file cannot be read.

    >>> filled_in({"anon": False, "client_kwargs": {"region_name": {"env": "HOME"}}})["anon"]
    False
    """
    filled: dict[str, Any] = {}
    for name, value in options.items():
        if not isinstance(value, Mapping):
            filled[name] = value
            continue
        try:
            filled[name] = _read(name, value) if _is_place(value) else filled_in(value, forgiving=forgiving)
        except ValueError:
            if not forgiving:
                raise
    return filled


def _is_place(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and isinstance(value.get("env", value.get("file")), str)


def _read(name: str, place: Mapping[str, Any]) -> str:
    if "env" in place:
        variable = place["env"]
        if variable not in os.environ:
            raise ValueError(
                f"the option {name!r} is read from the environment variable {variable}, which is not set here; set it "
                "for the process that starts the job and for every worker"
            )
        return os.environ[variable]
    try:
        return Path(place["file"]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ValueError(
            f"the option {name!r} is read from the file {place['file']}, which cannot be read here: {reason}; give it "
            "to the process that starts the job and to every worker"
        ) from None
