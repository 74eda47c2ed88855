"""What the preflight asks of a Python callable; see `endpoints.kinds`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ...calls.endpoint import CallLimits
from ...calls.model_call import ModelCall
from ...job.config import CallsConfig, ModelConfig, StopConfig
from ..arguments.expressions import named_columns
from .arguments import bind
from .callables import CalleeSpec, find
from .endpoint import PythonEndpoint

__all__ = ["PythonKind"]


class PythonKind:
    """A class or function of a module that workers can import."""

    def address(self, model: ModelConfig) -> str:
        """The folder of the module, by default the current one."""
        return str(Path(model.folder or ".").resolve())

    def check(self, model: ModelConfig, address: str) -> None:
        """Nothing is known without the module."""

    def published_limits(self, model: ModelConfig, address: str) -> CallLimits:
        """None."""
        return CallLimits()

    def columns(self, model: ModelConfig) -> frozenset[str]:
        """Those that arguments and templates name."""
        return named_columns(model.arguments)

    def prepare(
        self,
        model: ModelConfig,
        calls: CallsConfig,
        stop: StopConfig,
        *,
        address: str,
        media_type: str,
        columns: Collection[str],
        workers: int = 1,
    ) -> ModelCall:
        """Import the callable and bind its arguments; it is not made yet, which may take minutes.

        One call at a time is under way unless the job says otherwise: not every model may be called from several
        threads at once.
        """
        assert model.callable is not None
        method = model.method if "method" in model.model_fields_set else ""
        spec = CalleeSpec(model.callable, method, model.setup, address)
        callee = find(spec)
        name = model.callable.partition(":")[2] + (f".{method}" if method else "")
        arguments = bind(callee, name, model.arguments, media_type=media_type, columns=columns)
        if "in_flight" not in calls.model_fields_set:
            calls = calls.model_copy(update={"in_flight": 1})
        endpoint = PythonEndpoint(
            callee=spec,
            arguments=arguments,
            media_type=media_type,
            version=callee.version,
            signature=name + callee.parameters,
            streams=callee.streams,
            processes=calls.in_flight if model.executor == "process" else None,
        )
        return ModelCall(endpoint, calls, stop, workers)
