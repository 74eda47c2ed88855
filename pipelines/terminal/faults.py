"""Tells any fault of a command in one line, with the exit code that belongs to it."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import click
from bulkinfer.transforms.errors import BulkinferError, JobError, StoppedError
from bulkinfer.transforms.storage.references import hide_secrets

from .printable import printable

__all__ = ["faults_told"]


@contextlib.contextmanager
def faults_told() -> Iterator[None]:
    """Turn any fault into one message on stderr and the documented exit code; with -v its traceback follows."""
    try:
        yield
    except click.ClickException:
        raise
    except JobError as error:
        # Exit code 2 says that nothing was sent.
        _fail(error, str(error), 1 if error.inputs_sent else 2)
    except StoppedError as error:
        _fail(error, f"stopped early: {error}", 4)
    except BulkinferError as error:
        _fail(error, str(error), 1)
    except KeyboardInterrupt as error:
        _fail(error, "interrupted", 4)
    except Exception as error:  # noqa: BLE001  (whatever is left is our own fault, and still one line)
        # Late, because only a fault of our own needs it.
        from bulkinfer.transforms.storage.faults import redact  # noqa: PLC0415

        what = redact(" ".join(str(error).split()), {})[:500]
        _fail(
            error,
            f"a fault of bulkinfer itself: {type(error).__name__}: {what}; what was durable is kept: run the same "
            "command again, with -v for the traceback, and report it",
            1,
        )


def _fail(error: BaseException, message: str, exit_code: int) -> NoReturn:
    message = hide_secrets(message)
    parameters = click.get_current_context().params
    if parameters.get("as_json"):
        click.echo(json.dumps({"error": message, "exit_code": exit_code}))
    # Names of files and answers of servers stand in it, and a terminal must not take them for commands.
    click.echo(f"bulkinfer: {printable(message, len(message))}", err=True)
    if parameters.get("verbose"):
        # Drivers repeat references whole in errors of their own.
        click.echo(hide_secrets("".join(traceback.format_exception(error))), err=True, nl=False)
    sys.exit(exit_code)
