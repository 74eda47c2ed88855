"""Embeddings as OpenAI's own client sees them, and as plain HTTP does."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from openai import OpenAI
from support.paths import PHOTOS

TEXTS = ["A cat sleeps on the mat.", "A black cat on a mat", "Shares fell in New York"]


def _vectors(answer: Any) -> np.ndarray[Any, Any]:
    return np.array([one.embedding for one in answer.data])


def test_a_vector_an_input_near_for_texts_that_share_words(client: OpenAI) -> None:
    found = client.embeddings.create(model="embed_text", input=TEXTS)
    one = client.embeddings.create(model="embed_text", input=TEXTS[0])

    vectors = _vectors(found)
    assert vectors.shape == (3, 512)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] > 3 * vectors[0] @ vectors[2]
    assert [each.index for each in found.data] == [0, 1, 2]
    assert np.array_equal(_vectors(one)[0], vectors[0])
    assert (one.usage.prompt_tokens, found.usage.total_tokens) == (7, 18)


def test_the_number_of_dimensions_is_as_asked(client: OpenAI) -> None:
    vectors = _vectors(client.embeddings.create(model="embed_text", input=["a", *TEXTS], dimensions=8))

    assert vectors.shape == (4, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1, 1], abs=1e-5)


def test_both_encodings_hold_the_same_numbers(http: httpx.Client) -> None:
    asked = {"model": "embed_text", "input": TEXTS}
    numbers = http.post("embeddings", json={**asked, "encoding_format": "float"}).json()
    packed = http.post("embeddings", json={**asked, "encoding_format": "base64"}).json()

    unpacked = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in packed["data"]]
    assert np.array_equal(unpacked, np.array([one["embedding"] for one in numbers["data"]], np.float32))
    assert http.post("embeddings", json=asked).json() == numbers


def test_as_many_inputs_as_the_api_takes(client: OpenAI) -> None:
    found = client.embeddings.create(model="embed_text", input=[f"text {i}" for i in range(2048)])

    assert [one.index for one in found.data] == list(range(2048))
    assert not np.array_equal(found.data[0].embedding, found.data[2047].embedding)


def test_pictures_have_vectors_too(client: OpenAI) -> None:
    urls = []
    for name in ("dogs.jpg", "dune.jpg"):
        urls.append("data:image/jpeg;base64," + base64.b64encode((PHOTOS / name).read_bytes()).decode())
    vectors = _vectors(client.embeddings.create(model="embed_image", input=[*urls, urls[0]]))

    assert vectors.shape == (3, 1092)
    assert np.array_equal(vectors[0], vectors[2])
    assert vectors[0] @ vectors[1] < 0.95
