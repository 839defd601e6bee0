"""Good or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from heed.feedback.fields.base import Level, PerCompletionField
from heed.feedback.kinds import AnyFeedback, Thumb
from heed.texts import shown


class ThumbField(PerCompletionField):
    """A thumb up (true) or down (false) for each completion."""

    kind: Literal["thumb"] = "thumb"

    def check_one(self, entry: Any) -> Any:
        if not isinstance(entry, bool):
            raise ValueError(f"a thumb is true or false, not {shown(entry)}")
        return entry

    def feedback_of_one(self, entry: Any, text: str, common: Mapping[str, Any]) -> list[AnyFeedback]:
        return [Thumb(**common, up=entry)]

    def agreement_of_one(self, entry: Any, expected: Any) -> float | None:
        return float(entry is expected)

    def comparable(self, value: Any) -> dict[str, tuple[Level, str | float]]:
        return {
            f"{self.name}@{position}": ("nominal", "up" if entry else "down")
            for position, entry in enumerate(value)
            if entry is not None
        }
