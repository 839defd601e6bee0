"""What the methods of aggregation come to: a probability for each class of each item, and a table of the raters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from heed.lazily import np
from heed.raters.accuracy import RaterTable, rater_table, undefined_table
from heed.raters.direction import Direction, camps_against, direction_of
from heed.raters.votes import Codes, Votes
from heed.statistics import Array

_TIED = 1e-9
_EITHER_WAY = "Which label is which is not known: whoever is right one way round is wrong the other."


@dataclass(frozen=True)
class Consensus:
    """The classes of items as votes tell them.

    Attributes:
        votes: what it was made from.
        method: the name of the method.
        fitted: probability [items, classes] of each class, in the order of the classes that was found.
        prior: how common each class is [classes].
        confusion: what each rater says of each class [raters, classes true, classes said]; where that depends on the item,
            of a middling one.
        log_likelihood: of the votes, and of the known labels, under the fitted model (nats).
        iterations: how many it took.
        converged: whether nothing moved any more at the end.
        gold: known labels [items] that were fixed, -1 where there are none.
        row_prior: answers that were added to each row of a confusion matrix; None where raters have one number for all rows.
        witness: makes a consensus of the same votes by a method that knows of raters who turn labels around, where this method
            does not and so cannot say whether there are any.
    """

    votes: Votes
    method: str
    fitted: Array
    prior: Array
    confusion: Array
    log_likelihood: float
    iterations: int
    converged: bool
    gold: Codes
    row_prior: float | None = None
    witness: Callable[[], Consensus] | None = None

    @cached_property
    def direction(self) -> Direction:
        """What says that the classes are in this order and not in another."""
        if self.witness is not None:
            return camps_against(self.method, self.witness().direction)
        return direction_of(self.votes, self.fitted, self.prior, self.confusion, self.gold)

    @cached_property
    def probabilities(self) -> Array:
        """Probability [items, classes] of each class.

        Where the order of the classes cannot be known, both orders count alike: which of two labels it is stays open.
        """
        turned = self.direction.turned_order
        if self.direction.by != "unidentifiable" or turned is None:
            return self.fitted
        found = (self.fitted + self.fitted[:, np.argsort(turned)]) / 2
        known = self.gold >= 0
        found[known] = self.fitted[known]
        return found

    @cached_property
    def raters(self) -> RaterTable:
        """How far each rater is right, with intervals.

        Where the order of the classes cannot be known, neither can this: whoever is right by one order is wrong by the other.
        """
        if self.direction.by == "unidentifiable":
            return undefined_table(self.votes, _EITHER_WAY)
        return rater_table(self.votes, self.fitted, self.prior, self.confusion, self.gold, self.row_prior)

    def labels(self) -> Codes:
        """The likeliest class [items]; -1 where two are equally likely."""
        if self.probabilities.shape[1] == 1:
            return np.zeros(len(self.votes.items), np.intp)
        ordered = np.sort(self.probabilities, axis=1)
        tied = ordered[:, -1] - ordered[:, -2] < _TIED
        return np.where(tied, -1, self.probabilities.argmax(axis=1))

    def chances(self, item: Codes, rater: Codes) -> Array:
        """What ``rater`` [n] would say of ``item`` [n]: probabilities [n, classes]."""
        return np.einsum("nk,nkl->nl", self.fitted[item], self.confusion[rater])
