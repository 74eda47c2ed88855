"""Makes what a job calls, and calls it: one batch as lists by name, one answer an input. No threads, no Beam."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from ...calls.endpoint import Fault, Verdict
from ...errors import EncodeError, EndpointError, JobError
from ..plain.answers import Answer, answer_of
from ..plain.regions import AnswerError, shown
from .callables import Callee, CalleeSpec, called, find
from .faults import described, fault_of, fault_of_one, mismatch, wrong_answer
from .host_lock import one_at_first
from .pictures import converter, form_of

__all__ = ["Done", "Model", "ModelSpec"]


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What is made and called in a worker; plain data that pickles.

    Attributes:
        callee: the callable.
        version: that the launcher found.
        constants: arguments that are the same for all inputs.
        contents: names of the arguments that hold the content.
        columns: names of the arguments that hold a column's value.
        media_type: of the content.
    """

    callee: CalleeSpec
    version: str
    constants: Mapping[str, Any]
    contents: tuple[str, ...]
    columns: tuple[str, ...]
    media_type: str


@dataclasses.dataclass(slots=True)
class Done:
    """What came of one call.

    Attributes:
        fault: of the call as a whole.
        answers: one an input: the pieces of a stream, or one answer; or the input's own fault.
        partial: a stream had begun to answer before it failed.
    """

    fault: Fault | None = None
    answers: Sequence[tuple[Answer, ...] | Fault] = ()
    partial: bool = False


class Model:
    """The callable of a job, made and ready.

    Raises:
        JobError: it is not there, is another version than the launcher's, or cannot be made; one line.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._constants = spec.constants
        callee = find(spec.callee)
        if callee.version != spec.version:
            raise EndpointError(
                f"model.callable: {spec.callee.name} is version {callee.version or 'unknown'} in the worker on "
                f"{socket.gethostname()}, but {spec.version or 'unknown'} where the job was started; install the same "
                "module on all workers"
            )
        self._function = _made(spec.callee, callee)
        self._streams = dataclasses.replace(callee, function=self._function).streams
        self._converters = _converters(spec, self._function)

    def call(self, batch: Sequence[Mapping[str, Any]]) -> Done:
        """Call it for a batch, and turn its answers into values of columns; never raises.

        Args:
            batch: values by argument, of each input.
        """
        results: list[tuple[Answer, ...] | Fault | None] = []
        ready: list[dict[str, Any]] = []
        for values in batch:
            try:
                ready.append(self._converted(values))
                results.append(None)
            except EncodeError as error:
                results.append(Fault(Verdict.BAD_INPUT, error.error_type, error.message))
        done = (self._stream(ready) if self._streams else self._answers(ready)) if ready else Done()
        if done.fault is not None:
            return done
        rest = iter(done.answers)
        done.answers = [next(rest) if result is None else result for result in results]
        return done

    def _converted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        converters = self._converters
        return {
            name: converters[name](value) if name in converters else value for name, value in values.items()
        }

    def _answers(self, ready: list[dict[str, Any]]) -> Done:
        """One call for all inputs."""
        lists = {name: [values[name] for values in ready] for name in ready[0]}
        try:
            answers = self._function(**lists, **self._constants)
            paired = _paired(answers, len(ready))
        except BaseException as error:  # noqa: BLE001  (also what ends a process, as sys.exit in a library)
            return Done(fault_of(error))
        if isinstance(paired, Fault):
            return Done(paired)
        return Done(answers=[_result(answer) for answer in paired])

    def _stream(self, ready: list[dict[str, Any]]) -> Done:
        """A call for each input, whose answer comes in pieces."""
        results: list[tuple[Answer, ...] | Fault] = []
        for values in ready:
            pieces: list[Answer] = []
            try:
                for piece in self._function(**values, **self._constants):
                    result = _result(piece)
                    if isinstance(result, Fault):
                        results.append(result)
                        break
                    pieces += result
                else:
                    results.append(tuple(pieces))
            except BaseException as error:  # noqa: BLE001  (as above)
                if len(ready) == 1:
                    return Done(fault_of(error), partial=bool(pieces))
                results.append(fault_of_one(error))
        return Done(answers=results)


def _made(spec: CalleeSpec, callee: Callee) -> Callable[..., Any]:
    if not callee.made:
        return called(spec, callee.target)
    setup = spec.setup or {}
    try:
        with one_at_first(f"{spec.name} {sorted(setup.items())!r}"):
            made = callee.target(**setup)
    except JobError:
        raise
    except BaseException as error:
        raise EndpointError(
            f"model.callable: {spec.name} cannot be made: it raised {described(error)}"
        ) from error
    return called(spec, made)


def _converters(spec: ModelSpec, function: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    """What turns each content, and each column whose parameter says so, into the form that its parameter asks for."""
    forms = dict.fromkeys((*spec.contents, *spec.columns), "")
    try:
        parameters: Iterable[inspect.Parameter] = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    for parameter in parameters:
        if parameter.name in forms and parameter.annotation is not parameter.empty:
            forms[parameter.name] = form_of(parameter.annotation)
    return {
        name: converter(form, spec.media_type)
        for name, form in forms.items()
        if form or name in spec.contents
    }


def _paired(answers: Any, count: int) -> Sequence[Any] | Fault:
    """The answers as a list, one an input."""
    if isinstance(answers, (str, bytes, Mapping, AbstractSet)) or not hasattr(answers, "__iter__"):
        return mismatch(
            f"the callable answered {shown(answers)} for {count} inputs; return a list with one answer each"
        )
    # A generator that gives too much, perhaps without end, is not read to its end.
    found = list(itertools.islice(answers, count + 1))
    if len(found) == count:
        return found
    number = f"more than {count}" if len(found) > count else str(len(found))
    return mismatch(
        f"the callable answered {number} answers for {count} inputs; return a list with one answer each"
    )


def _result(answer: Any) -> tuple[Answer, ...] | Fault:
    """One answer as values of columns, or its own fault."""
    if isinstance(answer, BaseException):
        return fault_of_one(answer)
    try:
        return (answer_of(answer),)
    except AnswerError as error:
        return wrong_answer(str(error))
    except Exception as error:  # noqa: BLE001  (whatever an answer does when it is read is about this answer)
        return wrong_answer(f"{shown(answer)} cannot be read: {described(error)}")
