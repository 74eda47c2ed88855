"""The schemas are a contract: they change only together with their golden file and their version."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pytest
from bulkinfer.transforms.errors import ConfigError
from bulkinfer.transforms.rows.footers import footer_metadata, huggingface_features
from bulkinfer.transforms.rows.schemas import (
    SCHEMA_VERSION,
    errors_schema,
    masks_schema,
    parquet_options,
    predictions_schema,
)
from bulkinfer.transforms.runs.parts import OutputSpec
from support.paths import TESTS

GOLDEN = TESTS / "golden"
SCHEMAS = {"predictions": predictions_schema(), "masks": masks_schema(), "errors": errors_schema()}


@pytest.mark.parametrize("table", list(SCHEMAS))
def test_the_schema_is_the_golden_one(table: str) -> None:
    lines = [f"{field.name}: {field.type}{'' if field.nullable else ' !'}" for field in SCHEMAS[table]]
    path = GOLDEN / f"{table}_v{SCHEMA_VERSION}.txt"
    if os.environ.get("BULKINFER_WRITE_GOLDEN"):
        path.write_text("\n".join(lines) + "\n")

    assert lines == path.read_text().splitlines()


def test_an_output_knows_the_version_of_its_schema() -> None:
    assert OutputSpec("memory://out", "r1").layout()["schema_version"] == SCHEMA_VERSION


def test_kept_columns_follow_the_columns_of_the_schema() -> None:
    schema = predictions_schema(pa.schema([pa.field("city", pa.string(), nullable=False)]))

    assert schema.names == [*predictions_schema().names, "city"]
    assert schema.field("city").nullable


def test_a_kept_column_with_the_name_of_a_column_is_refused() -> None:
    message = (
        "source.columns.keep names 'label', which is a column of the predictions table itself; "
        "keep it under another name, as in keep: {my_label: label}"
    )
    with pytest.raises(ConfigError) as caught:
        predictions_schema(pa.schema([("label", pa.string())]))
    assert str(caught.value) == message


def test_a_partition_key_is_no_column() -> None:
    keep = pa.schema([("city", pa.string()), ("day", pa.date32())])

    assert "city" not in predictions_schema(keep, without=["city"]).names
    assert "day" in predictions_schema(keep, without=["city"]).names


@pytest.mark.parametrize("table", list(SCHEMAS))
def test_the_features_are_those_that_datasets_infers_with_pictures_in_place_of_bytes(table: str) -> None:
    datasets = pytest.importorskip("datasets")

    features = datasets.Features.from_dict(huggingface_features(SCHEMAS[table]))

    assert features.arrow_schema.names == SCHEMAS[table].names
    assert [field.type for field in features.arrow_schema] == [field.type for field in SCHEMAS[table]]


def test_the_footer_says_where_a_file_comes_from() -> None:
    metadata = footer_metadata(
        masks_schema(), run_id="r1", model_url="https://m", model_version="v", job_fingerprint="f"
    )

    assert {key.decode(): value.decode() for key, value in metadata.items() if key != b"huggingface"} == {
        "bulkinfer.schema_version": "3",
        "bulkinfer.tool_version": metadata[b"bulkinfer.tool_version"].decode(),
        "bulkinfer.run_id": "r1",
        "bulkinfer.model_url": "https://m",
        "bulkinfer.model_version": "v",
        "bulkinfer.job_fingerprint": "f",
    }
    assert json.loads(metadata[b"huggingface"])["info"]["features"]["mask"] == {"_type": "Image"}


def test_a_type_without_a_feature_leaves_the_types_to_datasets() -> None:
    schema = pa.schema([("tags", pa.map_(pa.string(), pa.string()))])

    assert b"huggingface" not in footer_metadata(schema, run_id="r1")
    with pytest.raises(TypeError, match="no Hugging Face feature for map<string, string>"):
        huggingface_features(schema)


def test_parquet_options_name_only_columns_that_the_table_has() -> None:
    options = parquet_options(errors_schema(), sorted_by_input=True)

    assert "label" not in options["use_dictionary"]
    assert {"input_id", "stage"} <= set(options["use_dictionary"])
    assert [column.column_index for column in options["sorting_columns"]] == [0]
