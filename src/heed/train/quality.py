"""A classifier of texts, good or not, from what people said of single texts: logistic regression on words and style.

As a filter of what a language model learns from: Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix A) chose
web pages by logistic regression on the words of texts. Here the labels are what raters said, and no text is judged by a
classifier that has seen what was said of it, or of another text of its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heed.errors import DataError
from heed.models.text_features import TfIdf, surface

FOLDS = 5
_STRENGTHS = (0.1, 1.0, 10.0)
"""Inverse strengths of the ridge penalty that are tried."""
_FEWEST = 10
"""Of good and of bad texts, by the sum of their labels."""

Array = NDArray[np.float64]


class Labelled(NamedTuple):
    """Texts with labels.

    Attributes:
        texts: N.
        good: [N], how good each was called, 0 to 1; a label in between counts as a share of both.
        weight: [N], how much the label tells.
        fold: [N], the part of the prompts, 0 to ``FOLDS`` - 1, that each text's prompt belongs to.
    """

    texts: Sequence[str]
    good: Array
    weight: Array
    fold: NDArray[np.intp]


class Judged(NamedTuple):
    """What out-of-fold classifiers make of texts.

    Attributes:
        chances: [M], of each text to judge, that it would be called good.
        of_labelled: [N], of each labelled text.
        strength: of the penalty, which predicted the labels best.
    """

    chances: Array
    of_labelled: Array
    strength: float


def out_of_fold(labelled: Labelled, texts: Sequence[str], fold: NDArray[np.intp]) -> Judged:
    """How likely each of ``texts`` would be called good, by a classifier that has seen no label of its part of the prompts.

    Args:
        fold: [M], the part of the prompts of each of ``texts``.

    Raises:
        DataError: too few labels, or labels of one sort alone.
    """
    _check(labelled)
    found = [_Fold.of(labelled, texts, part, fold == part) for part in range(FOLDS)]
    losses = [sum(one.loss(strength) for one in found) for strength in _STRENGTHS]
    best = _STRENGTHS[int(np.argmin(losses))]
    chances, of_labelled = np.zeros(len(texts)), np.zeros(len(labelled.texts))
    for part, one in enumerate(found):
        of_labelled[labelled.fold == part], chances[fold == part] = one.chances(best)
    return Judged(chances, of_labelled, best)


class _Fold:
    """A part of the prompts, and a classifier that has learned from the others."""

    def __init__(self, seen: Any, labelled: Labelled, held: Any, good: Array, weight: Array, texts: Any) -> None:
        self.seen, self.labelled = seen, labelled
        self.held, self.good, self.weight, self.texts = held, good, weight, texts

    @classmethod
    def of(cls, labelled: Labelled, texts: Sequence[str], part: int, own: NDArray[np.bool_]) -> _Fold:
        out = labelled.fold == part
        some = [text for text, away in zip(labelled.texts, out, strict=True) if not away]
        kept = Labelled(some, labelled.good[~out], labelled.weight[~out], labelled.fold[~out])
        features = _Features.fit(some)
        held = features.of([text for text, away in zip(labelled.texts, out, strict=True) if away])
        mine = features.of([text for text, is_own in zip(texts, own, strict=True) if is_own])
        return cls(features.of(some), kept, held, labelled.good[out], labelled.weight[out], mine)

    def chances(self, strength: float) -> tuple[Array, Array]:
        """Of the labelled texts of its part, and of those to judge."""
        model = self._fitted(strength)
        held, mine = (
            model.predict_proba(rows)[:, 1] if rows.shape[0] else np.zeros(0) for rows in (self.held, self.texts)
        )
        return held, mine

    def loss(self, strength: float) -> float:
        chance = np.clip(self.chances(strength)[0], 1e-6, 1 - 1e-6)
        return float(-(self.weight * (self.good * np.log(chance) + (1 - self.good) * np.log(1 - chance))).sum())

    def _fitted(self, strength: float) -> Any:
        from scipy.sparse import vstack
        from sklearn.linear_model import LogisticRegression

        rows = self.labelled
        # Each text stands for a good one and a bad one, by the shares that its label gives them.
        weights = np.concatenate([rows.weight * rows.good, rows.weight * (1 - rows.good)])
        said = np.repeat([1, 0], len(rows.texts))
        used = weights > 0
        model: Any = LogisticRegression(C=strength, max_iter=500)
        return model.fit(vstack([self.seen, self.seen]).tocsr()[used], said[used], sample_weight=weights[used])


class _Features(NamedTuple):
    """Words and characters of texts, and their length and style in standard deviations."""

    words: TfIdf
    characters: TfIdf
    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, texts: Sequence[str]) -> _Features:
        plain = _plain(texts)
        deviation = plain.std(0)
        return cls(
            TfIdf.fit("words", texts),
            TfIdf.fit("characters", texts),
            plain.mean(0),
            np.where(deviation > 0, deviation, 1.0),
        )

    def of(self, texts: Sequence[str]) -> Any:
        from scipy.sparse import csr_matrix, hstack

        plain = csr_matrix((_plain(texts) - self.mean) / self.deviation)
        return hstack([self.words.transform(texts), self.characters.transform(texts), plain]).tocsr()


def _plain(texts: Sequence[str]) -> Array:
    return np.hstack([surface("length", texts), surface("style", texts)])


def _check(labelled: Labelled) -> None:
    parts = [
        (
            float((labelled.weight * labelled.good)[side].sum()),
            float((labelled.weight * (1 - labelled.good))[side].sum()),
        )
        for side in (slice(None), *(labelled.fold != part for part in range(FOLDS)))
    ]
    good, bad = parts[0]
    if min(good, bad) < _FEWEST or min(min(part) for part in parts) <= 0:
        raise DataError(
            f"labels for {good:.0f} good and {bad:.0f} bad texts",
            f"a classifier of quality takes at least {_FEWEST} of each, of prompts enough to set a fifth of them aside.",
            "Give ratings, thumbs or critiques of more texts, good and bad ones; or set sft.quality to off.",
        )
