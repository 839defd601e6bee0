"""GLAD: raters differ in ability, and items in how hard they are (Whitehill et al. 2009, "Whose Vote Should Count More").

Rater r is right about item i with chance sigmoid(ability_r * ease_i); ability may be below zero, which is a rater who turns
labels around, ease is above zero. A wrong label is any of the others alike. Ability and log-ease have the paper's Gaussian
priors of mean 1 and variance 1 (section 3.1). Step M of EM is one step of Fisher scoring in the abilities and one in the
log-eases, shortened where it would lead down, instead of a whole ascent by gradients: many short climbs are quicker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from heed.lazily import np
from heed.raters.bradley_terry import sigmoid
from heed.raters.consensus import Consensus
from heed.raters.labels import LEAST, check_votes, checked_gold, confusion_of, posterior
from heed.raters.votes import Codes, Mask, Votes
from heed.statistics import Array

_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class GladConsensus(Consensus):
    """A consensus whose raters have an ``ability`` [raters] and whose items have an ``ease`` [items], 1 / difficulty."""

    ability: Array
    ease: Array

    def chances(self, item: Codes, rater: Codes) -> Array:
        """As :meth:`Consensus.chances`, each item as easy as it is."""
        likely, classes = self.fitted[item], self.fitted.shape[1]
        if classes == 1:
            return likely
        right = sigmoid(self.ability[rater] * self.ease[item])[:, None]
        return likely * right + (1 - likely) * (1 - right) / (classes - 1)


def glad(votes: Votes, gold: Codes | None = None, *, iterations: int = 2000, tolerance: float = 1e-8) -> GladConsensus:
    """Classes, abilities and difficulties from votes.

    Args:
        votes: what was said.
        gold: the known label of each item [items], -1 where it is not known; such items are fixed.
        iterations: most iterations.
        tolerance: relative gain of height at which it ends.

    Raises:
        DataError: there are no votes, too many classes, or ``gold`` does not fit.
    """
    check_votes(votes)
    known = checked_gold(votes, gold)
    hill = Hill(votes, known)
    climbs = [hill.climb(start, iterations, tolerance) for start in hill.starts()]
    place, steps, settled = max(climbs, key=lambda climb: climb[0].height)
    ease, classes = np.exp(place.log_ease), len(votes.labels)
    middling = sigmoid(place.ability * float(np.median(ease)))
    wrong = ((1 - middling) / max(classes - 1, 1))[:, None, None]
    return GladConsensus(
        votes=votes,
        method="GLAD",
        fitted=np.ascontiguousarray(place.probabilities.T),
        prior=place.prior,
        confusion=confusion_of(
            np.maximum(np.where(np.eye(classes, dtype=bool), middling[:, None, None], wrong), LEAST)
        ),
        log_likelihood=place.log_likelihood,
        iterations=steps,
        converged=settled,
        gold=known,
        ability=place.ability,
        ease=ease,
    )


@dataclass(frozen=True)
class Place:
    """A place on the hill: abilities [raters], log-eases [items], how common the classes are [classes], and what they give.

    ``probabilities`` [classes, items] are those of the classes there; ``height`` is the log-likelihood with the priors.
    """

    ability: Array
    log_ease: Array
    prior: Array
    probabilities: Array
    log_likelihood: float
    height: float


class Hill:
    """The likelihood of the votes, and of known labels, as something to climb."""

    def __init__(self, votes: Votes, gold: Codes) -> None:
        self._votes, self._gold = votes, gold
        self._items, self._raters, self._classes = votes.shape
        self._cell = votes.label * self._items + votes.item

    def starts(self) -> list[Place]:
        """Where to begin: everybody able alike; and, where labels are known, as able as these alone show."""
        alike, log_ease = np.ones(self._raters), np.ones(self._items)
        flat = np.full(self._classes, 1 / self._classes)
        found = [self.place(alike, log_ease, flat)]
        known = self._gold[self._votes.item] >= 0
        if known.any():
            right = (self._votes.label == self._gold[self._votes.item])[known]
            raters = self._votes.rater[known]
            hits = _sums(raters, right, self._raters) + 0.5
            misses = _sums(raters, ~right, self._raters) + 0.5
            found.append(self.place(np.log(hits / misses) / np.e, log_ease, flat))
        return found

    def place(self, ability: Array, log_ease: Array, prior: Array) -> Place:
        """What votes and priors say of these numbers (step E)."""
        x = ability[self._votes.rater] * np.exp(log_ease)[self._votes.item]
        others = np.log(max(self._classes - 1, 1))
        wrong = _sums(self._votes.item, -np.logaddexp(0, x) - others, self._items)
        gain = _sums(self._cell, x + others, self._items * self._classes)
        joint = gain.reshape(self._classes, self._items) + wrong + np.log(prior)[:, None]
        probabilities, evidence = posterior(joint, self._gold)
        likelihood = float(evidence.sum())
        off = float(((ability - 1) ** 2).sum() + ((log_ease - 1) ** 2).sum())
        return Place(ability, log_ease, prior, probabilities, likelihood, likelihood - off / 2)

    def slope_in_ability(self, place: Place) -> tuple[Array, Array]:
        """How the height rises with each ability [raters], and the Fisher information on it."""
        rater, ease = self._votes.rater, np.exp(place.log_ease)[self._votes.item]
        right = sigmoid(place.ability[rater] * ease)
        more = (place.probabilities[self._votes.label, self._votes.item] - right) * ease
        rise = _sums(rater, more, self._raters) - (place.ability - 1)
        return rise, _sums(rater, right * (1 - right) * ease**2, self._raters) + 1

    def slope_in_ease(self, place: Place) -> tuple[Array, Array]:
        """How the height rises with the logarithm of each ease [items], and the Fisher information on it."""
        item = self._votes.item
        x = place.ability[self._votes.rater] * np.exp(place.log_ease)[item]
        right = sigmoid(x)
        more = (place.probabilities[self._votes.label, item] - right) * x
        rise = _sums(item, more, self._items) - (place.log_ease - 1)
        return rise, _sums(item, right * (1 - right) * x**2, self._items) + 1

    def climb(self, place: Place, iterations: int, tolerance: float) -> tuple[Place, int, bool]:
        """Climb from ``place``: where it ends, after how many steps, and whether it is the top."""
        length = 1.0
        for step in range(1, iterations + 1):
            rise, information = self.slope_in_ability(place)
            ability = place.ability + length * rise / information
            rise, information = self.slope_in_ease(replace(place, ability=ability))
            log_ease = place.log_ease + length * rise / information
            new = self.place(ability, log_ease, np.maximum(place.probabilities.mean(axis=1), LEAST))
            if not new.height >= place.height - _ROUNDING * abs(place.height):
                length /= 2
                continue
            gained, place = new.height - place.height, new
            if gained < tolerance * length * abs(place.height):
                return place, step, True
            length = min(1.0, 1.5 * length)
        return place, iterations, False


def _sums(codes: Codes, values: Array | Mask, size: int) -> Array:
    """The sum [size] of the values of each code."""
    return np.bincount(codes, weights=values, minlength=size).astype(np.float64, copy=False)
