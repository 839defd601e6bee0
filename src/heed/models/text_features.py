"""What a linear reward can see of a text without a network: its words, its characters, its length and its style."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heed.models.words import WORD

Grams = Literal["words", "characters"]

_LARGEST_VOCABULARY = 30_000
_FEWEST_TEXTS = 2  # what one text alone has says which text it is
_ANALYZERS: dict[str, dict[str, Any]] = {
    "words": {"token_pattern": WORD, "ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
_LONG_WORD = 7
_SENTENCE_END = re.compile(r"[.!?…。！？]+(?:\s|$)|\n+")
_LINK = re.compile(r"https?://|www\.")


@dataclass(frozen=True)
class TfIdf:
    """Runs of one or two words, or of two to four characters within words, by term frequency and inverse document
    frequency: 1 + log of the count, times 1 + log((1 + texts) / (1 + texts with it)), over the length of that vector.

    Salton and Buckley 1988, "Term-Weighting Approaches in Automatic Text Retrieval", section 3.

    Attributes:
        grams: which of the two.
        vocabulary: the terms, in lower case, sorted.
        idf: [V], of each term.
    """

    grams: Grams
    vocabulary: tuple[str, ...]
    idf: NDArray[np.float64]

    @classmethod
    def fit(cls, grams: Grams, texts: Sequence[str]) -> TfIdf:
        """The terms of ``texts`` that at least two of them have, the most frequent where there are too many."""
        from sklearn.feature_extraction.text import CountVectorizer

        counter = CountVectorizer(min_df=_FEWEST_TEXTS, max_features=_LARGEST_VOCABULARY, **_ANALYZERS[grams])
        try:
            counts = counter.fit_transform(texts)
        except ValueError:  # no term is in two texts
            return cls(grams, (), np.zeros(0))
        having = np.bincount(counts.indices, minlength=counts.shape[1])
        return cls(grams, tuple(counter.get_feature_names_out()), 1 + np.log((1 + len(texts)) / (1 + having)))

    @cached_property
    def _counter(self) -> Any:
        from sklearn.feature_extraction.text import CountVectorizer

        return CountVectorizer(vocabulary=list(self.vocabulary), **_ANALYZERS[self.grams])

    def unknown(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Share [N] of each text's single words that are no term of the vocabulary; 0 where it has no word."""
        known = set(self.vocabulary)
        words = [[word.lower() for word in re.findall(WORD, text)] for text in texts]
        return np.array([sum(word not in known for word in own) / max(1, len(own)) for own in words])

    def transform(self, texts: Sequence[str]) -> Any:
        """[N, V], a sparse matrix; rows of length 1, or 0 where a text has no known term."""
        from scipy.sparse import csr_matrix, diags

        if not self.vocabulary or not texts:
            return csr_matrix((len(texts), len(self.vocabulary)))
        counts = self._counter.transform(texts).astype(np.float64)
        counts.data = 1 + np.log(counts.data)
        weighed = (counts @ diags(self.idf)).tocsr()
        lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
        return (diags(1 / np.where(lengths > 0, lengths, 1)) @ weighed).tocsr()


def _sizes(text: str) -> tuple[list[str], float, float]:
    """Words, number of words and number of sentences, both at least 1, so that shares of them exist."""
    words = re.findall(WORD, text)
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    return words, max(1.0, float(len(words))), max(1.0, float(len(sentences)))


def _length(text: str) -> list[float]:
    words, _, sentences = _sizes(text)
    log_words = float(np.log1p(len(words)))
    # With the square, what is too long can be worse again.
    return [log_words, log_words**2, float(np.log1p(len(text))), float(np.log(sentences))]


def _style(text: str) -> list[float]:
    words, count, sentences = _sizes(text)
    size, letters = max(1, len(text)), [sign for sign in text if sign.isalpha()]
    return [
        sum(map(len, words)) / count,
        sum(len(word) >= _LONG_WORD for word in words) / count,
        float(np.log(max(1, len({word.lower() for word in words})))),
        float(np.log(count / sentences)),
        text.count(",") / count,
        sum(text.count(sign) for sign in "\"“”'‘’") / count,
        text.count("?") / sentences,
        text.count("!") / sentences,
        sum(sign.isdigit() for sign in text) / size,
        sum(sign.isupper() for sign in letters) / max(1, len(letters)),
        sum(len(word) > 1 and word.isupper() for word in words) / count,
        float(np.log1p(len(_LINK.findall(text)))),
        float(np.log1p(text.count("\n"))),
        float(text[:1].islower()),
        float(text.rstrip()[-1:] in tuple(".!?…。！？\"”'’")),
    ]


SURFACE: dict[str, tuple[Callable[[str], list[float]], tuple[str, ...]]] = {
    "length": (_length, ("log words", "squared log words", "log characters", "log sentences")),
    "style": (
        _style,
        (
            "letters a word",
            "share of long words",
            "log different words",
            "log words a sentence",
            "commas a word",
            "quotation marks a word",
            "question marks a sentence",
            "exclamation marks a sentence",
            "share of digits",
            "share of capitals",
            "share of words in capitals",
            "log links",
            "log line breaks",
            "begins in lower case",
            "ends with a full stop",
        ),
    ),
}
"""Blocks of a few numbers a text: what makes them, and what each number is."""


def surface(block: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """The numbers [N, F] of a block of ``SURFACE``."""
    make, names = SURFACE[block]
    return np.array([make(text) for text in texts], dtype=np.float64).reshape(len(texts), len(names))
