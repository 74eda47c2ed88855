"""Jobs, and all that talks to a person: the command line, runners, the terminal, the embedded server."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any


def _of_server(name: str) -> Any:
    if name.startswith("__"):  # tools that look at all modules must not load it
        raise AttributeError(name)
    return getattr(importlib.import_module(f"{__name__}.embedded.server"), name)


# docs/library.md imports `embedded_server` by name.
_alias = types.ModuleType(
    f"{__name__}.embedded_server", "Stands for `embedded.server`, loaded when first used."
)
_alias.__getattr__ = _of_server  # type: ignore[method-assign]
sys.modules[_alias.__name__] = _alias
