"""Completions in order, with ties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

from heed.feedback.fields.base import MOST_COMPLETIONS, BaseField, Flag, Judged, Level, index_of, inverse, keys_of
from heed.feedback.kinds import AnyFeedback, Ranking
from heed.texts import shown


class RankingField(BaseField):
    """Best first; equals share a group; what a rater cannot place stays out, as long as two are ranked.

    Answers: ``{"groups": [[0, 2], [1]]}``.

    Attributes:
        partial: whether completions may stay out.
    """

    kind: Literal["ranking"] = "ranking"
    partial: Flag = True

    def item_fault(self, completions: int) -> str | None:
        if 2 <= completions <= MOST_COMPLETIONS:
            return None
        return f"it ranks 2 to {MOST_COMPLETIONS} completions, not {completions}"

    def check(self, value: Any, completions: int) -> Any:
        if value is None:
            return None
        groups = keys_of(value, ("groups",)).get("groups")
        if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
            raise ValueError(f"the groups are lists of places, not {shown(groups)}")
        if not groups:
            return None
        if len(groups) > completions or any(not 0 < len(group) <= completions for group in groups):
            raise ValueError(f"{completions} completions make no {len(groups)} groups of this size, none of them empty")
        ranked = [index_of(place) for group in groups for place in group]
        beyond = [place for place in ranked if place >= completions]
        if beyond:
            raise ValueError(f"place {shown(beyond[0])} is beyond the {completions} completions, counted from 0")
        if len(set(ranked)) != len(ranked):
            raise ValueError("a completion is ranked twice")
        if len(ranked) < 2:
            raise ValueError("one ranked completion says nothing; at least two must be ranked")
        # Equals have no order among themselves.
        return {"groups": [sorted(index_of(place) for place in group) for group in groups]}

    def left_open(self, value: Any, completions: int) -> str | None:
        left = completions - sum(len(group) for group in value["groups"])
        return f"{left} of {completions} completions are not ranked" if left and not self.partial else None

    def to_item(self, value: Any, shown_order: Sequence[int]) -> Any:
        return _moved(value, shown_order)

    def to_shown(self, value: Any, shown_order: Sequence[int]) -> Any:
        return _moved(value, inverse(shown_order))

    def feedback(self, value: Any, judged: Judged) -> list[AnyFeedback]:
        return [
            Ranking(
                **judged.common,
                completion_ids=judged.completion_ids,
                shown_order=judged.shown_order,
                groups=tuple(tuple(group) for group in value["groups"]),
            )
        ]

    def agreement(self, value: Any, expected: Any) -> float | None:
        given = dict(_pairs(value)) if value else {}
        same = [given.get(pair) == relation for pair, relation in _pairs(expected)]
        return sum(same) / len(same)

    def comparable(self, value: Any) -> dict[str, tuple[Level, str | float]]:
        return {f"{self.name}.{pair[0]}-{pair[1]}": ("nominal", relation) for pair, relation in _pairs(value)}


def _moved(value: dict[str, Any], to: Sequence[int]) -> dict[str, Any]:
    return {"groups": [sorted(to[place] for place in group) for group in value["groups"]]}


def _pairs(value: dict[str, Any]) -> Iterator[tuple[tuple[int, int], str]]:
    """How each two of the ranked stand to each other."""
    rank = {position: number for number, group in enumerate(value["groups"]) for position in group}
    for pair in combinations(sorted(rank), 2):
        first, second = rank[pair[0]], rank[pair[1]]
        yield pair, "tie" if first == second else "first" if first < second else "second"
