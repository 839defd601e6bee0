"""What is wrong with each completion, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from heed.feedback.fields.base import Flag, Label, Level, PerCompletionField, index_of, keys_of, text_of
from heed.feedback.kinds import AnyFeedback, Critique, Span
from heed.texts import shown

LONGEST_NOTE = 20_000
MOST_SPANS = 200
_SPAN_KEYS = ("start", "end", "label", "note")


class CritiqueField(PerCompletionField):
    """Defects to tick, parts of the text to mark, and a note; all three empty says that nothing is wrong.

    Answers: for each completion ``{"defects": [...], "spans": [{"start", "end", "label", "note"}], "note": ""}``. A span
    counts characters (Unicode code points) of the raw text; its label is one of the defects, if the field has any.
    """

    reads_texts: ClassVar[bool] = True

    kind: Literal["critique"] = "critique"
    defects: Annotated[tuple[Label, ...], Field(max_length=40)] = ()
    spans: Flag = False
    note: Flag = True

    @model_validator(mode="after")
    def _asks_something(self) -> CritiqueField:
        if len(set(self.defects)) != len(self.defects):
            raise ValueError("a defect is named twice")
        if not (self.defects or self.spans or self.note):
            raise ValueError("it asks nothing: name defects, or let raters mark spans or write a note")
        return self

    def check_one(self, entry: Any) -> Any:
        values = keys_of(entry, ("defects", "spans", "note"))
        defects, spans = values.get("defects", []), values.get("spans", [])
        note = text_of(values.get("note", ""), LONGEST_NOTE)
        if not isinstance(defects, list) or not isinstance(spans, list):
            raise ValueError("defects and spans are lists")
        odd = [defect for defect in defects if not isinstance(defect, str) or defect not in self.defects]
        if odd:
            raise ValueError(f"{shown(odd[0])} is none of its defects")
        if spans and not self.spans:
            raise ValueError("it does not ask for spans")
        if note.strip() and not self.note:
            raise ValueError("it does not ask for a note")
        if len(spans) > MOST_SPANS:
            raise ValueError(f"{len(spans):,} spans are more than {MOST_SPANS}")
        return {
            "defects": [defect for defect in self.defects if defect in defects],
            "spans": sorted((self._span(span) for span in spans), key=lambda s: (s["start"], s["end"], s["label"])),
            "note": note if note.strip() else "",
        }

    def _span(self, span: Any) -> dict[str, Any]:
        values = keys_of(span, _SPAN_KEYS)
        start, end = index_of(values.get("start")), index_of(values.get("end"))
        if start >= end:
            raise ValueError(f"a span must end after it starts, not at {shown(end)} after {shown(start)}")
        label = text_of(values.get("label"), 200)
        if not label.strip() or (self.defects and label not in self.defects):
            raise ValueError(f"a span is labelled {shown(label)}, which is none of its defects")
        return {"start": start, "end": end, "label": label, "note": text_of(values.get("note", ""), LONGEST_NOTE)}

    def text_fault(self, value: Any, texts: Sequence[str]) -> str | None:
        for place, (entry, text) in enumerate(zip(value, texts, strict=True)):
            for span in (entry or {}).get("spans", []):
                if span["end"] > len(text):
                    return f"completion {place + 1}: a span ends at {shown(span['end'])}, beyond its {len(text):,} characters"
        return None

    def feedback_of_one(self, entry: Any, text: str, common: Mapping[str, Any]) -> list[AnyFeedback]:
        spans = tuple(Span(**span) for span in entry["spans"])
        return [Critique(**common, defects=tuple(entry["defects"]), spans=spans, note=entry["note"])]

    def agreement_of_one(self, entry: Any, expected: Any) -> float | None:
        if not self.defects:
            return None
        if entry is None:
            return 0.0
        given, wanted = set(entry["defects"]), set(expected["defects"])
        return len(given & wanted) / len(given | wanted) if given | wanted else 1.0

    def comparable(self, value: Any) -> dict[str, tuple[Level, str | float]]:
        return {
            f"{self.name}.{defect}@{position}": ("nominal", "yes" if defect in entry["defects"] else "no")
            for position, entry in enumerate(value)
            if entry is not None
            for defect in self.defects
        }
