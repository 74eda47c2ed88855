"""A terminal of 80 columns: no message is erased by the bar, and none lands in it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time

import pytest
from bulkinfer.pipelines.terminal.console import say
from bulkinfer.pipelines.terminal.logs import configure_logging
from bulkinfer.pipelines.terminal.progress import ProgressSnapshot, show_progress

WIDTH = 80
_TOKEN = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[\?\d+[hl]|(\r)|(\n)|([^\x1b\r\n])")


def screen(written: str) -> list[str]:
    """Draw what was written as a terminal of 80 columns does; of colours nothing is kept."""
    lines, row, column = [""], 0, 0
    for token in _TOKEN.finditer(written):
        number, command, back, down, letter = token.groups()
        if command == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
        elif command == "A":
            row = max(0, row - int(number or 1))
        elif back:
            column = 0
        elif down or letter:
            if down or column == WIDTH:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            if letter:
                lines[row] = lines[row].ljust(column)[:column] + letter + lines[row][column + 1 :]
                column += 1
    return [line.rstrip() for line in lines]


@contextlib.contextmanager
def terminal(monkeypatch):
    """Make stderr a terminal of 80 columns until the block ends; what it shows then is added to the list."""
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    read: list[bytes] = []
    shown: list[str] = []

    def keep():
        with contextlib.suppress(OSError):  # once the writer is closed
            while data := os.read(reader, 65536):
                read.append(data)

    thread = threading.Thread(target=keep)
    thread.start()
    with monkeypatch.context() as patch, os.fdopen(writer, "w") as stderr:
        patch.setenv("COLUMNS", str(WIDTH))
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stderr", stderr)
        configure_logging(0)
        yield shown
    thread.join(5)
    os.close(reader)
    shown += screen(b"".join(read).decode())


def test_messages_and_log_lines_stand_whole_above_the_bar(monkeypatch):
    messages = [
        f"message {n} " + "is longer than the terminal is wide, and wraps " * 3 + "END" for n in range(6)
    ]
    with (
        terminal(monkeypatch) as shown,
        show_progress(lambda: ProgressSnapshot(3, in_flight=16), lambda: 10, "what runs"),
    ):
        time.sleep(0.4)
        for number, message in enumerate(messages):
            say(message) if number % 2 else logging.getLogger("store").warning(message)
            time.sleep(0.13)  # the bar is drawn in between

    lines = "\n".join(line.ljust(WIDTH) for line in shown)
    text = "".join(line.ljust(WIDTH) for line in shown)
    for message in messages:
        assert text.count(message) == 1, lines
    assert "inputs/s" not in text  # the bar leaves when the job ends
    assert "what runs" not in text


def test_a_log_without_a_terminal_begins_with_what_runs(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)

    with show_progress(ProgressSnapshot, lambda: None, "bulkinfer: predict of M at E: photos -> out"):
        say("bulkinfer: SIGTERM")

    assert log.getvalue() == "bulkinfer: predict of M at E: photos -> out\nbulkinfer: SIGTERM\n"
