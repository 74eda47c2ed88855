"""Nothing that a file's name or a server says is a command of the terminal."""

from __future__ import annotations

from pathlib import Path

from support.jobs import run_cli, write_job


def test_a_name_with_a_terminals_commands_is_written_out_in_a_message(tmp_path: Path) -> None:
    name = "missing\x1b[31m\x07\u202e.csv"
    job = write_job(
        tmp_path,
        source={"manifest": name, "media": "text", "columns": {"content": "text", "id": "id"}},
        model={"kind": "python", "callable": "json:dumps"},
    )
    ran = run_cli("plan", job, cwd=tmp_path)

    assert ran.code == 2
    assert "missing\\x1b[31m\\x07\\u202e.csv" in ran.err
    assert len(ran.err.splitlines()) == 1
