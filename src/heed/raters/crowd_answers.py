"""Comparisons by rater, and how likely scores and the shares of four ways to answer make them.

The model is that of :mod:`heed.raters.crowd_bt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from heed.lazily import np
from heed.raters.bradley_terry import Duels
from heed.statistics import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.intp]

HEEDS, INVERTS, LEFT, RIGHT = range(4)

WAYS_PRIOR = (4.0, 1.5, 1.25, 1.25)
"""Dirichlet prior of the shares: as if each rater had been seen to heed four times in eight.

The best point is sought by the logits of the shares, whose density there has each share to the power of its prior: the prior
alone then has its best point at its mean, and not where heeding is nearly all (MacKay 1998, "Choice of Basis for Laplace
Approximation", Machine Learning 33, section 2)."""

_CLOSE = 1e-2
"""The search ends where everything is this close to the best point, in about standard errors of its own."""

_LEAST_SHARE = 1e-9


OF_GOLD = ((1, 1, HEEDS, LEFT), (1, 0, INVERTS, RIGHT), (0, 1, INVERTS, LEFT), (0, 0, HEEDS, RIGHT))
"""Truth, what was said (1 left, 0 right), and the two ways in which one says so."""


@dataclass(frozen=True)
class CrowdAnswers:
    """The comparisons sorted by rater, those of gold apart; a tie is half an answer each way, in two rows.

    Columns [N]: ``left``, ``right``, ``rater``, ``sign`` (1 left was said, -1 right), ``weight`` (1, or a half).
    """

    left: Codes
    right: Codes
    rater: Codes
    sign: Array
    weight: Array
    starts: Codes
    sizes: Codes
    present: Codes
    gold_counts: Array
    items: int
    raters: int
    prior: float
    ways_prior: Array

    @classmethod
    def of(cls, duels: Duels, rater: Codes, gold: Array, raters: int, prior: float, ways_prior: Array) -> CrowdAnswers:
        unknown, tied = np.isnan(gold), duels.outcome == 0.5
        rows = np.concatenate([np.flatnonzero(unknown), np.flatnonzero(unknown & tied)])
        second = np.arange(rows.size) >= int(unknown.sum())
        order = np.argsort(rater[rows], kind="stable")
        rows, second = rows[order], second[order]
        sign = np.where((duels.outcome[rows] == 1.0) | (tied[rows] & ~second), 1.0, -1.0)
        present, starts, sizes = np.unique(rater[rows], return_index=True, return_counts=True)
        # Four kinds of gold answers a rater can give: left or right said, where left or right was better.
        counts = np.zeros((raters, 2, 2))
        told = np.flatnonzero(~unknown)
        truth = gold[told].astype(np.intp)
        for better in (0, 1):
            whose, said = rater[told][truth == better], duels.outcome[told][truth == better]
            counts[:, better, 1] = np.bincount(whose, said, raters)
            counts[:, better, 0] = np.bincount(whose, 1 - said, raters)
        return cls(
            left=duels.left[rows],
            right=duels.right[rows],
            rater=rater[rows],
            sign=sign,
            weight=np.where(tied[rows], 0.5, 1.0),
            starts=starts,
            sizes=sizes,
            present=present,
            gold_counts=counts,
            items=duels.items,
            raters=raters,
            prior=prior,
            ways_prior=ways_prior,
        )

    @property
    def gold_right(self) -> Array:
        """Answers to gold items [raters] that were right (count)."""
        return np.asarray(self.gold_counts[:, 0, 0] + self.gold_counts[:, 1, 1])

    def fit(self, scores: Array, ways: Array) -> tuple[Array, Array, float]:
        """Scores [items], shares [raters, 4] and loss of the best point near a start."""
        from scipy.optimize import minimize

        often = np.bincount(np.concatenate([self.left, self.right]), minlength=self.items)
        step = 1 / np.sqrt(often / 4 + self.prior)
        answers = np.bincount(self.rater, minlength=self.raters) + self.gold_counts.sum(axis=(1, 2))
        pace = 1 / np.sqrt(answers / 4 + self.ways_prior.sum() / 4)[:, None]

        def objective(x: Array) -> tuple[float, Array]:
            logits = x[self.items :].reshape(self.raters, 4) * pace
            loss, by_score, by_logit = self.posterior(x[: self.items] * step, logits)
            return loss, np.concatenate([by_score * step, (by_logit * pace).ravel()])

        begin = np.concatenate([scores / step, (np.log(ways) / pace).ravel()])
        options = {"maxcor": 20, "gtol": _CLOSE, "ftol": 1e-10, "maxiter": 2000, "maxfun": 4000}
        found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
        return (
            found.x[: self.items] * step,
            softmax(found.x[self.items :].reshape(self.raters, 4) * pace),
            float(found.fun),
        )

    def posterior(self, scores: Array, logits: Array) -> tuple[float, Array, Array]:
        """Negative log-posterior, and its gradients by scores [items] and by the logits of the shares [raters, 4]."""
        ways = softmax(logits)
        ahead, said, reads = self.said(scores, ways)
        seen = np.where(self.sign > 0, said, 1 - said)
        loss = -float(self.weight @ np.log(seen))
        # d loss / d P(left), then by the chain to each share and to the difference of the scores.
        slope = -self.weight * self.sign / seen
        by_ahead = slope * ahead
        by_difference = by_ahead * (1 - ahead) * reads
        pull = np.bincount(self.left, by_difference, self.items)
        by_score = pull - np.bincount(self.right, by_difference, self.items) + self.prior * scores
        by_share = np.zeros((self.raters, 4))
        if self.present.size:
            heeded, every = np.add.reduceat(by_ahead, self.starts), np.add.reduceat(slope, self.starts)
            by_share[self.present] = np.stack([heeded, every - heeded, every, np.zeros_like(every)], axis=1)
        loss, by_share = self._with_gold(loss, by_share, ways)
        loss += 0.5 * self.prior * float(scores @ scores) - float((np.log(ways) @ self.ways_prior).sum())
        by_share -= self.ways_prior / ways
        by_logit = ways * (by_share - (ways * by_share).sum(axis=1, keepdims=True))
        return loss, by_score, by_logit

    def said(self, scores: Array, ways: Array) -> tuple[Array, Array, Array]:
        """sigmoid(d), P(left) and the reliability of the rater, [N] each."""
        from scipy.special import expit

        ahead = expit(scores[self.left] - scores[self.right])
        # Sorted by rater, what belongs to one is repeated, which is much quicker than looking it up.
        mine = ways[self.present]
        reads = np.repeat(mine[:, HEEDS] - mine[:, INVERTS], self.sizes)
        unread = np.repeat(mine[:, INVERTS] + mine[:, LEFT], self.sizes)
        return ahead, unread + reads * ahead, reads

    def _with_gold(self, loss: float, by_share: Array, ways: Array) -> tuple[float, Array]:
        """What the answers to gold items add: whoever heeds is right there, whoever inverts is wrong."""
        counts = self.gold_counts
        if not counts.any():
            return loss, by_share
        for truth, said, one, other in OF_GOLD:
            share = ways[:, one] + ways[:, other]
            loss -= float(counts[:, truth, said] @ np.log(share))
            for way in (one, other):
                by_share[:, way] -= counts[:, truth, said] / share
        return loss, by_share

    def gold_favour(self, ways: Array) -> float:
        """By how much (nats) the answers to gold items favour these shares [raters, 4] over their mirror image, in which
        whoever heeds inverts: below 0 they speak against them."""

        def logprob(one: Array) -> float:
            said = [self.gold_counts[:, truth, side] @ np.log(one[:, a] + one[:, b]) for truth, side, a, b in OF_GOLD]
            return float(sum(said))

        return logprob(ways) - logprob(ways[:, [INVERTS, HEEDS, LEFT, RIGHT]])


def softmax(logits: Array) -> Array:
    spread = np.exp(logits - logits.max(axis=1, keepdims=True))
    # A share of nothing at all has no logarithm.
    shares = np.maximum(spread / spread.sum(axis=1, keepdims=True), _LEAST_SHARE)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
