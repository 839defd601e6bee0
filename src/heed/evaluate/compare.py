"""Is the policy better than its reference: win rates, raw and at equal length, differences, reward against KL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy import stats

from heed.errors import DataError
from heed.statistics import (
    Array,
    Interval,
    Record,
    cluster_variance,
    finite_vector,
    prompt_codes,
    proportion_interval,
    undefined_interval,
)

__all__ = [
    "FrontierPoint",
    "Interval",
    "WinRate",
    "length_controlled_win_rate",
    "mean_difference",
    "outcomes_from_scores",
    "reward_against_kl",
    "undefined_win_rate",
    "win_rate",
    "win_rates",
]

_NEWTON_STEPS = 50
_RESAMPLES = 1000


class WinRate(Interval):
    """Share of comparisons that the policy wins against its reference, ties as half, and the same at equal length."""

    length_controlled: Interval = Field(
        description="the win rate predicted for equal lengths (Dubois et al. 2024, section 3)"
    )


def undefined_win_rate(reason: str, confidence: float = 0.95) -> WinRate:
    """A win rate that could not be taken, and why."""
    nothing = undefined_interval(reason, "none", confidence)
    return WinRate(**nothing.model_dump(), length_controlled=nothing)


class FrontierPoint(Record):
    """One audited step of training: how far the policy has moved, and what that brought."""

    step: int = Field(ge=0, description="step of the audit (count); 0 is the reference")
    kl: float = Field(description="KL to the reference (nats a completion)")
    proxy: float = Field(
        description="gain in the reward model's score (standard deviations of the reference's completions)"
    )
    true: float | None = Field(
        description="gain in the true utility (standard deviations of the reference's completions); null without truth"
    )


def outcomes_from_scores(policy: ArrayLike, reference: ArrayLike, indifference: float = 0.0) -> Array:
    """Outcome for the policy of each pair of scores [N]: 1 a win, 0 a loss, 0.5 where they differ by no more than
    ``indifference`` (score units).

    Raises:
        DataError: the lengths differ or a score is not finite.
    """
    after, before = finite_vector("policy scores", policy), finite_vector("reference scores", reference)
    if after.size != before.size:
        raise DataError(f"{after.size} policy scores, {before.size} reference scores", "they are pairs.", "Pair them.")
    gap = after - before
    return np.where(np.abs(gap) <= indifference, 0.5, (gap > 0).astype(np.float64))


def _checked_outcomes(outcomes: ArrayLike) -> Array:
    y = finite_vector("outcomes", outcomes)
    strange = np.flatnonzero(~np.isin(y, (0.0, 0.5, 1.0)))
    if strange.size:
        raise DataError(
            f"outcome {strange[0]} is {y[strange[0]]:g}",
            "an outcome is 1 (win), 0.5 (tie) or 0 (loss).",
            "Use outcomes_from_scores for scores.",
        )
    return y


def win_rate(outcomes: ArrayLike, prompt_ids: Sequence[str], confidence: float = 0.95) -> Interval:
    """Share of wins, ties as half, with a score interval clustered by prompt.

    Args:
        outcomes: [N], 1 where the policy won, 0.5 for a tie, 0 where the reference won.
        prompt_ids: [N], the prompt of each comparison.
        confidence: coverage of the interval (probability).

    Raises:
        DataError: an outcome is none of the three, or the lengths differ.
    """
    return proportion_interval(_checked_outcomes(outcomes), prompt_ids, confidence)


def _firth_intercepts(y: Array, x: Array, counts: Array) -> Array:
    """Intercepts [R] of logistic regressions of ``y`` [N] on 1 and ``x`` [N], under case weights ``counts`` [R, N].

    Jeffreys' prior on the coefficients (Firth 1993; Heinze & Schemper 2002) keeps them finite where wins
    and losses are separated, and takes off most of the bias of few observations.
    """
    theta = np.zeros((counts.shape[0], 2))
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(theta[:, :1] + theta[:, 1:] * x, -35, 35)))
        weight = counts * p * (1 - p)
        i00, i01, i11 = weight.sum(1), weight @ x, weight @ (x * x)
        determinant = i00 * i11 - i01**2
        leverage = weight * (i11[:, None] - 2 * i01[:, None] * x + i00[:, None] * x * x) / determinant[:, None]
        score = counts * (y - p) + leverage * (0.5 - p)
        s0, s1 = score.sum(1), score @ x
        step = np.stack([i11 * s0 - i01 * s1, i00 * s1 - i01 * s0], 1) / determinant[:, None]
        theta += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return theta[:, 0]


def length_controlled_win_rate(
    outcomes: ArrayLike,
    policy_lengths: ArrayLike,
    reference_lengths: ArrayLike,
    prompt_ids: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The win rate had both sides written equally much.

    The logistic model of Dubois et al. (2024), "Length-Controlled AlpacaEval", section 3, equation 1, for one pair of
    models: logit P(win) = theta + phi tanh(d / sd(d)), d the length difference; the rate is its prediction at d = 0.
    Their instruction-difficulty term is left out: it is estimated from many models on AlpacaEval's own prompts. The
    interval is the percentile bootstrap over prompts, widened to hold the estimate where few prompts put it outside.
    Swapping the sides turns a rate r into 1 - r.

    Args:
        outcomes: [N], 1 where the policy won, 0.5 for a tie, 0 where the reference won.
        policy_lengths, reference_lengths: [N], of the two completions compared (tokens, or any one unit).
        prompt_ids: [N], the prompt of each comparison.
        confidence: coverage of the interval (probability).
        seed: of the bootstrap.

    Raises:
        DataError: the lengths of the arguments differ or a value is not valid.
    """
    method = "logistic regression at equal length, bootstrap over prompts"
    y = _checked_outcomes(outcomes)
    d = finite_vector("policy lengths", policy_lengths) - finite_vector("reference lengths", reference_lengths)
    if d.size != y.size:
        raise DataError(f"{d.size} lengths for {y.size} outcomes", "each needs its own.", "Pass both sides' lengths.")
    clusters = prompt_codes(prompt_ids, y.size)
    prompts = int(clusters.max()) + 1 if y.size else 0
    reason = _no_length_control(y, d, prompts)
    if reason:
        return undefined_interval(reason, method, confidence, prompts, y.size)
    if not d.any():
        return proportion_interval(y, prompt_ids, confidence)
    x = np.tanh(d / d.std())
    drawn = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), _RESAMPLES)
    counts = np.concatenate([np.ones((1, y.size)), drawn[:, clusters].astype(np.float64)])
    usable = np.array([np.ptp(x[row > 0]) > 0 for row in counts])
    rates = 1 / (1 + np.exp(-_firth_intercepts(y, x, counts[usable])))
    if not usable.all():
        method += f", {np.sum(~usable)} of {_RESAMPLES:,} resamples left out for having one length difference only"
    low, high = np.quantile(rates[1:], [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(
        estimate=float(rates[0]),
        low=float(min(low, rates[0])),
        high=float(max(high, rates[0])),
        confidence=confidence,
        prompts=prompts,
        n=y.size,
        method=method,
    )


def _no_length_control(y: Array, d: Array, prompts: int) -> str | None:
    """Why the effect of the length differences ``d`` on the outcomes ``y`` cannot be told, if so."""
    if prompts < 2:
        return "Fewer than two prompts give no interval."
    if d.any() and np.ptp(d) == 0:
        return f"All completions differ in length by the same {d[0]:g}, so the effect of length cannot be told."
    if d.any() and np.ptp(y) == 0:
        return "All outcomes are the same, so the effect of length cannot be told."
    return None


def win_rates(
    outcomes: ArrayLike,
    policy_lengths: ArrayLike,
    reference_lengths: ArrayLike,
    prompt_ids: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> WinRate:
    """``win_rate`` with ``length_controlled_win_rate`` beside it; arguments and errors are theirs."""
    raw = win_rate(outcomes, prompt_ids, confidence)
    controlled = length_controlled_win_rate(outcomes, policy_lengths, reference_lengths, prompt_ids, confidence, seed)
    return WinRate(**raw.model_dump(), length_controlled=controlled)


def mean_difference(
    policy: ArrayLike,
    policy_prompts: Sequence[str],
    reference: ArrayLike,
    reference_prompts: Sequence[str],
    confidence: float = 0.95,
) -> Interval:
    """Mean of ``policy`` [N] minus mean of ``reference`` [M], with a cluster-robust t interval.

    Influences are added up by prompt across both sides, so where both answered the same prompts the comparison is
    paired, with any number of samples a side (Miller 2024, "Adding Error Bars to Evals", section 4).

    Raises:
        DataError: a value is not finite, or the lengths differ.
    """
    method = "cluster-robust t of the difference, paired by prompt"
    after, before = finite_vector("policy values", policy), finite_vector("reference values", reference)
    ids = [*policy_prompts, *reference_prompts]
    if len(policy_prompts) != after.size or len(reference_prompts) != before.size:
        raise DataError("prompt ids", "there is not one for each value.", "Pass the prompt id of every row.")
    clusters = prompt_codes(ids, len(ids))
    prompts = int(clusters.max()) + 1 if ids else 0
    if after.size == 0 or before.size == 0:
        return undefined_interval("One side has no observations.", method, confidence, prompts, len(ids))
    difference = float(after.mean() - before.mean())
    if prompts < 2:
        return undefined_interval(
            "One prompt alone gives no interval.", method, confidence, prompts, len(ids), difference
        )
    influence = np.concatenate([(after - after.mean()) / after.size, -(before - before.mean()) / before.size])
    half = stats.t.ppf(0.5 + confidence / 2, prompts - 1) * cluster_variance(influence, clusters) ** 0.5
    return Interval(
        estimate=difference,
        low=difference - half,
        high=difference + half,
        confidence=confidence,
        prompts=prompts,
        n=len(ids),
        method=method,
    )


def _gains(name: str, values: Array, reference: ArrayLike) -> Array:
    """``values`` in standard deviations above the mean of the reference's scores."""
    scores = finite_vector(f"reference {name}", reference)
    spread = float(scores.std(ddof=1)) if scores.size > 1 else 0.0
    if spread == 0.0:
        raise DataError(
            f"reference {name}", "fewer than two different scores have no spread.", "Score more reference completions."
        )
    return (values - scores.mean()) / spread


def reward_against_kl(
    steps: Sequence[int],
    kl: ArrayLike,
    proxy: ArrayLike,
    reference_proxy: ArrayLike,
    true: ArrayLike | None = None,
    reference_true: ArrayLike | None = None,
) -> list[FrontierPoint]:
    """Proxy and true reward at each audit on one scale, ordered by KL (Gao et al. 2023, "Scaling Laws for Reward Model
    Overoptimization", figure 1): standard deviations of the reference's completions above their mean.

    Args:
        steps: [A], the step of each audit.
        kl: [A], KL to the reference at each (nats a completion).
        proxy, true: [A], mean score by the reward model and true utility at each, on held-out prompts.
        reference_proxy, reference_true: [N], scores of single completions of the reference on those prompts.

    Raises:
        DataError: lengths differ, a number is not finite, or the reference's scores are all the same.
    """
    distance, gained = finite_vector("kl", kl), _gains("proxy", finite_vector("proxy", proxy), reference_proxy)
    truth: NDArray[np.float64] | None = None
    if true is not None and reference_true is not None:
        truth = _gains("true", finite_vector("true", true), reference_true)
    if len({len(steps), distance.size, gained.size, gained.size if truth is None else truth.size}) != 1:
        raise DataError("audits", "steps, kl, proxy and true differ in length.", "Pass one of each for every audit.")
    return [
        FrontierPoint(
            step=steps[i],
            kl=float(distance[i]),
            proxy=float(gained[i]),
            true=None if truth is None else float(truth[i]),
        )
        for i in np.argsort(distance, kind="stable")
    ]
