"""Builds the footer metadata of Parquet files: what wrote them, and their types for Hugging Face `datasets`."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from .types import IMAGE, SCHEMA_VERSION

__all__ = ["footer_metadata", "huggingface_features", "refitted"]


def footer_metadata(
    schema: Any,
    *,
    run_id: str,
    model_url: str | None = None,
    model_version: str | None = None,
    job_fingerprint: str | None = None,
) -> dict[bytes, bytes]:
    """The key-value metadata of a file with this schema, for `Schema.with_metadata`.

    Args:
        schema: of the file, kept columns included and partition keys left out.
        run_id: the run that wrote it.
        model_url: the model that was called.
        model_version: the version that answered.
        job_fingerprint: what decides whether an input is done; holds no secrets.
    """
    values: Mapping[str, str | None] = {
        "bulkinfer.schema_version": str(SCHEMA_VERSION),
        "bulkinfer.tool_version": _tool_version(),
        "bulkinfer.run_id": run_id,
        "bulkinfer.model_url": model_url,
        "bulkinfer.model_version": model_version,
        "bulkinfer.job_fingerprint": job_fingerprint,
        "huggingface": _huggingface(schema),
    }
    return {key.encode(): value.encode() for key, value in values.items() if value is not None}


def refitted(schema: Any) -> Any:
    """A schema whose columns changed since its footer was made: with the types that `datasets` reads of it now."""
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key != b"huggingface"}
    features = _huggingface(schema)
    return schema.with_metadata(
        metadata if features is None else {**metadata, b"huggingface": features.encode()}
    )


def _tool_version() -> str:
    try:
        return importlib.metadata.version("bulkinfer")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _huggingface(schema: Any) -> str | None:
    try:
        return json.dumps({"info": {"features": huggingface_features(schema)}})
    except TypeError:  # a kept column has a type unknown to `datasets`, which then reads the Arrow types
        return None


def huggingface_features(schema: Any) -> dict[str, Any]:
    """The features of a schema as `datasets` writes them, built without importing it.

    Structs of bytes and path become pictures; all other types keep their Arrow meaning.

    Raises:
        TypeError: a column's type has no feature.
    """
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: Any) -> Any:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        # A bare list reads as a list of structs in every version; "Sequence" would turn it into a struct of
        # lists.
        return [_feature(kind.value_type)]
    return {"dtype": _dtype(kind), "_type": "Value"}


def _dtype(kind: Any) -> str:
    plain = {pa.bool_(): "bool", pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}
    if kind in plain:
        return plain[kind]
    if pa.types.is_dictionary(kind):
        return _dtype(kind.value_type)
    if (
        pa.types.is_integer(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_date(kind)
        or pa.types.is_null(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_decimal(kind)
    ):
        return str(kind)
    raise TypeError(f"no Hugging Face feature for {kind}")
