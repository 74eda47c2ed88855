"""Parses and writes Beam's command-line flags, and refuses misspelt options and secrets among them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bulkinfer.transforms.errors import RunnerError

__all__ = ["parse_flags", "refuse_misspelt", "refuse_secrets", "to_flags"]

#: Some runners default these to true; Beam drops a false value, and takes `--no_NAME` instead.
_SAID_BY_NO = ("save_main_session", "use_public_ips")
_CLARIFAI = re.compile(r"clarifai_(pat|key|session_token)(?!_file)", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(^|_)(secret|password|passwd|token)(_|$)|secret_access_key", re.IGNORECASE)


def parse_flags(flags: Sequence[str]) -> dict[str, Any]:
    """Parse flags in Beam's notation by name: `--a=1`, `--a 1`, `--a` (true); a repeated flag becomes a list.

    Raises:
        RunnerError: a word is no flag.

    >>> parse_flags(["--parallelism=4", "--experiments", "x", "--experiments=y", "--verbose"])
    {'parallelism': '4', 'experiments': ['x', 'y'], 'verbose': True}
    """
    parsed: dict[str, Any] = {}
    words = list(flags)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise RunnerError(f"{word!r} after -- is no Beam option; write --NAME=VALUE")
        name, sep, value = word[2:].partition("=")
        if not sep and words and not words[0].startswith("--"):
            sep, value = "=", words.pop(0)
        new: Any = value if sep else True
        if name in parsed:
            old = parsed[name]
            new = [*(old if isinstance(old, list) else [old]), new]
        parsed[name] = new
    return parsed


def to_flags(options: Mapping[str, Any]) -> list[str]:
    """Write options as flags; those that are None or false are left out.

    >>> to_flags({"a": 1, "b": True, "c": None, "d": ["x", "y"], "e": {"f": 1}})
    ['--a=1', '--b', '--d=x', '--d=y', '--e={"f": 1}']
    """
    return [flag for name, value in options.items() for flag in _of(name, value)]


def refuse_secrets(options: Mapping[str, Any]) -> None:
    """Refuse secrets among the options: Beam shows options in logs and consoles, and stores them with the job.

    Raises:
        RunnerError: an option is named like a secret, or holds the key for the model.
        CredentialsError: the key is in a file that cannot be read.
    """
    if not options:
        return
    from bulkinfer.transforms.endpoints.clarifai.client import Credentials  # noqa: PLC0415  (gRPC takes a moment)

    credentials = Credentials.from_environment()
    for name, value in options.items():
        text = str(value)
        if credentials.mask(text) != text or _CLARIFAI.search(f"{name} {text}"):
            raise RunnerError(
                f"the Beam option {name} holds your key, and Beam shows its options in logs and consoles; "
                "give the key to the workers in their own environment, as CLARIFAI_PAT or CLARIFAI_PAT_FILE"
            )
        if _SECRET_NAME.search(name):
            raise RunnerError(
                f"the Beam option {name} holds a secret, and Beam shows its options in logs and consoles; "
                "give it to the workers in their own environment"
            )


def refuse_misspelt(options: Mapping[str, Any], *, all_known: bool) -> None:
    """Refuse misspelt options, which Beam would drop with a warning.

    Args:
        all_known: refuse every option that Beam's Python does not know; else only near misses of known ones, because a
            Java runner has options of its own.

    Raises:
        RunnerError: an option is unknown.
    """
    from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415  (1.8 s)

    known = PipelineOptions(to_flags(options)).get_all_options(retain_unknown_options=False)
    for name in options:
        plain = name.replace("-", "_")
        if plain in known:
            continue
        near = difflib.get_close_matches(plain, known, n=1, cutoff=0.9)
        if near or all_known:
            fix = (
                f"write {near[0]}"
                if near
                else "remove it, or look its name up in Beam's list of pipeline options"
            )
            raise RunnerError(f"runner.options.{name} is no option of Beam's that this runner knows; {fix}")


def _of(name: str, value: Any) -> list[str]:
    if value is False and name in _SAID_BY_NO:
        return [f"--no_{name}"]
    if value is None or value is False:
        return []
    if value is True:
        return [f"--{name}"]
    if isinstance(value, (list, tuple)):
        return [flag for one in value for flag in _of(name, one)]
    if isinstance(value, Mapping):
        return [f"--{name}={json.dumps(value)}"]
    return [f"--{name}={value}"]
