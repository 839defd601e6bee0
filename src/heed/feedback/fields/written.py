"""What the rater would have written: a completion mended, or an answer of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from heed.feedback.fields.base import BaseField, Judged, PerCompletionField, text_of
from heed.feedback.kinds import AnyFeedback, Demonstration, Edit


class EditField(PerCompletionField):
    """Each completion as it should read. The text as it was says that there is nothing to mend, and is no feedback."""

    reads_texts: ClassVar[bool] = True

    kind: Literal["edit"] = "edit"

    def check_one(self, entry: Any) -> Any:
        if not text_of(entry).strip():
            raise ValueError("the edited text is empty")
        return entry

    def feedback_of_one(self, entry: Any, text: str, common: Mapping[str, Any]) -> list[AnyFeedback]:
        return [] if entry == text else [Edit(**common, edited=entry)]


class DemonstrationField(BaseField):
    """The rater's own answer to the prompt."""

    kind: Literal["demonstration"] = "demonstration"

    def item_fault(self, completions: int) -> str | None:
        return None

    def check(self, value: Any, completions: int) -> Any:
        if value is None or not text_of(value).strip():
            return None
        return value

    def feedback(self, value: Any, judged: Judged) -> list[AnyFeedback]:
        return [Demonstration(**judged.common, text=value)]
