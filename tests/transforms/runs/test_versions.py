"""Workers of other versions are found before anything is sent."""

from __future__ import annotations

import dataclasses
import pickle

import apache_beam as beam
import pytest
from bulkinfer.transforms.errors import RunnerError
from bulkinfer.transforms.runs.versions import SameVersions, Versions
from support.collect import collect


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


def test_equal_versions_let_elements_pass_unchanged() -> None:
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        passed = collect(pipeline | beam.Create([1, 2, 3]) | SameVersions())
    assert sorted(passed.elements) == [1, 2, 3]


def test_other_versions_fail_the_job_with_our_error() -> None:
    launcher = dataclasses.replace(Versions.here(), bulkinfer="99.0")
    assert pickle.loads(pickle.dumps(launcher)) == launcher
    with pytest.raises(Exception, match=r"and this launcher 99\.0"):  # noqa: SIM117
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            pipeline | beam.Create([1]) | SameVersions(launcher)
