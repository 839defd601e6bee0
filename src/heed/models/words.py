"""A reward that is linear in the words of a completion: what a network is short of when comparisons are few.

The words are known from the first comparison on, while a network has to learn them; their errors differ, and the mean of
both is right more often than either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heed.errors import ModelError

FILE = "words.json"

# Letters and digits in a row. Scripts written without spaces would make one word of a clause: there, each sign is one.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = rf"(?u)[{_UNSPACED}]|[^\W{_UNSPACED}]+"
"""One word, as a regular expression."""
_LARGEST_VOCABULARY = 50_000
_FEWEST_TEXTS = 2  # a word of one text alone says which text it is
_FOLDS = 20
_STRENGTHS = 12
# From the weakest penalty that leaves no word, down to this share of it.
_WEAKEST = 0.02


@dataclass(frozen=True)
class WordScorer:
    """Scores texts by their words: 1 + log of how often each occurs, over the length of that vector, times its weight.

    Attributes:
        vocabulary: the words, in lower case.
        weights: [W], one a word; most are 0.
    """

    vocabulary: tuple[str, ...]
    weights: NDArray[np.float64]

    @classmethod
    def fit(
        cls, first: Sequence[str], second: Sequence[str], lead: Sequence[float], groups: Sequence[str]
    ) -> WordScorer:
        """Learn the weights from comparisons, as a regression of how far the first text led on the words' differences.

        Most words say nothing of what is wanted, so the weights are sparse: the lasso of Tibshirani 1996, "Regression
        Shrinkage and Selection via the Lasso", JRSS B 58, section 2; its penalty is chosen by cross-validation.

        Args:
            first, second: [N] texts that were compared.
            lead: [N], how far the first was preferred: a strength, negative where the second was, 0 at a tie.
            groups: [N], of the same name where comparisons belong together (a prompt): never on both sides of a split.
        """
        from sklearn.linear_model import LassoCV
        from sklearn.model_selection import GroupKFold

        leads = np.asarray(lead, dtype=np.float64)
        folds = min(_FOLDS, len(set(groups)))
        texts = [*first, *second]
        vectorizer = _vectorizer(max_features=_LARGEST_VOCABULARY, min_df=_FEWEST_TEXTS)
        try:
            vectorizer.fit(texts)
        except ValueError:  # no word is in two texts
            return cls((), np.zeros(0))
        vocabulary = tuple(vectorizer.get_feature_names_out())
        nothing = cls(vocabulary, np.zeros(len(vocabulary)))
        difference = (vectorizer.transform(first) - vectorizer.transform(second)).tocsc()
        strongest = float(np.abs(difference.T @ leads).max()) / len(leads)
        if folds < 2 or not strongest > 0:
            return nothing
        splits = list(GroupKFold(folds).split(difference, leads, np.asarray(groups, dtype=object)))
        strengths = np.geomspace(strongest, strongest * _WEAKEST, _STRENGTHS)
        lasso = LassoCV(fit_intercept=False, cv=splits, alphas=strengths, max_iter=5_000, tol=1e-3)
        return cls(vocabulary, lasso.fit(difference, leads).coef_.astype(np.float64))

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Scores [N] of texts; a text without a known word scores 0."""
        if not self.vocabulary or not texts:
            return np.zeros(len(texts))
        return np.asarray(self._vectorizer.transform(texts) @ self.weights)

    @cached_property
    def _vectorizer(self) -> Any:
        return _vectorizer(vocabulary=self.vocabulary).fit([""])  # the words are given; nothing is learned

    def telling(self, count: int) -> list[tuple[str, float]]:
        """The words of the largest weights, at most ``count``, those that raise the score first."""
        order = np.argsort(-np.abs(self.weights))[:count]
        chosen = [(self.vocabulary[i], float(self.weights[i])) for i in order if self.weights[i]]
        return sorted(chosen, key=lambda word: -word[1])

    def save(self, folder: Path) -> None:
        """Write ``words.json``."""
        content = {"vocabulary": self.vocabulary, "weights": self.weights.tolist()}
        (folder / FILE).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> WordScorer:
        """Read what ``save`` wrote.

        Raises:
            ModelError: it cannot be read.
        """
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            scorer = cls(tuple(content["vocabulary"]), np.array(content["weights"], dtype=np.float64))
            if len(scorer.vocabulary) != len(scorer.weights):
                raise ValueError(f"{len(scorer.vocabulary)} words, {len(scorer.weights)} weights")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ModelError(
                f"{folder} is no reward model",
                f"{FILE} cannot be read ({error}).",
                "Make one with 'heed train reward'.",
            ) from None
        return scorer


def _vectorizer(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, use_idf=False, token_pattern=WORD, **settings)
