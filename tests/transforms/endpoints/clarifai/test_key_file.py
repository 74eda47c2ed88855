"""The key in a mounted file."""

from __future__ import annotations

from pathlib import Path

import pytest
from bulkinfer.transforms.endpoints.clarifai.client import Credentials
from bulkinfer.transforms.errors import CredentialsError


def test_the_key_is_read_from_the_file_that_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "pat").write_text("key-from-file\n")
    found = Credentials.from_environment({"CLARIFAI_PAT_FILE": str(tmp_path / "pat")})
    assert found.metadata() == (("authorization", "Key key-from-file"),)
    assert "key-from-file" not in repr(found)


def test_a_key_in_the_environment_itself_comes_first(tmp_path: Path) -> None:
    environment = {"CLARIFAI_PAT": "near", "CLARIFAI_PAT_FILE": str(tmp_path / "missing")}
    assert Credentials.from_environment(environment).pat == "near"


def test_a_file_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(CredentialsError, match=r"_FILE: .*missing cannot be read .*write the key into it"):
        Credentials.from_environment({"CLARIFAI_PAT_FILE": str(missing)})
    with pytest.raises(CredentialsError, match=r"CLARIFAI_PAT_FILE: .*empty is empty; write the key into it"):
        Credentials.from_environment({"CLARIFAI_PAT_FILE": str(empty)})
