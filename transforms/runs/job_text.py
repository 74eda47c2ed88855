"""A job file as a run's record keeps it: without whatever may be a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..storage.faults import redact

__all__ = ["without_secrets"]

_SECRET = re.compile(r"(?i)secret|token|passw|credential|(^|_)(key|pat|auth)($|_)|api_?key|storage")
#: `{env: NAME}` and `{file: PATH}`, which name where a value is read.
_PLACES = ({"env"}, {"file"})
#: Storage options that say where a store is, and no more.
_PLAIN_OPTIONS = ("endpoint_url", "region_name", "region", "account_name", "project", "addressing_style")


def without_secrets(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job file's values with whatever may be a secret replaced by "***".

    Of storage options stand those that say where a store is, and where a secret is read from.

    >>> without_secrets({"storage": {"key": "abc", "secret": {"env": "S"}, "client_kwargs": {"endpoint_url": "http://h"}}})
    {'storage': {'key': '***', 'secret': {'env': 'S'}, 'client_kwargs': {'endpoint_url': 'http://h'}}}
    """

    def clean(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            if name == "storage":
                return _options(value)
            return {key: clean(str(key), inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [clean(name, inner) for inner in value]
        if isinstance(value, str):
            return "***" if _SECRET.search(name) and value else redact(value, {})
        return value

    return {key: clean(str(key), value) for key, value in job.items()}


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Storage options without secrets: of most it is not known whether they are one."""

    def clean(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return value if value.keys() in _PLACES else _options(value)
        if isinstance(value, bool) or value is None:
            return value
        return redact(str(value), {}) if name in _PLAIN_OPTIONS else "***"

    return {str(name): clean(str(name), value) for name, value in options.items()}
