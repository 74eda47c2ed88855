"""From the text of a job file to a `JobConfig`, or to one message that says what to write instead.

Order: read YAML, apply `--set`, fill in `${NAME}` from the environment, validate. A run record keeps the file as it was
written, so that what came from the environment never reaches a store.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ..errors import ConfigError
from .config import JobConfig

__all__ = ["JobFile", "check_sections", "fill_in", "load_job"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_KEY = re.compile(
    r"secret|token|password|passwd|credential|(^|_)(key|pat|sas)$|connection_string", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class JobFile:
    """A validated job and the text it came from.

    Attributes:
        path: as the user gave it.
        config: the job with every override and variable applied.
        record: what may be stored about the job: overrides applied, variables not filled in, secrets masked.
    """

    path: str
    config: JobConfig
    record: Mapping[str, Any]


def load_job(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> JobFile:
    """Read and check a job file.

    Args:
        path: a YAML file.
        overrides: `key.path=value` each, the value read as YAML.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or says something unknown or impossible. The message names
            the file, the key, the value and what to write instead.
    """
    path = str(path)
    text = _read(path)
    tree, lines = _parse(path, text)
    for override in overrides:
        _apply(tree, override)
    record = _masked(tree)
    filled = fill_in(copy.deepcopy(tree), path)
    model = filled.get("model")
    if isinstance(model, dict) and model.get("kind") == "python":
        model.setdefault("folder", str(Path(path).resolve().parent))
    return JobFile(path, _validated(path, lines, filled), record)


def check_sections(sections: Mapping[str, Any]) -> JobConfig:
    """A job out of the sections that a job file holds, for those who write none.

    Raises:
        ConfigError: a section says something unknown or impossible.

    >>> check_sections({"source": {"files": "*.txt", "medai": "text"}})
    Traceback (most recent call last):
    bulkinfer.transforms.errors.ConfigError: job: source.medai: unknown key; did you mean media?
    job: model: this key is missing; add it
    job: output: this key is missing; add it
    """
    return _validated("job", {}, sections)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such job file; give the path of a YAML file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a directory; give the path of a YAML file in it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text at byte {error.start}; save the job file as UTF-8"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _parse(path: str, text: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}; mend this line") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path}: the job file holds {type(tree).__name__}, not keys; write source:, model: and output: sections"
        )
    return tree, dict(_lines(path, node, ()))


def _lines(path: str, node: yaml.Node | None, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                where = ".".join((*at, name))
                raise ConfigError(
                    f"{path}:{line}: {where} is given twice, first in line {seen[name]}; keep one of them"
                )
            seen[name] = line
            yield (*at, name), line
            yield from _lines(path, value, (*at, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*at, str(index)), value.start_mark.line + 1
            yield from _lines(path, value, (*at, str(index)))


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected key.path=value, as in --set calls.batch_size=16")
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        value = text  # a reference such as s3://bucket/{a}: is text, not YAML
    section: Any = tree
    for depth, key in enumerate(keys[:-1]):
        section = section.setdefault(key, {}) if section.get(key) is not None else _fresh(section, key)
        if not isinstance(section, dict):
            where = ".".join(keys[: depth + 1])
            raise ConfigError(f"--set {override}: {where} is {section!r}, which has no keys of its own")
    if len(keys) == 2 and keys[0] == "source" and keys[1] in ("files", "manifest", "table"):
        # Naming another kind of source replaces the one in the file: exactly one may stand.
        for other in ("files", "manifest", "table"):
            section.pop(other, None)
    section[keys[-1]] = value


def _fresh(section: dict[str, Any], key: str) -> dict[str, Any]:
    section[key] = {}
    made: dict[str, Any] = section[key]
    return made


def fill_in(value: Any, path: str, at: tuple[str, ...] = ()) -> Any:
    """A section of a job file with the values of the environment's variables in place of ${NAME}.

    Args:
        path: of the job file, for messages.
        at: the keys that lead to the section.

    Raises:
        ConfigError: a variable is not set.
    """
    if isinstance(value, dict):
        return {key: fill_in(item, path, (*at, str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, path, (*at, str(index))) for index, item in enumerate(value)]
    if isinstance(value, str):

        def variable(match: re.Match[str]) -> str:
            name = match[1]
            if name not in os.environ:
                raise ConfigError(
                    f"{path}: {'.'.join(at)}: the environment variable {name} is not set; "
                    f"export {name}, or write the value in place of ${{{name}}}"
                )
            return os.environ[name]

        filled = _VARIABLE.sub(variable, value)
        # A lone ${NAME} may stand for a number or a flag, so it is read as YAML would read it.
        if filled != value and _VARIABLE.fullmatch(value):
            try:
                plain = yaml.safe_load(filled)
            except yaml.YAMLError:
                return filled
            return plain if isinstance(plain, (int, float, bool)) else filled
        return filled
    return value


def _masked(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _masked(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, key) for item in value]
    if isinstance(value, str):
        if _SECRET_KEY.search(key) and not _VARIABLE.fullmatch(value):
            return "***"
        # user:password@ and signed query strings inside a URL are secrets, too.
        value = re.sub(r"(://[^/@\s:]+):[^/@\s]+@", r"\1:***@", value)
        return re.sub(
            r"([?&](?:sig|signature|x-amz-[a-z-]+|token|key)=)[^&\s]+", r"\1***", value, flags=re.IGNORECASE
        )
    return value


def _validated(path: str, lines: Mapping[tuple[str, ...], int], sections: Mapping[str, Any]) -> JobConfig:
    try:
        return JobConfig.model_validate(sections)
    except ValidationError as error:
        raise ConfigError(_explain(path, lines, error)) from None


def _explain(path: str, lines: Mapping[tuple[str, ...], int], error: ValidationError) -> str:
    messages = []
    for item in error.errors(include_url=False):
        keys = tuple(str(part) for part in item["loc"])
        line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), None)
        place = f"{path}:{line}" if line else path
        messages.append(f"{place}: {'.'.join(keys) or 'job file'}: {_fault(keys, item)}")
    return "\n".join(dict.fromkeys(messages))


def _fault(keys: tuple[str, ...], item: Any) -> str:
    kind, value = item["type"], item.get("input")
    if kind == "extra_forbidden":
        known = sorted(_section_at(keys[:-1]).model_fields)
        close = difflib.get_close_matches(keys[-1], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "this key is missing; add it"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "literal_error":
        return f"{value!r} is not known; write one of {item['ctx']['expected']}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{value!r} stands where keys are expected; write a section with keys of its own"
    expected = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{_shown(value)} does not fit; write {expected}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _section_at(keys: Sequence[str]) -> type[BaseModel]:
    section: type[BaseModel] = JobConfig
    for key in keys:
        field = section.model_fields.get(key)
        if field is None:
            break
        candidates = (field.annotation, *get_args(field.annotation))
        inner = next(
            (kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None
        )
        if inner is None:
            break
        section = inner
    return section
