"""Workers of other versions are found before anything is sent."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
from bulkinfer.transforms.errors import RunnerError
from bulkinfer.transforms.runs.versions import Versions


@pytest.mark.parametrize(
    ("field", "other", "message"),
    [
        (
            "bulkinfer",
            "0.0.1",
            r"the worker on h has bulkinfer 0\.0\.1 and this launcher .*; install bulkinfer",
        ),
        ("apache_beam", "2.50.0", r"the worker on h has apache-beam 2\.50\.0 and this launcher"),
        ("python", "3.8", r"the worker on h has python 3\.8 and this launcher 3\.\d+"),
    ],
)
def test_a_difference_is_named_with_the_fix(field: str, other: str, message: str) -> None:
    worker = dataclasses.replace(Versions.here(), **{field: other})
    with pytest.raises(RunnerError, match=message):
        Versions.here().check(worker, "h")


def test_versions_travel_with_the_job() -> None:
    assert pickle.loads(pickle.dumps(Versions.here())) == Versions.here()
