"""GLAD: raters differ in ability, and items in how hard they are (Whitehill et al. 2009, "Whose Vote Should Count More").

Rater r is right about item i with chance sigmoid(ability_r * ease_i); ability may be below zero, which is a rater who turns
labels around, ease is above zero. A wrong label is any of the others alike. Ability and log-ease have the paper's Gaussian
priors of mean 1 and variance 1 (section 3.1). The paper climbs by EM with a gradient in step M; here the same height, the
likelihood of the votes with the priors, is climbed directly: its gradient is that of step M at the present probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

from heed.lazily import np
from heed.raters.consensus import Consensus
from heed.raters.labels import LEAST, check_votes, checked_gold, posterior
from heed.raters.votes import Codes, Votes
from heed.statistics import Array


@dataclass(frozen=True, kw_only=True)
class GladConsensus(Consensus):
    """A consensus whose raters have an ``ability`` [raters] and whose items have an ``ease`` [items], 1 / difficulty."""

    ability: Array
    ease: Array

    def chances(self, item: Codes, rater: Codes) -> Array:
        """As :meth:`Consensus.chances`, each item as easy as it is."""
        right = _sigmoid(self.ability[rater] * self.ease[item])[:, None]
        classes = self.fitted.shape[1]
        likely = self.fitted[item]
        return likely * right + (1 - likely) * (1 - right) / max(classes - 1, 1)


def glad(votes: Votes, gold: Codes | None = None, *, iterations: int = 500, tolerance: float = 1e-9) -> GladConsensus:
    """Classes, abilities and difficulties from votes.

    Args:
        votes: what was said.
        gold: the known label of each item [items], -1 where it is not known; such items are fixed.
        iterations: most iterations of L-BFGS.
        tolerance: relative change of the height at which it ends.

    Raises:
        DataError: there are no votes, too many classes, or ``gold`` does not fit.
    """
    from scipy.optimize import minimize

    check_votes(votes)
    known = checked_gold(votes, gold)
    hill = Hill(votes, known)
    options = {"maxiter": iterations, "ftol": tolerance, "gtol": 1e-6, "maxfun": 2 * iterations}
    climbs = [minimize(hill.depth, start, jac=True, method="L-BFGS-B", options=options) for start in hill.starts()]
    climb = min(climbs, key=lambda found: float(found.fun))
    ability, ease, prior = hill.parts(climb.x)
    probabilities, evidence = posterior(hill.joint(ability, ease, prior), known)
    middling = _sigmoid(ability * float(np.median(ease)))
    classes = len(votes.labels)
    wrong = ((1 - middling) / max(classes - 1, 1))[:, None, None]
    return GladConsensus(
        votes=votes,
        method="GLAD",
        fitted=np.ascontiguousarray(probabilities.T),
        prior=prior,
        confusion=np.maximum(np.where(np.eye(classes, dtype=bool), middling[:, None, None], wrong), LEAST),
        log_likelihood=float(evidence.sum()),
        iterations=int(climb.nit),
        converged=bool(climb.success),
        gold=known,
        ability=ability,
        ease=ease,
    )


class Hill:
    """The height to climb, as a function of one vector: abilities [raters], log-eases [items], logits of classes [classes]."""

    def __init__(self, votes: Votes, gold: Codes) -> None:
        self._votes, self._gold = votes, gold
        self._items, self._raters, self._classes = votes.shape
        self._cell = votes.label * self._items + votes.item

    def starts(self) -> list[Array]:
        """Where to begin: everybody able alike; and, where labels are known, as able as these alone show."""
        flat = np.concatenate([np.ones(self._raters + self._items), np.zeros(self._classes)])
        known = self._gold[self._votes.item] >= 0
        if not known.any():
            return [flat]
        right = (self._votes.label == self._gold[self._votes.item])[known]
        raters = self._votes.rater[known]
        hits = np.bincount(raters, weights=right, minlength=self._raters) + 0.5
        misses = np.bincount(raters, weights=~right, minlength=self._raters) + 0.5
        informed = flat.copy()
        informed[: self._raters] = np.log(hits / misses) / np.e
        return [flat, informed]

    def parts(self, vector: Array) -> tuple[Array, Array, Array]:
        """Abilities [raters], eases [items] and how common the classes are [classes]."""
        ability, log_ease, logits = np.split(vector, [self._raters, self._raters + self._items])
        shares = np.exp(logits - logits.max())
        return ability, np.exp(log_ease), np.maximum(shares / shares.sum(), LEAST)

    def joint(self, ability: Array, ease: Array, prior: Array) -> Array:
        """Log-probability [classes, items] of each class together with all votes on the item."""
        x = ability[self._votes.rater] * ease[self._votes.item]
        others = np.log(max(self._classes - 1, 1))
        wrong = np.bincount(self._votes.item, weights=-np.logaddexp(0, x) - others, minlength=self._items)
        gain = np.bincount(self._cell, weights=x + others, minlength=self._items * self._classes)
        return np.asarray(gain.reshape(self._classes, self._items) + wrong + np.log(prior)[:, None], np.float64)

    def depth(self, vector: Array) -> tuple[float, Array]:
        """Minus the log-likelihood of votes and known labels and the priors, and its gradient."""
        ability, ease, prior = self.parts(vector)
        log_ease = vector[self._raters : self._raters + self._items]
        probabilities, evidence = posterior(self.joint(ability, ease, prior), self._gold)
        height = evidence.sum() - ((ability - 1) ** 2).sum() / 2 - ((log_ease - 1) ** 2).sum() / 2
        rater, item = self._votes.rater, self._votes.item
        able, easy = ability[rater], ease[item]
        slope = probabilities[self._votes.label, item] - _sigmoid(able * easy)
        of_ability = np.bincount(rater, weights=slope * easy, minlength=self._raters) - (ability - 1)
        of_ease = np.bincount(item, weights=slope * able * easy, minlength=self._items) - (log_ease - 1)
        of_classes = probabilities.sum(axis=1) - self._items * prior
        return -float(height), -np.concatenate([of_ability, of_ease, of_classes])


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit

    return np.asarray(expit(x))
