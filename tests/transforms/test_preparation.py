"""What makes two jobs ask the same of a model, so that what one did is done for the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from bulkinfer.transforms.job.config import JobConfig
from bulkinfer.transforms.preparation import fingerprint


def asked(**image: Any) -> str:
    config = JobConfig.model_validate(
        {
            "source": {"files": "a.jpg", "image": image},
            "model": {"endpoint": "embedded"},
            "output": {"uri": "out"},
        }
    )
    call = SimpleNamespace(endpoint=SimpleNamespace(identity="https://m", version="v1"))
    return fingerprint(config, cast("Any", call))


def test_a_job_that_sends_other_pictures_is_another_job() -> None:
    assert asked(orientation="apply") != asked()


def test_outputs_of_jobs_that_named_no_orientation_stay_done() -> None:
    assert (
        asked() == asked(orientation="keep") == asked(max_pixels=None) == "bfd140c27e60911950d42edfa3502c25"
    )
