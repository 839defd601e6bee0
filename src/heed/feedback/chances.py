"""Estimates from what was asked, corrected for how it was chosen.

Whoever picks what to ask sees what is hard, or what differs, more often than it is usual; a mean over the answers is then no
mean over all that could have been asked. The probability of every choice is known, so each answer can be weighed by how many
of a uniform draw it stands for. A choice that was very improbable would outweigh all others: weights are clipped, which trades
a little bias for much variance, and how many were clipped is said (Ionides 2008, "Truncated Importance Sampling").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from heed.errors import DataError
from heed.feedback.studio_schema import answer_feedback, answers, showings
from heed.lazily import np
from heed.statistics import Array, Interval, weighted_mean_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST = 20.0
"""No answer stands for more than this many of a uniform draw."""


def chance_weights(probabilities: ArrayLike, eligible: ArrayLike) -> Array:
    """How many of a uniform draw each choice stands for [N]: one over its probability times how many it was chosen from.

    Horvitz and Thompson 1952: the mean of weight times value is unbiased for the mean over what could have been chosen.

    Args:
        probabilities: [N], of each choice, above 0 and at most 1.
        eligible: [N], what it was chosen from (count).

    Raises:
        DataError: a probability is none, or a count below 1.
    """
    p, n = np.asarray(probabilities, np.float64), np.asarray(eligible, np.float64)
    if p.shape != n.shape or not ((p > 0) & (p <= 1) & (n >= 1)).all():
        raise DataError("the probabilities of choices", "one is not within 0 and 1.", "Pass those that were recorded.")
    return 1 / (p * n)


def clipped(weights: Array, most: float = MOST) -> tuple[Array, int]:
    """``weights`` [N], none above ``most``, and how many were."""
    return np.minimum(weights, most), int((weights > most).sum())


def corrected_mean(
    values: ArrayLike,
    weights: ArrayLike,
    prompt_ids: Sequence[str],
    confidence: float = 0.95,
    most: float = MOST,
    shares: bool = False,
) -> Interval:
    """Mean of ``values`` over all that could have been asked, from those that were, self-normalised.

    Args:
        values: [N], of what was asked.
        weights: [N], how many of a uniform draw each stands for.
        prompt_ids: [N].
        confidence: coverage that the interval aims at.
        most: weights are clipped to this; infinity clips none.
        shares: whether the values are within 0 and 1.

    Raises:
        DataError: a value is not finite, or the lengths differ.
    """
    kept, cut = clipped(np.asarray(weights, np.float64), most)
    found = weighted_mean_interval(values, kept, prompt_ids, confidence, shares)
    told = f"; inverse-probability weights, self-normalised, {cut:,} of {kept.size:,} clipped to {most:g}"
    return found.model_copy(update={"method": found.method + told})


def studio_weights(connection: Connection) -> dict[str, float]:
    """How many of a uniform draw each judgment from the studio stands for, by the judgment's id.

    Only of work: what came as gold, for a second time or for training was no choice among open items.
    """
    query = (
        select(answer_feedback.c.feedback_id, showings.c.probability, showings.c.eligible)
        .join(answers, answers.c.id == answer_feedback.c.answer_id)
        .join(showings, showings.c.id == answers.c.showing_id)
        .where(showings.c.purpose == "work", showings.c.selector != "elsewhere")
    )
    return {row.feedback_id: 1 / (row.probability * row.eligible) for row in connection.execute(query)}


def weights_of(ids: Sequence[str], known: Mapping[str, float]) -> Array:
    """Weights of judgments [N]; whatever nobody chose (imported, or asked in its order) stands for itself."""
    return np.array([known.get(identity, 1.0) for identity in ids])
