"""What further labels would bring: the learning curve of a reward model, and whether they are worth their cost.

The error falls with the number of labels as an inverse power law towards what no number of labels would mend (Cortes, Jackel,
Solla, Vapnik and Denker 1993, "Learning Curves: Asymptotic Values and Rate of Convergence", equation 1; Hestness et al. 2017,
"Deep Learning Scaling is Predictable, Empirically", section 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from heed.errors import DataError
from heed.statistics import Array, Interval, Record, Undefined

_EXPONENTS = np.geomspace(0.05, 2.0, 60)
_DRAWS = 400
_FEWEST_SIZES, _FEWEST_PROMPTS = 3, 10
_FARTHEST = 3
"""Further labels, in those there are, beyond which the law is carried farther than it was ever tried."""


class PowerLaw(Record):
    """The error after n labels: ``floor + scale * n ** -exponent``."""

    floor: float = Field(ge=0, description="error that no number of labels would mend (0 to 1)")
    scale: float = Field(ge=0, description="error above the floor after one label, by the law")
    exponent: float = Field(gt=0, description="how quickly labels mend it")

    def accuracy(self, labels: float) -> float:
        """Share right after so many labels, by the law."""
        return 1 - self.floor - self.scale * labels**-self.exponent


class CurvePoint(Record):
    """A size of the curve."""

    labels: float = Field(gt=0, description="labels learned from (count)")
    accuracy: Interval = Field(description="share of held-out comparisons ordered rightly (0 to 1)")


class LearningCurve(Record):
    """How accuracy grew with labels, and how it would go on."""

    points: list[CurvePoint] = Field(description="what was measured, by size")
    law: PowerLaw = Field(description="the law that fits them best")
    labels: int = Field(ge=0, description="labels there are now (count)")
    further: int = Field(gt=0, description="further labels that the gain is of (count)")
    now: Interval = Field(description="accuracy with the labels there are, by the law (0 to 1)")
    gain: Interval = Field(description="accuracy that the further labels would bring (0 to 1)")
    ceiling: Interval = Field(
        description="accuracy that no number of labels would bring it beyond, by the law (0 to 1)"
    )
    learner: str = Field(description="what was trained on so many labels, for people")


NOT_MEASURED = Undefined(reason="What labels have taught was not measured: give heed labels, then heed report.")


class KnownReward(Record):
    """What a reward model of the project reached with the labels that it had."""

    labels: int = Field(ge=0, description="comparisons learned from and held out (count)")
    accuracy: float = Field(ge=0, le=1, description="share of its held-out comparisons ordered rightly")


class LabelsWorth(Record):
    """What labels have taught, and what further ones would bring."""

    verdict: str = Field(description="it in a sentence, for people")
    curve: LearningCurve = Field(description="how accuracy grew with labels")
    rewards: list[KnownReward] = Field(description="the project's reward models so far")


def fit_power_law(labels: Array, errors: Array, weights: Array) -> list[PowerLaw]:
    """The law that comes nearest to each row of errors, by weighted least squares.

    For each of a grid of exponents the best floor and scale, neither below 0, are closed forms; the best exponent is taken.

    Args:
        labels: [S], sizes, above 0.
        errors: [R, S].
        weights: [S], of each size, above 0.
    """
    best = np.full(len(errors), np.inf)
    found = np.zeros((len(errors), 3))
    for exponent in _EXPONENTS:
        falling = labels**-exponent
        floor, scale = _line(falling, errors, weights)
        loss = (((errors - floor[:, None] - scale[:, None] * falling) ** 2) * weights).sum(axis=1)
        better = loss < best - 1e-15
        best = np.where(better, loss, best)
        found[better] = np.stack([floor, scale, np.full(len(errors), exponent)], 1)[better]
    return [PowerLaw(floor=row[0], scale=row[1], exponent=row[2]) for row in found.tolist()]


def _line(x: Array, y: Array, w: Array) -> tuple[Array, Array]:
    """Intercepts and slopes [R], at least 0, of the lines nearest to the rows of ``y`` [R, S] over ``x`` [S]."""
    total, mean = w.sum(), float(w @ x / w.sum())
    means = y @ w / total
    spread = float(w @ (x - mean) ** 2)
    slope = (y - means[:, None]) @ (w * (x - mean)) / spread
    level = means - slope * mean
    # Where one of them would be negative, the best with that one at 0.
    through = np.maximum(y @ (w * x) / float(w @ x**2), 0.0)
    flat = slope < 0
    low = (level < 0) & ~flat
    return np.where(flat, means, np.where(low, 0.0, level)), np.where(flat, 0.0, np.where(low, through, slope))


def learning_curve(
    sizes: Sequence[float],
    right: NDArray[np.float64],
    counted: NDArray[np.float64],
    labels: int,
    further: int = 100,
    learner: str = "",
    confidence: float = 0.95,
    seed: int = 0,
) -> LearningCurve | Undefined:
    """The curve through measured accuracies, with intervals from drawing prompts and repetitions anew.

    Both are drawn with replacement (Owen 2007, "The Pigeonhole Bootstrap"): what was held out could have been other prompts,
    what was learned from other labels. Each draw has its own law, and its own gain.

    Args:
        sizes: [S], labels learned from, rising.
        right: [K, P, S], of repetition k and held-out prompt p: weight of its comparisons ordered rightly after so many labels.
        counted: [K, P], weight of all of them.
        labels: labels there are (count).
        further: how many more are asked about (count).
        learner: what was trained, for people.
        confidence: coverage of the intervals.
        seed: of the draws.

    Raises:
        DataError: the shapes do not fit together.
    """
    n = np.asarray(sizes, np.float64)
    if right.shape != (*counted.shape, n.size):
        raise DataError(f"accuracies of shape {right.shape}", "they do not fit the sizes.", "Pass [K, P, S].")
    prompts = int((counted.sum(axis=0) > 0).sum())
    if n.size < _FEWEST_SIZES or prompts < _FEWEST_PROMPTS:
        return Undefined(
            reason=f"A curve takes {_FEWEST_SIZES} sizes and {_FEWEST_PROMPTS} prompts with comparisons; "
            f"there are {n.size} and {prompts}."
        )
    shares = right.sum(axis=(0, 1)) / counted.sum()
    drawn = _drawn_shares(right, counted, np.random.default_rng(seed))
    weights = 1 / np.maximum(drawn.var(axis=0), 1e-8)
    laws = fit_power_law(n, 1 - np.concatenate([shares[None], drawn]), weights)
    ends = np.array([[law.accuracy(labels), law.accuracy(labels + further)] for law in laws])
    method, size = "pigeonhole bootstrap over prompts and repetitions", int(np.count_nonzero(counted))

    def interval(value: float, draws: Array) -> Interval:
        low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
        return Interval(
            estimate=value,
            low=min(float(low), value),
            high=max(float(high), value),
            confidence=confidence,
            prompts=prompts,
            n=size,
            method=method,
        )

    gains = ends[:, 1] - ends[:, 0]
    points = [
        CurvePoint(labels=float(n[place]), accuracy=interval(float(shares[place]), drawn[:, place]))
        for place in range(n.size)
    ]
    return LearningCurve(
        points=points,
        law=laws[0],
        labels=labels,
        further=further,
        now=interval(float(ends[0, 0]), ends[1:, 0]),
        gain=interval(float(gains[0]), gains[1:]),
        ceiling=interval(1 - laws[0].floor, 1 - np.array([law.floor for law in laws[1:]])),
        learner=learner,
    )


def _drawn_shares(right: Array, counted: Array, rng: np.random.Generator) -> Array:
    """Accuracies [draws, S] with repetitions and prompts drawn anew."""
    repetitions, prompts = counted.shape
    of_prompts = rng.multinomial(prompts, np.full(prompts, 1 / prompts), _DRAWS).astype(np.float64)
    of_repetitions = rng.multinomial(repetitions, np.full(repetitions, 1 / repetitions), _DRAWS).astype(np.float64)
    told = np.einsum("dk,dp,kps->ds", of_repetitions, of_prompts, right, optimize=True)
    total = np.einsum("dk,dp,kp->d", of_repetitions, of_prompts, counted, optimize=True)
    return np.asarray(told / np.maximum(total, 1e-12)[:, None])


def surely_too_dear(curve: LearningCurve | Undefined, label_cost: float, accuracy_value: float) -> bool:
    """Whether further labels are surely worth less than they cost: the whole interval of the gain is.

    Args:
        curve, label_cost, accuracy_value: as in :func:`sentence`; False where one of the two prices is 0, which is not said.
    """
    if isinstance(curve, Undefined) or not (label_cost > 0 and accuracy_value > 0):
        return False
    return 100 * (curve.gain.high or 0.0) * accuracy_value < curve.further * label_cost


def sentence(curve: LearningCurve | Undefined, label_cost: float = 0.0, accuracy_value: float = 0.0) -> str:
    """What the next labels would bring, and whether they are worth it, in words.

    Args:
        curve: what was measured.
        label_cost: of one label, in whatever one pays with; 0: nobody said.
        accuracy_value: of one percentage point of accuracy, in the same; 0: nobody said.
    """
    if isinstance(curve, Undefined):
        return f"What further labels would bring is unknown: {curve.reason}"
    gain, low, high = (100 * (value or 0.0) for value in (curve.gain.estimate, curve.gain.low, curve.gain.high))
    text = (
        f"The next {curve.further:,} labels would raise accuracy by {gain:.2f} points ({low:.2f} to {high:.2f}), from "
        f"{100 * (curve.now.estimate or 0.0):.1f} % with the {curve.labels:,} there are; the curve levels off at about "
        f"{100 * (curve.ceiling.estimate or 0.0):.0f} % ({100 * (curve.ceiling.low or 0.0):.0f} to "
        f"{100 * (curve.ceiling.high or 0.0):.0f})."
    )
    if curve.further > _FARTHEST * curve.labels:
        text += f" That is over {_FARTHEST} times as many labels as there are: so far beyond what was measured it is a guess."
    if not (label_cost > 0 and accuracy_value > 0):
        return text
    cost, worth = curve.further * label_cost, gain * accuracy_value
    least, most = low * accuracy_value, high * accuracy_value
    told = f" They would cost {cost:,.6g} and be worth {worth:,.6g} ({least:,.6g} to {most:,.6g})"
    if surely_too_dear(curve, label_cost, accuracy_value):
        return f"{text}{told}: stop, a further label is surely worth less than it costs."
    if least > cost:
        return f"{text}{told}: go on, a further label is surely worth more than it costs."
    side = "more" if worth > cost else "less"
    return f"{text}{told}: probably {side} than they cost, but that is not sure."
