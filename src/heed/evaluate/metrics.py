"""Measures of texts (diversity, length), of scores against judgments (accuracy, calibration) and of KL.

What cannot be computed is an ``Undefined`` with its reason, never a NaN.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.optimize import minimize_scalar

from heed.errors import DataError
from heed.statistics import (
    Array,
    Interval,
    Record,
    Undefined,
    finite_vector,
    mean_interval,
    prompt_codes,
    proportion_interval,
    wilson_interval,
)

Text = str | Sequence[Hashable]

# Scripts that do not separate words by spaces are counted by the character, like punctuation.
WORD = re.compile(
    r"[぀-ヿ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]|(?:(?![぀-ヿ㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff])\w)+|[^\w\s]"
)


def words(text: str) -> list[str]:
    """Words, single Chinese and Japanese characters, and punctuation marks of ``text``, case kept."""
    return WORD.findall(text)


def _tokens(texts: Sequence[Text]) -> list[list[Hashable]]:
    return [list(words(text)) if isinstance(text, str) else list(text) for text in texts]


def _ngrams(tokens: Sequence[Hashable], n: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False))


def distinct_n(texts: Sequence[Text], n: int) -> float | Undefined:
    """Different n-grams over all n-grams, of all ``texts`` together (Li et al. 2016, "A Diversity-Promoting Objective
    Function for Neural Conversation Models").

    It falls as texts grow in number and length: compare only samples of the same size.

    Args:
        texts: strings (split by ``words``) or lists of tokens.
        n: length of the n-grams.
    """
    counts: Counter[tuple[Hashable, ...]] = Counter()
    for tokens in _tokens(texts):
        counts.update(_ngrams(tokens, n))
    total = counts.total()
    return len(counts) / total if total else Undefined(reason=f"No text has {n} tokens.")


def self_bleu(texts: Sequence[Text], max_n: int = 4) -> float | Undefined:
    """How much the texts are alike, 0 to 1: the mean BLEU of each against all the others as references (Zhu et al.
    2018, "Texygen").

    BLEU is Papineni et al. (2002), section 2.3: brevity penalty, to the nearest reference length, shorter on a tie,
    times the geometric mean of the clipped n-gram precisions for n = 1 to ``max_n``, unsmoothed; a text of fewer tokens
    goes up to its own length. Texts without tokens are left out.
    """
    kept = [tokens for tokens in _tokens(texts) if tokens]
    if len(kept) < 2:
        return Undefined(reason="Fewer than two texts have any tokens.")
    lengths = sorted(len(tokens) for tokens in kept)
    log_precision = np.zeros(len(kept))
    orders = np.array([min(max_n, len(tokens)) for tokens in kept])
    for n in range(1, max_n + 1):
        grams = [_ngrams(tokens, n) for tokens in kept]
        # The two largest counts of each n-gram: the second is what is left when its owner is the candidate.
        largest: dict[tuple[Hashable, ...], tuple[int, int, int]] = {}
        for i, counts in enumerate(grams):
            for gram, count in counts.items():
                first, owner, second = largest.get(gram, (0, -1, 0))
                largest[gram] = (count, i, first) if count > first else (first, owner, max(second, count))
        for i, counts in enumerate(grams):
            if not counts:
                continue
            matched = sum(min(c, largest[g][2] if largest[g][1] == i else largest[g][0]) for g, c in counts.items())
            log_precision[i] += np.log(matched / counts.total()) / orders[i] if matched else -np.inf
    brevity = np.array([min(0.0, 1 - _nearest_other(lengths, len(tokens)) / len(tokens)) for tokens in kept])
    return float(np.exp(log_precision + brevity).mean())


def _nearest_other(ordered: list[int], length: int) -> int:
    """The entry of ``ordered`` nearest to ``length``, one entry of that length set aside; the shorter on a tie."""
    at = bisect_left(ordered, length)
    neighbours = [ordered[i] for i in (at - 1, at + 1) if 0 <= i < len(ordered)]
    return min(neighbours, key=lambda other: (abs(other - length), other))


class Lengths(Record):
    """Lengths of completions."""

    mean: float = Field(description="mean (tokens)")
    sd: float = Field(description="standard deviation (tokens)")
    median: float = Field(description="median (tokens)")
    p95: float = Field(description="95th percentile (tokens)")
    longest: int = Field(description="longest (tokens)")
    unfinished: int | None = Field(description="completions cut off before their end (count); null if not recorded")


def length_statistics(lengths: Sequence[int], finished: Sequence[bool] | None = None) -> Lengths | Undefined:
    """Summary of ``lengths`` [N] (tokens); ``finished`` [N] says which completions came to their own end."""
    if not lengths:
        return Undefined(reason="There are no completions.")
    x = finite_vector("lengths", lengths)
    return Lengths(
        mean=float(x.mean()),
        sd=float(x.std()),
        median=float(np.median(x)),
        p95=float(np.quantile(x, 0.95)),
        longest=int(x.max()),
        unfinished=None if finished is None else len(finished) - sum(finished),
    )


class TextStatistics(Record):
    """Length and diversity of one side's completions."""

    completions: int = Field(ge=0, description="completions measured (count)")
    lengths: Lengths | Undefined = Field(description="their lengths")
    distinct_1: float | Undefined = Field(description="different words over all words (0 to 1)")
    distinct_2: float | Undefined = Field(description="different word pairs over all word pairs (0 to 1)")
    self_bleu: float | Undefined = Field(description="mean BLEU-4 of each against all others (0 to 1, 1 is all alike)")


def text_statistics(
    texts: Sequence[str], lengths: Sequence[int], finished: Sequence[bool] | None = None
) -> TextStatistics:
    """Length and diversity of completions ``texts`` [N] with their ``lengths`` [N] (tokens)."""
    return TextStatistics(
        completions=len(texts),
        lengths=length_statistics(lengths, finished),
        distinct_1=distinct_n(texts, 1),
        distinct_2=distinct_n(texts, 2),
        self_bleu=self_bleu(texts),
    )


class KLSummary(Record):
    """How far the policy has moved from its reference."""

    per_completion: Interval = Field(description="mean KL to the reference (nats a completion)")
    per_token: float = Field(description="mean KL to the reference (nats a token)")
    p95: float = Field(description="95th percentile of single completions' estimates (nats a completion)")


def kl_summary(
    kl: ArrayLike, lengths: ArrayLike, prompt_ids: Sequence[str], confidence: float = 0.95
) -> KLSummary | Undefined:
    """Summary of single completions' KL estimates.

    Args:
        kl: [N], each completion's sum over tokens of log policy - log reference, or another unbiased estimate (nats);
            single ones may be negative.
        lengths: [N] (tokens).
        prompt_ids: [N].
        confidence: coverage of the interval (probability).

    Raises:
        DataError: the lengths of the arguments differ or a value is not finite.
    """
    x, tokens = finite_vector("kl", kl), finite_vector("lengths", lengths)
    if x.size != tokens.size:
        raise DataError(f"{x.size} KL values, {tokens.size} lengths", "they are pairs.", "Pass one of each.")
    if not tokens.sum() > 0:
        return Undefined(reason="No completion has any tokens.")
    return KLSummary(
        per_completion=mean_interval(x, prompt_ids, confidence),
        per_token=float(x.sum() / tokens.sum()),
        p95=float(np.quantile(x, 0.95)),
    )


class Accuracy(Record):
    """How often the better-scored completion was the preferred one."""

    clustered: Interval = Field(description="share right with an interval clustered by prompt (0 to 1)")
    wilson: Interval = Field(description="the same with Wilson's interval, as if comparisons were independent (0 to 1)")
    ties: int = Field(description="comparisons that the rater called a tie: left out (count)")


def _checked_pairs(differences: ArrayLike, outcomes: ArrayLike) -> tuple[Array, Array]:
    d, y = finite_vector("score differences", differences), finite_vector("outcomes", outcomes)
    if d.size != y.size:
        raise DataError(f"{d.size} differences, {y.size} outcomes", "they are pairs.", "Pass one of each.")
    if y.size and (y.min() < 0 or y.max() > 1):
        raise DataError("outcomes", "one is not within 0 and 1.", "Use 1 (first preferred), 0.5 (tie), 0 (second).")
    return d, y


def accuracy(
    differences: ArrayLike, outcomes: ArrayLike, prompt_ids: Sequence[str], confidence: float = 0.95
) -> Accuracy:
    """Accuracy of score differences [N] (first minus second) on judged comparisons.

    Args:
        differences: [N]; equal scores count as half right.
        outcomes: [N], 1 where the first was preferred, 0 the second, 0.5 a tie; ties are left out and counted.
        prompt_ids: [N].
        confidence: coverage of the intervals (probability).

    Raises:
        DataError: the lengths differ or a value is not valid.
    """
    d, y = _checked_pairs(differences, outcomes)
    prompt_codes(prompt_ids, y.size)
    decided = np.flatnonzero(y != 0.5)
    right = 0.5 + 0.5 * np.sign(d[decided]) * np.sign(y[decided] - 0.5)
    ids = [prompt_ids[i] for i in decided.tolist()]
    return Accuracy(
        clustered=proportion_interval(right, ids, confidence),
        wilson=wilson_interval(float(right.sum()), right.size, confidence, prompts=len(set(ids))),
        ties=int(y.size - decided.size),
    )


class ReliabilityBin(Record):
    """Comparisons predicted with about the same confidence."""

    predicted: float = Field(description="mean predicted probability of the better-scored side (0.5 to 1)")
    observed: Interval = Field(description="share in which that side was preferred, ties as half (0 to 1)")


class Calibration(Record):
    """Whether predicted preference probabilities can be taken at their word."""

    ece: float = Field(description="expected calibration error, bins of equal numbers of comparisons (0 to 1)")
    ece_equal_width: float = Field(
        description="expected calibration error, bins of equal width between 0.5 and 1 (0 to 1)"
    )
    curve: list[ReliabilityBin] = Field(description="reliability curve, bins of equal numbers of comparisons")
    temperature: float | Undefined = Field(
        description="divide score differences by this for the best likelihood; above 1 the model was overconfident"
    )


def _bins(probabilities: Array, bins: int, kind: Literal["mass", "width"], low: float = 0.0) -> list[NDArray[np.intp]]:
    """The observations of each bin that has any; bins of equal width part ``low`` to 1."""
    order = np.argsort(probabilities, kind="stable")
    if kind == "mass":
        return [part for part in np.array_split(order, bins) if part.size]
    inner = np.linspace(low, 1, bins + 1)[1:-1]
    return [p for p in np.split(order, np.searchsorted(probabilities[order], inner, side="right")) if p.size]


def _calibration_error(p: Array, y: Array, parts: list[NDArray[np.intp]]) -> float:
    return float(sum(abs(y[part].sum() - p[part].sum()) for part in parts) / p.size)


def expected_calibration_error(
    probabilities: ArrayLike, outcomes: ArrayLike, bins: int = 10, kind: Literal["mass", "width"] = "mass"
) -> float | Undefined:
    """Mean over observations of |mean outcome - mean probability| of their bin (Naeini et al. 2015; bins of equal mass
    as in Nixon et al. 2019, "Measuring Calibration in Deep Learning"). It is biased upwards where bins are small.

    Args:
        probabilities: [N], predicted (0 to 1).
        outcomes: [N], 0 to 1.
        bins: how many.
        kind: "mass" for bins of equal numbers of observations, "width" for equal parts of 0 to 1.

    Raises:
        DataError: the lengths differ, or a value is outside 0 to 1.
    """
    p, y = _checked_pairs(probabilities, outcomes)
    if p.size == 0:
        return Undefined(reason="There are no observations.")
    if p.min() < 0 or p.max() > 1:
        raise DataError("probabilities", "one is not within 0 and 1.", "Pass probabilities, not scores.")
    return _calibration_error(p, y, _bins(p, bins, kind))


def fit_temperature(differences: ArrayLike, outcomes: ArrayLike) -> float | Undefined:
    """The T that minimises the negative log-likelihood of sigmoid(difference / T) (Guo et al. 2017, "On Calibration of
    Modern Neural Networks", section 4.2).

    Undefined where the likelihood has no best T: no preference is predicted wrongly, or the scores predict no better
    than chance.

    Raises:
        DataError: the lengths differ or a value is not valid.
    """
    d, y = _checked_pairs(differences, outcomes)
    if not d.any():
        return Undefined(reason="All score differences are zero." if d.size else "There are no comparisons.")
    if (d * (y - 0.5) >= 0.5 * np.abs(d)).all():
        return Undefined(reason="Every preference is predicted rightly, so the best temperature is zero.")
    if (d * (y - 0.5)).sum() <= 0:
        return Undefined(reason="The scores predict the preferences no better than chance.")
    scale = np.abs(d).max()
    z = d / scale

    def loss(log_slope: float) -> float:
        logits = z * np.exp(log_slope)
        return float((np.logaddexp(0, logits) - y * logits).mean())

    # The loss is convex in the slope, so one dip: a grid brackets it and Brent's method finds the bottom.
    grid = np.linspace(-12, 25, 75)
    at = int(np.argmin([loss(point) for point in grid]))
    found = minimize_scalar(
        loss, bounds=(grid[max(at - 1, 0)], grid[min(at + 1, 74)]), method="bounded", options={"xatol": 1e-8}
    )
    return float(scale / np.exp(found.x))


def calibration(
    differences: ArrayLike, outcomes: ArrayLike, prompt_ids: Sequence[str], bins: int = 10, confidence: float = 0.95
) -> Calibration | Undefined:
    """Calibration of sigmoid(score difference) as the probability that the first completion is preferred.

    Which completion stands first is arbitrary, so each comparison is turned to have the better-scored one first, and
    probabilities run from 0.5 to 1.

    Args:
        differences: [N], first minus second (log-odds).
        outcomes: [N], 1 where the first was preferred, 0 the second, 0.5 a tie.
        prompt_ids: [N].
        bins: of the curve and the errors.
        confidence: coverage of the bins' intervals (probability).

    Raises:
        DataError: the lengths differ or a value is not valid.
    """
    d, y = _checked_pairs(differences, outcomes)
    prompt_codes(prompt_ids, y.size)
    if d.size == 0:
        return Undefined(reason="There are no held-out comparisons.")
    predicted = 1 / (1 + np.exp(-np.abs(d)))
    observed = np.where(d >= 0, y, 1 - y)
    equal_mass = _bins(predicted, bins, "mass")
    curve = [
        ReliabilityBin(
            predicted=float(predicted[part].mean()),
            observed=proportion_interval(observed[part], [prompt_ids[i] for i in part.tolist()], confidence),
        )
        for part in equal_mass
    ]
    return Calibration(
        ece=_calibration_error(predicted, observed, equal_mass),
        ece_equal_width=_calibration_error(predicted, observed, _bins(predicted, bins, "width", low=0.5)),
        curve=curve,
        temperature=fit_temperature(d, y),
    )
