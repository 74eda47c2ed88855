"""Identical content: one input stands for all with the same bytes and arguments."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
from apache_beam.testing.util import assert_that, equal_to
from bulkinfer.transforms.content.load_content import LoadContent
from bulkinfer.transforms.job.config import SourceConfig
from bulkinfer.transforms.records import Reference
from bulkinfer.transforms.sources.duplicates.deduplicate import merge
from bulkinfer.transforms.sources.read_references import ReadReferences
from bulkinfer.transforms.sources.source import inspect_source
from hypothesis import given
from hypothesis import strategies as st


@given(st.sets(st.text(max_size=3), min_size=1, max_size=30), st.integers(1, 9))
def test_merging_keeps_every_input_once(ids: set[str], most: int) -> None:
    merged = list(merge([Reference(name, name, "text") for name in ids], most))
    assert sorted(one.input_id for first in merged for one in (first, *first.aliases)) == sorted(ids)
    assert all(len(first.aliases) <= most for first in merged)
    assert merged[0].input_id == min(ids)


def test_inputs_with_the_same_bytes_and_arguments_are_loaded_once(tmp_path: Path) -> None:
    texts = {"a": "same", "b": "same", "c": "other", "d": "same", "e": "same"}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    rows = [
        ("a", "p", "Bern"),
        ("b", "p", "Rome"),
        ("c", "p", ""),
        ("d", "q", ""),
        ("e", "p", ""),
        ("gone", "p", ""),
    ]
    (tmp_path / "refs.csv").write_text(
        "uri,prompt,city\n" + "".join(f"{name}.txt,{prompt},{city}\n" for name, prompt, city in rows)
    )
    source = SourceConfig(
        manifest=f"{tmp_path}/refs.csv", columns={"uri": "uri", "keep": ("city",)}, deduplicate="content"
    )
    spec = inspect_source(source, ["prompt"])

    def told(content: object) -> tuple[str, list[tuple[str, str]]]:
        reference = content.reference  # type: ignore[attr-defined]
        assert all(alias.version for alias in reference.aliases)
        return reference.input_id, [(alias.input_id, alias.columns["city"]) for alias in reference.aliases]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        loaded = (pipeline | ReadReferences(spec)).references | LoadContent()
        assert_that(
            loaded.contents | beam.Map(told),
            equal_to([("a.txt", [("b.txt", "Rome"), ("e.txt", "")]), ("c.txt", []), ("d.txt", [])]),
        )
        failed = loaded.failures | "Types" >> beam.Map(lambda failure: failure.error_type)
        assert_that(failed, equal_to(["missing"]), label="failures")
