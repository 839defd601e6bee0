"""Which of two is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from heed.feedback.fields.base import BaseField, Flag, Judged, Level, inverse, keys_of
from heed.feedback.kinds import AnyFeedback, Comparison
from heed.texts import shown

_SHOWN = ("left", "right")
_ITEM = ("a", "b")


class ComparisonField(BaseField):
    """Left or right; and where allowed a tie, both bad, and by how much (1 slightly, 2 clearly, 3 by far).

    Answers: ``{"choice": "left" | "right" | "tie" | "both_bad", "strength": 1 | 2 | 3 | None}``; in item order the
    choice is ``"a"`` or ``"b"`` in place of left or right.
    """

    kind: Literal["comparison"] = "comparison"
    tie: Flag = True
    both_bad: Flag = True
    strength: Flag = True

    def item_fault(self, completions: int) -> str | None:
        return None if completions == 2 else f"it compares 2 completions, not {completions}"

    def check(self, value: Any, completions: int) -> Any:
        if value is None:
            return None
        values = keys_of(value, ("choice", "strength"))
        choice, strength = values.get("choice"), values.get("strength")
        allowed = [*_SHOWN, *["tie"] * self.tie, *["both_bad"] * self.both_bad]
        if not isinstance(choice, str) or choice not in allowed:
            raise ValueError(f"the choice is {shown(choice)}; it is one of {', '.join(allowed)}")
        if strength is not None:
            if not self.strength:
                raise ValueError("it does not ask by how much")
            if isinstance(strength, bool) or strength not in (1, 2, 3):
                raise ValueError(f"the strength is {shown(strength)}; it is 1, 2 or 3")
            if choice not in _SHOWN:
                raise ValueError(f"a strength needs a winner, but the choice is '{choice}'")
        return {"choice": choice, "strength": None if strength is None else int(strength)}

    def to_item(self, value: Any, shown_order: Sequence[int]) -> Any:
        return _renamed(value, {place: _ITEM[position] for place, position in zip(_SHOWN, shown_order, strict=True)})

    def to_shown(self, value: Any, shown_order: Sequence[int]) -> Any:
        return _renamed(value, {name: _SHOWN[place] for name, place in zip(_ITEM, inverse(shown_order), strict=True)})

    def feedback(self, value: Any, judged: Judged) -> list[AnyFeedback]:
        return [
            Comparison(
                **judged.common,
                completion_ids=judged.completion_ids,
                shown_order=judged.shown_order,
                choice=value["choice"],
                strength=value["strength"],
            )
        ]

    def agreement(self, value: Any, expected: Any) -> float | None:
        return float(value is not None and value["choice"] == expected["choice"])

    def comparable(self, value: Any) -> dict[str, tuple[Level, str | float]]:
        return {self.name: ("nominal", value["choice"])}


def _renamed(value: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {**value, "choice": names.get(value["choice"], value["choice"])}
