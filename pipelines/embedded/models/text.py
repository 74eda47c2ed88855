"""The text methods: language identification, extractive summaries, keywords and readability."""

from __future__ import annotations

import collections
import functools
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..types import Concept
from .languages import LANGUAGES

__all__ = [
    "TextMeasures",
    "classify",
    "classify_lines",
    "embed_text",
    "keywords",
    "measure_text",
    "summarize",
]

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"'\u2019\u201d)\]]*\s+|\n\s*\n")
_CODE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)  # fenced code of a Markdown text
#: Words that say nothing about a text's subject. Short words are dropped by length in any language.
_COMMON_TEXT = """
    about after again also another because been before being between both could does doing down during
    each even every from have having here hers into itself just like made make many more most much must
    only other over same shall should since some such than that their them then there these they this
    those through under until upon very were what when where which while will with within without would
    your
"""
_COMMON = frozenset(_COMMON_TEXT.split())
_HASH_STEP = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose bits look random


class TextMeasures(NamedTuple):
    """What can be counted in a text."""

    characters: int
    words: int
    sentences: int
    distinct_words: int
    words_per_sentence: float
    reading_minutes: float


def classify(text: str) -> list[Concept]:
    """Identify the language of a text: the five most likely ones, each with its probability."""
    if not text.strip():
        raise ValueError("the text is empty; there is no language to tell")
    ranked: list[tuple[str, float]] = _identifier().rank(text)[:5]
    return [Concept(LANGUAGES.get(code, code), float(p), code) for code, p in ranked]


def classify_lines(lines: Iterator[str]) -> Iterator[list[Concept]]:
    """Identify the language of each line as it comes in: one answer a line, as of `classify`."""
    for line in lines:
        yield classify(line) if line.strip() else []


def summarize(text: str, sentences: int = 3) -> Iterator[str]:
    """Summarize a text by its most central sentences, in their order; the pieces join to a text.

    A sentence is central when it shares its weighty words with many others (LexRank: Erkan and Radev, 2004).
    """
    if sentences < 1:
        raise ValueError(f"sentences={sentences} asks for no text; ask for 1 or more")
    found = _sentences(text)
    if not found:
        raise ValueError("the text is empty; there is nothing to summarize")
    chosen = sorted(np.argsort(-_centrality(found), kind="stable")[:sentences].tolist())
    for place, index in enumerate(chosen):
        yield found[index] + (" " if place + 1 < len(chosen) else "")


def embed_text(text: str, dimensions: int = 512) -> np.ndarray:
    """A vector of length 1 that is near for texts that share words and parts of words.

    It counts the text's runs of 3 to 5 bytes at places told by their hashes (feature hashing: Weinberger et al., 2009).
    """
    if not 1 <= dimensions <= 4096:
        raise ValueError(f"dimensions={dimensions} is not from 1 to 4096")
    content = f"  {' '.join(text.casefold().split())}  ".encode()
    codes = np.frombuffer(content, np.uint8).astype(np.uint64)
    vector = np.zeros(dimensions)
    for length in (3, 4, 5):
        hashes: NDArray[Any] = np.zeros(len(codes) - length + 1, np.uint64)
        for offset in range(length):
            hashes = hashes * _HASH_STEP + codes[offset : len(codes) - length + 1 + offset]
        hashes = (hashes ^ (hashes >> np.uint64(32))) * _HASH_STEP
        signs = np.where(hashes >> np.uint64(63), -1.0, 1.0)
        places = ((hashes >> np.uint64(20)) % np.uint64(dimensions)).astype(np.int64)
        vector += np.bincount(places, signs, dimensions)
    vector = np.sign(vector) * np.sqrt(np.abs(vector))
    norm = float(np.linalg.norm(vector))
    if norm == 0:  # all counts have cancelled out
        vector[0] = norm = 1.0
    return np.asarray(vector / norm, np.float32)


def keywords(text: str, limit: int = 10) -> list[str]:
    """The words that a text is most about: often used, and used together with many other words."""
    partners: dict[str, set[str]] = collections.defaultdict(set)
    counts: collections.Counter[str] = collections.Counter()
    for sentence in _sentences(text):
        words = _weighty(sentence)
        counts.update(words)
        for word in words:
            partners[word].update(words)
    return sorted(counts, key=lambda word: (-counts[word] * math.log1p(len(partners[word])), word))[:limit]


def measure_text(text: str) -> TextMeasures:
    """Count a text's characters, words and sentences, and the minutes it takes to read (238 words each)."""
    words, sentences = _WORD.findall(text), _sentences(text)
    return TextMeasures(
        characters=len(text),
        words=len(words),
        sentences=len(sentences),
        distinct_words=len({word.casefold() for word in words}),
        words_per_sentence=len(words) / max(len(sentences), 1),
        reading_minutes=len(words) / 238,
    )


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 (loads a model: only when called)

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _sentences(text: str) -> list[str]:
    prose = _CODE.sub("\n\n", text)
    return [" ".join(piece.split()) for piece in _SENTENCE_END.split(prose) if piece and piece.strip()]


def _weighty(sentence: str) -> list[str]:
    words = (word.casefold() for word in _WORD.findall(sentence))
    return [word for word in words if len(word) > 3 and word not in _COMMON]


def _centrality(sentences: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Each sentence's share of a random walk over sentences that are alike."""
    bags = [collections.Counter(_weighty(sentence)) for sentence in sentences]
    seen_in = collections.Counter(word for bag in bags for word in bag)
    column = {word: i for i, word in enumerate(seen_in)}
    weights = np.zeros((len(bags), max(len(column), 1)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            weights[row, column[word]] = count * math.log(1 + len(bags) / seen_in[word])
    length = np.linalg.norm(weights, axis=1, keepdims=True)
    weights /= np.where(length == 0, 1, length)
    alike = weights @ weights.T
    np.fill_diagonal(alike, 0)
    total = alike.sum(axis=1, keepdims=True)
    step = np.where(total > 0, alike / np.where(total == 0, 1, total), 1 / len(bags))
    rank = np.full(len(bags), 1 / len(bags))
    for _ in range(50):
        rank = 0.15 / len(bags) + 0.85 * rank @ step
    return rank
