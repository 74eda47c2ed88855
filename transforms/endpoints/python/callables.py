"""Finds the callable that a job names, and says what it takes, by Python's own introspection."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import MethodError, ModelNotFoundError
from .faults import described

__all__ = ["Callee", "CalleeSpec", "called", "find"]

#: Versions by module, as they were when it was loaded: a file that changes later changes nothing in this process.
_VERSIONS: dict[str, str] = {}


@dataclasses.dataclass(frozen=True)
class CalleeSpec:
    """Which callable a job names; plain data.

    Attributes:
        name: MODULE:NAME.
        method: of the object that is made; "" for the object itself.
        setup: arguments of the class or the factory; None where the job gives none.
        folder: where the module is looked for, before all other places.
    """

    name: str
    method: str = ""
    setup: Mapping[str, Any] | None = None
    folder: str = ""


@dataclasses.dataclass(frozen=True)
class Callee:
    """A callable that was found.

    Attributes:
        target: what the job names: a class, a function or an object.
        made: the target makes what is called, once a process.
        function: what is called, with `self` not bound where the target is a class; None while only making it tells.
        signature: of the function, without `self`; None where Python knows none.
        version: its attribute `version`, else a hash of the file that it stands in.
    """

    target: Any
    made: bool
    function: Callable[..., Any] | None
    signature: inspect.Signature | None
    version: str

    @property
    def parameters(self) -> str:
        """The signature for a person: annotations as they were written."""
        if self.signature is None:
            return "(...)"
        bare = [one.replace(annotation=_bare(one.annotation)) for one in self.signature.parameters.values()]
        returned = _bare(self.signature.return_annotation)
        return str(self.signature.replace(parameters=bare, return_annotation=returned))

    @property
    def streams(self) -> bool:
        """It is a generator function: called for one input at a time, it yields the pieces of the answer."""
        called = vars(type(self.function)).get("__call__")  # of an object that is called itself
        return inspect.isgeneratorfunction(self.function) or inspect.isgeneratorfunction(called)


class _Bare(str):
    """An annotation that stands in a signature without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _bare(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def find(spec: CalleeSpec) -> Callee:
    """Import the callable and look at it; nothing is called.

    Raises:
        ModelNotFoundError: there is no such module, it cannot be imported, or it has no such name.
        MethodError: what stands there cannot be called as the job says.
    """
    module_name, _, path = spec.name.partition(":")
    module = _import(module_name, spec.folder)
    target: Any = module
    for step in path.split("."):
        if not hasattr(target, step):
            raise ModelNotFoundError(
                f"model.callable: {spec.name}: the module {module_name} ({_file(module)}) has no {path!r}; "
                f"{_near(step, dir(target))}"
            )
        target = getattr(target, step)
    version = _version(target, module)
    if not callable(target) and not spec.method:
        raise MethodError(
            f"model.callable: {spec.name} is of type {type(target).__name__}, which is not callable; name a class, a "
            "function, or an object with a method __call__"
        )
    if inspect.isclass(target):
        _check_setup(spec, target)
        function, signature = _method_of_class(spec, target)
        return Callee(target, True, _synchronous(spec, function), signature, version)
    if spec.setup is not None or (inspect.isroutine(target) and not spec.method and _takes_nothing(target)):
        _check_setup(spec, target)
        return Callee(target, True, None, None, version)
    function = called(spec, target)
    return Callee(target, False, function, _signature(function), version)


def called(spec: CalleeSpec, made: Any) -> Callable[..., Any]:
    """What is called of an object that was made.

    Raises:
        MethodError: it has no such method, or is not callable.
    """
    function = getattr(made, spec.method, None) if spec.method else made
    if not callable(function):
        what = (
            f"no method {spec.method!r}; {_near(spec.method, dir(made))}"
            if spec.method
            else "no method __call__"
        )
        raise MethodError(
            f"model.callable: what {spec.name} makes is of type {type(made).__name__}, which has {what}"
        )
    return _synchronous(spec, function)


def _import(name: str, folder: str) -> types.ModuleType:
    try:
        with _Searched(folder):
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise ModelNotFoundError(
                f"model.callable: the module {name} cannot be imported: {error}"
            ) from error
        raise ModelNotFoundError(
            f"model.callable: there is no module {error.name!r}, neither in {folder} (model.folder, by default the job "
            f"file's own) nor on PYTHONPATH ({_python_path()}) nor installed; set model.folder or PYTHONPATH, or "
            "install it"
        ) from None
    except (Exception, SystemExit) as error:
        raise ModelNotFoundError(
            f"model.callable: the module {name} cannot be imported: {described(error)}"
        ) from error
    _VERSIONS.setdefault(name, _hash(_file(module)))
    return module


class _Searched:
    """Searches a folder for modules: first of all while the block lasts, and after all other places from then on.

    So a module of the job stands before one of its name that is installed, and a later import of this package's does
    not end at a file of the job's that happens to be named alike.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        if self._folder:
            importlib.invalidate_caches()  # the folder may have been listed before the file was written
            sys.path.insert(0, self._folder)

    def __exit__(self, *_: object) -> None:
        if self._folder:
            sys.path.remove(self._folder)
            if self._folder not in sys.path:
                sys.path.append(self._folder)


def _method_of_class(spec: CalleeSpec, target: type) -> tuple[Callable[..., Any], inspect.Signature | None]:
    name = spec.method or "__call__"
    found = next((vars(base)[name] for base in target.__mro__ if name in vars(base)), None)
    function = getattr(target, name, None)
    if found is None or not callable(function):
        methods = [one for one in dir(target) if not one.startswith("_") and callable(getattr(target, one))]
        raise MethodError(
            f"model.method: the class {spec.name} has no method {name!r}; name one of its methods in model.method: "
            f"{', '.join(methods) or 'it has none'}"
        )
    signature = _signature(function)
    if signature is not None and not isinstance(found, (staticmethod, classmethod)):
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    return function, signature


def _check_setup(spec: CalleeSpec, target: Callable[..., Any]) -> None:
    signature, setup = _signature(target), spec.setup or {}
    if signature is None:
        return
    try:
        signature.bind(**setup)
    except TypeError as error:
        raise MethodError(
            f"model.setup: {error}, where {spec.name}{signature} is made with {', '.join(setup) or 'no arguments'}"
        ) from None


def _synchronous(spec: CalleeSpec, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise MethodError(
            f"model.callable: {spec.name} is an async function; write a plain one, as calls run in threads or "
            "processes of their own"
        )
    return function


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # written in C, without a signature
        return None


def _takes_nothing(function: Callable[..., Any]) -> bool:
    signature = _signature(function)
    return signature is not None and not signature.parameters


def _version(target: Any, module: types.ModuleType) -> str:
    """Of the callable; of a module's file as it was loaded."""
    told = getattr(target, "version", None)
    if isinstance(told, (str, int, float)) and str(told):
        return str(told)
    home = sys.modules.get(getattr(target, "__module__", None) or "", module)
    name = home.__name__
    return _VERSIONS.setdefault(name, _hash(_file(home)))


def _hash(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
    except OSError:  # built in, or inside an archive
        return ""


def _file(module: types.ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"


def _python_path() -> str:
    return os.environ.get("PYTHONPATH") or "empty"


def _near(name: str, known: Iterable[str]) -> str:
    known = [one for one in known if not one.startswith("_")]
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known)[:12]) or 'nothing'}"
