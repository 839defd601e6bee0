"""Estimates with intervals, and the reason where there is none.

Samples of one prompt are alike, so every interval here is clustered by prompt: what counts is how many prompts were
asked, not how often (Miller 2024, "Adding Error Bars to Evals", section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from heed.errors import DataError
from heed.lazily import np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = "NDArray[np.float64]"


class Record(BaseModel):
    """Base of everything that ends up in ``report.json``: frozen, no unknown keys, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Undefined(Record):
    """In the place of a value that does not exist: why it does not."""

    reason: str = Field(min_length=1, description="why there is no value, a sentence for people")


class Interval(Record):
    """An estimate, its interval and what stands behind it; ``reason`` says why a number is missing."""

    estimate: float | None = Field(description="the estimate; null where undefined")
    low: float | None = Field(description="lower end of the interval; null where undefined")
    high: float | None = Field(description="upper end of the interval; null where undefined")
    confidence: float = Field(gt=0.0, lt=1.0, description="coverage that the interval aims at (probability)")
    prompts: int = Field(ge=0, description="distinct prompts behind the estimate (count)")
    n: int = Field(ge=0, description="observations behind the estimate (count)")
    method: str = Field(description="how the interval was made")
    reason: str | None = Field(None, description="why the estimate or its ends are null; null where they are not")

    def above(self, value: float) -> bool:
        """Whether the whole interval lies above ``value``."""
        return self.low is not None and self.low > value

    def below(self, value: float) -> bool:
        """Whether the whole interval lies below ``value``."""
        return self.high is not None and self.high < value


def undefined_interval(
    reason: str, method: str, confidence: float, prompts: int = 0, n: int = 0, estimate: float | None = None
) -> Interval:
    """An interval without ends, and without an estimate unless one is given, that says why."""
    return Interval(
        estimate=estimate,
        low=None,
        high=None,
        confidence=confidence,
        prompts=prompts,
        n=n,
        method=method,
        reason=reason,
    )


def finite_vector(name: str, values: ArrayLike) -> Array:
    """``values`` as float64 [N].

    Raises:
        DataError: they are not one row of finite numbers; names the first that is not.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise DataError(f"{name} of shape {vector.shape}", "one row of numbers is needed.", "Pass a flat list.")
    broken = np.flatnonzero(~np.isfinite(vector))
    if broken.size:
        raise DataError(
            f"{name}, entry {broken[0]}", f"{vector[broken[0]]} is not a finite number.", "Leave such entries out."
        )
    return vector


def prompt_codes(prompt_ids: Sequence[str], n: int) -> NDArray[np.intp]:
    """The cluster of each of ``n`` observations as integers [N], 0 to prompts - 1.

    Raises:
        DataError: there is not one prompt id for each observation.
    """
    if len(prompt_ids) != n:
        raise DataError(
            f"{len(prompt_ids)} prompt ids for {n} observations",
            "each needs its own.",
            "Pass the prompt id of every row.",
        )
    return (
        np.unique(np.asarray(prompt_ids, dtype=object).astype(str), return_inverse=True)[1] if n else np.zeros(0, int)
    )


def cluster_variance(influence: Array, clusters: NDArray[np.intp]) -> float:
    """Variance of a sum of per-observation influences [N] when those of one cluster move together.

    The sandwich with the factor G / (G - 1) for few clusters (Liang & Zeger 1986; CR1 in Cameron & Miller 2015,
    section II.B).
    """
    totals = np.bincount(clusters, weights=influence)
    return float(totals.size / (totals.size - 1) * (totals**2).sum())


def mean_interval(values: ArrayLike, prompt_ids: Sequence[str], confidence: float = 0.95) -> Interval:
    """Mean of ``values`` [N] with a cluster-robust t interval, prompts - 1 degrees of freedom.

    Raises:
        DataError: a value is not finite, or the lengths differ.
    """
    method = "cluster-robust t"
    x = finite_vector("values", values)
    clusters = prompt_codes(prompt_ids, x.size)
    if x.size == 0:
        return undefined_interval("There are no observations.", method, confidence)
    prompts, mean = int(clusters.max()) + 1, float(x.mean())
    if prompts < 2:
        return undefined_interval("One prompt alone gives no interval.", method, confidence, prompts, x.size, mean)
    half = _t_quantile(prompts - 1, confidence) * cluster_variance((x - mean) / x.size, clusters) ** 0.5
    return Interval(
        estimate=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        prompts=prompts,
        n=x.size,
        method=method,
    )


def _t_quantile(freedom: float, confidence: float) -> float:
    """How many standard errors of a t distribution with ``freedom`` degrees lie on either side of an interval."""
    # Loaded when needed: most who count with this file need no more than numpy, and a server starts quicker without.
    from scipy import special

    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


def _score_bounds(p: float, n: float, quantile: float) -> tuple[float, float]:
    """Wilson's score bounds of a proportion ``p`` of ``n`` trials (Wilson 1927)."""
    spread = quantile**2 / n
    centre = (p + spread / 2) / (1 + spread)
    half = (quantile / (1 + spread)) * (p * (1 - p) / n + spread / (4 * n)) ** 0.5
    return max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p))


def wilson_interval(successes: float, n: int, confidence: float = 0.95, prompts: int | None = None) -> Interval:
    """Wilson's score interval of a proportion of ``n`` independent trials; half successes are allowed.

    ``prompts`` is only recorded; where trials share prompts, use ``proportion_interval``.

    Raises:
        DataError: ``successes`` is not within 0 and ``n``.
    """
    method = "Wilson score"
    if not 0 <= successes <= n:
        raise DataError(f"{successes} successes of {n} trials", "that cannot be.", "Count again.")
    if n == 0:
        return undefined_interval("There are no observations.", method, confidence)
    low, high = _score_bounds(successes / n, n, NormalDist().inv_cdf(0.5 + confidence / 2))
    return Interval(
        estimate=successes / n,
        low=low,
        high=high,
        confidence=confidence,
        prompts=n if prompts is None else prompts,
        n=n,
        method=method,
    )


def proportion_interval(outcomes: ArrayLike, prompt_ids: Sequence[str], confidence: float = 0.95) -> Interval:
    """Mean of ``outcomes`` [N] in 0 to 1 with a score interval clustered by prompt.

    Wilson's interval at the effective sample size p(1 - p) / V, V the cluster-robust variance of the mean, with a t
    quantile of prompts - 1 degrees of freedom; the effective sample size is the idea of Korn & Graubard (1998),
    "Confidence Intervals for Proportions with Small Expected Number of Positive Counts". Chosen over the cluster-robust
    t interval, which leaves 0 to 1 and shrinks to a point where all prompts agree; the bootstrap over prompts shrinks
    to a point there too, and is too narrow with few prompts. V is not let below what independent observations would
    give, since with few prompts it can be small by luck. Where all outcomes are alike, each prompt counts as one.

    Raises:
        DataError: an outcome is outside 0 to 1, or the lengths differ.
    """
    method = "Wilson score, clustered by prompt"
    y = finite_vector("outcomes", outcomes)
    if y.size and (y.min() < 0 or y.max() > 1):
        raise DataError("outcomes", f"they run from {y.min():g} to {y.max():g}, not within 0 and 1.", "Use 0, 0.5, 1.")
    clusters = prompt_codes(prompt_ids, y.size)
    if y.size == 0:
        return undefined_interval("There are no observations.", method, confidence)
    prompts, p = int(clusters.max()) + 1, float(y.mean())
    if prompts < 2:
        return undefined_interval("One prompt alone gives no interval.", method, confidence, prompts, y.size, p)
    variance = max(cluster_variance((y - p) / y.size, clusters), float(y.var()) / y.size)
    effective = p * (1 - p) / variance if np.ptp(y) > 0 else float(prompts)
    low, high = _score_bounds(p, effective, _t_quantile(prompts - 1, confidence))
    return Interval(estimate=p, low=low, high=high, confidence=confidence, prompts=prompts, n=y.size, method=method)


def weighted_mean_interval(
    values: ArrayLike, weights: ArrayLike, prompt_ids: Sequence[str], confidence: float = 0.95, shares: bool = False
) -> Interval:
    """Mean of ``values`` [N] with weights, divided by the sum of the weights, and its interval clustered by prompt.

    Hajek 1971's ratio estimator with linearised variance (Sarndal, Swensson & Wretman 1992, "Model Assisted Survey
    Sampling", section 5.7). With unequal weights a few observations decide: the t quantile has as many degrees of freedom
    as there are equally weighted prompts of the same worth (Kish 1965), less one.

    Args:
        values: [N].
        weights: [N], at least 0: of how many observations of a uniform draw each stands for.
        prompt_ids: [N].
        confidence: coverage that the interval aims at.
        shares: whether the values are within 0 and 1, and so is the interval: Wilson's, as in :func:`proportion_interval`.

    Raises:
        DataError: a value or weight is not finite, a weight is negative, or the lengths differ.
    """
    method = "weighted " + ("Wilson score, clustered by prompt" if shares else "cluster-robust t")
    x, w = finite_vector("values", values), finite_vector("weights", weights)
    if x.size != w.size or (w.size and w.min() < 0):
        raise DataError(f"{w.size} weights for {x.size} values", "each needs one of at least 0.", "Pass one of each.")
    clusters = prompt_codes(prompt_ids, x.size)
    if not w.sum() > 0:
        return undefined_interval("There are no observations with any weight.", method, confidence)
    mean = float(w @ x / w.sum())
    totals = np.bincount(clusters, weights=w)
    prompts, worth = int((totals > 0).sum()), float(totals.sum() ** 2 / (totals**2).sum())
    if prompts < 2:
        return undefined_interval("One prompt alone gives no interval.", method, confidence, prompts, x.size, mean)
    variance = cluster_variance(w * (x - mean) / w.sum(), clusters)
    quantile = _t_quantile(max(worth - 1, 1.0), confidence)
    low, high = mean - quantile * variance**0.5, mean + quantile * variance**0.5
    if shares:
        spread = mean * (1 - mean)
        floor = spread * float((w**2).sum()) / float(w.sum()) ** 2
        low, high = _score_bounds(mean, spread / max(variance, floor) if spread > 0 else worth, quantile)
    return Interval(estimate=mean, low=low, high=high, confidence=confidence, prompts=prompts, n=x.size, method=method)
