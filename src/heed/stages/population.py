"""What the answers of each rater count, so that their groups weigh as much as among the people whom a reward is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from heed.errors import DataError
from heed.raters.population import reweighted
from heed.stages.judgments import Judgment


@dataclass(frozen=True)
class Standing:
    """For how many the answers stand.

    Attributes:
        by_rater: what one answer counts, 1 where it is not named and on average over all.
        by_group: the same.
        answers: there are (count).
        effective: as many answers that count alike would tell as much (count).
    """

    by_rater: Mapping[str, float] = field(default_factory=dict)
    by_group: Mapping[str, float] = field(default_factory=dict)
    answers: int = 0
    effective: float = 0.0

    def metrics(self) -> dict[str, Any]:
        """For the card; nothing where all count alike."""
        return {"population": {"counts": dict(self.by_group), "effective": self.effective}} if self.by_group else {}

    def told(self) -> str:
        """A sentence about it."""
        counts = ", ".join(f"{group} {weight:.2f}" for group, weight in self.by_group.items())
        return (
            f"an answer counts by the group of its rater: {counts}; the {self.answers:,} answers tell as much as "
            f"{self.effective:,.0f} that count alike"
        )


def standing_of(rows: Sequence[Judgment], groups: Mapping[str, str], population: Mapping[str, float]) -> Standing:
    """What answers count, by ``heed.raters.population``.

    Args:
        rows: the answers.
        groups: of each rater.
        population: share of each group, 0 to 1; empty lets all count alike.

    Raises:
        DataError: a rater belongs to no group, or the groups of the answers and of the population are not the same.
    """
    if not population:
        return Standing()
    raters = sorted({row.rater for row in rows})
    without = [rater for rater in raters if not groups.get(rater)]
    if without:
        some = ", ".join(f"'{rater}'" for rater in without[:3]) + (" and others" if len(without) > 3 else "")
        raise DataError(
            "reward.population",
            f"{len(without):,} of {len(raters):,} raters belong to no group: {some}.",
            "Give each rater's group (on the board, under people, or as raters.simulated), or leave population out.",
        )
    found = reweighted([groups[row.rater] for row in rows], population)
    by_rater = {rater: found.weights[groups[rater]] for rater in raters}
    return Standing(by_rater, found.weights, found.answers, found.effective)
