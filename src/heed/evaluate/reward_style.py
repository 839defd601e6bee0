"""Whether a reward model pays for how a text looks: its length, headers, lists and bold type, beside what raters say.

Two questions, both of differences between the two texts of a claim, so that what a prompt asks for plays no part:

- Does the reward go with the style where raters chose alike? The partial correlation of the scores' difference with the
  style's, given the raters' choice and the other styles.
- Does it pay too much for it? Where the reward predicts preferences rightly, style says nothing more about them. What it
  does say, in log-odds and with its sign turned, is what the reward pays too much.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats
from scipy.special import expit

from heed.evaluate.metrics import words
from heed.statistics import Array, Interval, Record, prompt_codes, undefined_interval

STYLES = ("length", "headers", "lists", "bold")

_FEWEST_CLAIMS, _FEWEST_PROMPTS = 20, 10
"""Claims that must differ in a style, and prompts behind them, before anything is said of it (count)."""
_DRAWS = 500
_NEWTON_STEPS = 60
_RIDGE = 1e-3
"""Precision of a prior around 0 on log-odds: keeps them finite where preferences are predicted without a fault."""

_CODE = re.compile(r"```[^`]*```")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
# Blanks of the line alone before the mark: to look for it across empty lines would take long on a text of nothing else.
_LIST = re.compile(r"^[^\S\n]*(?:\d+\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


class StyleEffect(Record):
    """One style."""

    style: str = Field(description="length (words), headers, lists or bold (count of each in Markdown)")
    correlation: Interval = Field(
        description="partial correlation of score and style differences, given the raters' choice and the other styles"
    )
    excess: Interval = Field(
        description="log-odds that the reward pays too much for a usual difference in this style; below 0: too little"
    )
    favour: Interval = Field(
        description="the same as the probability that the reward gives a text with a usual lead in this style over another that "
        "is otherwise as good (0 to 1); 0.5 is right"
    )


def style_counts(text: str) -> tuple[int, int, int, int]:
    """Words, headers, list items and bold stretches of ``text`` in Markdown (counts), those in blocks of code left out.

    The elements of FastChat's style control (Chiang et al. 2024, "Chatbot Arena"; Li et al. 2024, "Does style matter?").
    """
    plain = _CODE.sub("", text)
    marks = (len(pattern.findall(plain)) for pattern in (_HEADER, _LIST, _BOLD))
    return (len(words(text)), *marks)  # type: ignore[return-value]


def style_differences(first: NDArray[np.int64], second: NDArray[np.int64]) -> Array:
    """Differences [N, S] of counts [N, S], each over its sum, as in style control: 1 where only the first has any."""
    total = first + second
    return np.divide(first - second, total, out=np.zeros(total.shape), where=total > 0)


def style_effects(
    log_odds: Array,
    outcomes: Array,
    differences: Array,
    prompt_ids: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> list[StyleEffect]:
    """What style has to do with the reward.

    Args:
        log_odds: [N], the reward model's, that the first text is better.
        outcomes: [N], 1 where the raters preferred the first, 0 the second, 0.5 neither.
        differences: [N, S] of the styles, as :func:`style_differences` gives them.
        prompt_ids: [N].
        confidence: coverage of the intervals.
        seed: of the bootstrap.
    """
    clusters = prompt_codes(prompt_ids, outcomes.size)
    reasons = [
        _too_few(differences[:, s], clusters) or _goes_with(differences[:, s], 2 * outcomes - 1)
        for s in range(len(STYLES))
    ]
    kept = [s for s, reason in enumerate(reasons) if reason is None]
    found: dict[int, tuple[Interval, Interval]] = {}
    if kept:
        x = differences[:, kept]
        x = x / np.sqrt((x**2).mean(0))
        correlations = _correlations(log_odds, outcomes, x, clusters, confidence, seed)
        excesses = _excess(log_odds, outcomes, x, clusters, confidence)
        found = dict(zip(kept, zip(correlations, excesses, strict=True), strict=True))
    effects = []
    for number, style in enumerate(STYLES):
        reason = reasons[number]
        if reason is not None:
            nothing = undefined_interval(reason, "none", confidence, n=outcomes.size)
            found[number] = nothing, nothing
        correlation, excess = found[number]
        effects.append(StyleEffect(style=style, correlation=correlation, excess=excess, favour=_probability(excess)))
    return effects


def _probability(log_odds: Interval) -> Interval:
    ends = {name: getattr(log_odds, name) for name in ("estimate", "low", "high")}
    return log_odds.model_copy(update={n: None if end is None else float(expit(end)) for n, end in ends.items()})


def _too_few(difference: Array, clusters: NDArray[np.intp]) -> str | None:
    """Why nothing can be said of a style, if so."""
    differ = np.flatnonzero(difference)
    prompts = np.unique(clusters[differ]).size
    if differ.size < _FEWEST_CLAIMS or prompts < _FEWEST_PROMPTS:
        return (
            f"The texts differ in it in {differ.size} comparisons of {prompts} prompts; "
            f"{_FEWEST_CLAIMS} of {_FEWEST_PROMPTS} are needed."
        )
    return None


def _goes_with(difference: Array, choice: Array) -> str | None:
    """Why a style cannot be told apart from what raters chose, if so."""
    shared = float(difference @ choice) ** 2
    if shared < (1 - 1e-9) * float(difference @ difference) * float(choice @ choice):
        return None
    return "The texts differ in it by as much in every comparison, and raters always chose alike: nothing tells the two apart."


def _correlations(
    log_odds: Array, outcomes: Array, x: Array, clusters: NDArray[np.intp], confidence: float, seed: int
) -> list[Interval]:
    """Partial correlations of ``log_odds`` with the columns of ``x``; through the origin, as which text stands first is
    arbitrary. The interval is the percentile bootstrap over prompts."""
    z = np.column_stack([log_odds, x, 2 * outcomes - 1])
    prompts, width = int(clusters.max()) + 1, z.shape[1]
    products = np.zeros((prompts, width * width))
    np.add.at(products, clusters, (z[:, :, None] * z[:, None, :]).reshape(len(z), -1))
    drawn = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), _DRAWS)
    weights = np.concatenate([np.ones((1, prompts)), drawn])
    sums = (weights @ products).reshape(-1, width, width)
    scale = np.sqrt(np.maximum(np.einsum("rii->ri", sums), 1e-300))
    correlations = sums / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(width)
    precision = np.linalg.inv(correlations)
    diagonal = np.einsum("rii->ri", precision)
    partial = -precision[:, 0, 1:-1] / np.sqrt(diagonal[:, :1] * diagonal[:, 1:-1])
    low, high = np.quantile(partial[1:], [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return [
        Interval(
            estimate=float(estimate),
            low=float(min(below, estimate)),
            high=float(max(above, estimate)),
            confidence=confidence,
            prompts=prompts,
            n=len(z),
            method="partial correlation, bootstrap over prompts",
        )
        for estimate, below, above in zip(partial[0], low, high, strict=True)
    ]


def _excess(
    log_odds: Array, outcomes: Array, x: Array, clusters: NDArray[np.intp], confidence: float
) -> list[Interval]:
    """The columns' coefficients in a logistic regression of the outcomes beside the reward's log-odds, with their sign turned.

    Intervals by the sandwich clustered by prompt (Liang & Zeger 1986), t with prompts - 1 degrees of freedom.
    """
    design = np.column_stack([log_odds, x])
    theta = np.zeros(design.shape[1])
    ridge = _RIDGE * np.eye(theta.size)
    for _ in range(_NEWTON_STEPS):
        p = expit(design @ theta)
        bread = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, None]) + ridge)
        step = bread @ (design.T @ (outcomes - p) - _RIDGE * theta)
        theta += step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    prompts = int(clusters.max()) + 1
    scores = np.zeros((prompts, theta.size))
    np.add.at(scores, clusters, design * (outcomes - expit(design @ theta))[:, None])
    variance = bread @ (scores.T @ scores) @ bread * prompts / (prompts - 1)
    half = stats.t.ppf(0.5 + confidence / 2, prompts - 1) * np.sqrt(np.diag(variance))
    return [
        Interval(
            estimate=float(-value),
            low=float(-value - width),
            high=float(-value + width),
            confidence=confidence,
            prompts=prompts,
            n=outcomes.size,
            method="logistic regression beside the reward, clustered by prompt",
        )
        for value, width in zip(theta[1:], half[1:], strict=True)
    ]
