"""The kinds of feedback: what one rater said about one item, validated when it is made and never changed afterwards.

Everything here is an immutable pydantic model. Ids are hashes of content, so the same judgment has the same id wherever
and whenever it is read, and nothing goes into a store twice. A kind that is one class here needs no other registration
than its place in ``AnyFeedback``.
"""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from heed.errors import DataError
from heed.texts import checked_name, text_fault

IMPORT_ORIGIN = "import"


def _storable(text: str) -> str:
    fault = text_fault(text)
    if fault:
        raise ValueError(fault)
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the text is empty")
    return text


def _without_minus_zero(number: float) -> float:
    return number + 0.0  # -0.0 equals 0.0 but would hash differently


def _not_a_number(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("a time is text like 2026-01-31T12:00:00Z; a bare number could be seconds or milliseconds")
    return value


def _whole(value: Any) -> Any:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not 1, 2 or 3")
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999 in UTC") from None


Text = Annotated[str, Field(strict=True), AfterValidator(_storable)]
NonBlank = Annotated[Text, AfterValidator(_not_blank)]
# As long as the ids that are made here: the database keeps no longer ones.
Id = Annotated[str, Field(strict=True, max_length=17), AfterValidator(_storable), AfterValidator(_not_blank)]
Name = Annotated[str, Field(strict=True), AfterValidator(checked_name)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False), AfterValidator(_without_minus_zero)]
Index = Annotated[int, Field(strict=True, ge=0)]
Time = Annotated[AwareDatetime, BeforeValidator(_not_a_number), AfterValidator(_in_utc)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


PromptContent = str | tuple[Message, ...]
"""A prompt: plain text that the model continues, or the turns of a conversation that it answers."""


# Made once: json.dumps would make another for every id.
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=datetime.isoformat
).encode


def _digest(prefix: str, canonical: str) -> str:
    try:
        return prefix + hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]
    except UnicodeEncodeError as error:
        raise DataError(
            "text that is not valid Unicode",
            f"it holds the lone surrogate U+{ord(canonical[error.start]):04X}, which has no UTF-8 form.",
            "Correct the text at its source.",
        ) from None


def prompt_id(content: PromptContent) -> str:
    """Id of a prompt: ``p`` and 16 hex digits of its content's SHA-256. A text and a one-message conversation differ.

    Raises:
        DataError: the text holds a lone surrogate.
    """
    return _digest(
        "p", _canonical(content if isinstance(content, str) else [[turn.role, turn.content] for turn in content])
    )


def completion_id(prompt_id: str, text: str, origin: str) -> str:
    """Id of a completion: ``c`` and 16 hex digits.

    Args:
        prompt_id: the prompt that it completes.
        text: the completion.
        origin: what wrote it: run id and sample index, so that two equal samples of a run remain two; or ``"import"``.

    Raises:
        DataError: the text holds a lone surrogate.
    """
    # As a list of the three; to write three texts by themselves is quicker, and an import does it for each of its texts.
    return _digest("c", f"[{_canonical(prompt_id)},{_canonical(text)},{_canonical(origin)}]")


class Feedback(_Record):
    """What every kind has in common: one rater's judgment of one item.

    Attributes:
        kind: which kind it is.
        rater: the rater's name.
        prompt_id: the prompt of the item.
        completion_ids: the completions of the item, in the item's own order: answers refer to positions in it.
        shown_order: place ``k`` on the screen showed ``completion_ids[shown_order[k]]``; None where it is not known.
        seconds: time the rater took (seconds).
        confidence: the rater's own confidence, 0 to 1.
        created: when it was given, UTC.
        source: where heed read it, for people; no part of the id.
        supersedes: id of the earlier feedback of this rater that this one corrects.
    """

    kind: str
    rater: Name
    prompt_id: Id
    completion_ids: tuple[Id, ...]
    shown_order: Annotated[tuple[Index, ...], Field(min_length=1)] | None = None
    seconds: Annotated[Number, Field(ge=0)] | None = None
    confidence: Annotated[Number, Field(ge=0, le=1)] | None = None
    created: Time
    source: Text = ""
    supersedes: Id | None = None

    @property
    def id(self) -> str:
        """``f`` and 16 hex digits: a hash of everything but ``source``.

        What is None stays out of it, so that an optional field added later leaves the ids of older feedback as they are.
        """
        return _digest("f", _canonical(self.model_dump(exclude={"source"}, exclude_none=True)))

    @model_validator(mode="after")
    def _item_is_sound(self) -> Feedback:
        ids, order = self.completion_ids, self.shown_order
        if len(set(ids)) != len(ids):
            raise ValueError("the same completion stands in the item twice")
        if order is not None and sorted(order) != list(range(len(ids))):
            raise ValueError(
                f"shown_order {list(order)} is not a permutation of the {len(ids)} completions, numbered from 0"
            )
        return self


One = Annotated[tuple[Id, ...], Field(min_length=1, max_length=1)]
Two = Annotated[tuple[Id, ...], Field(min_length=2, max_length=2)]


class Comparison(Feedback):
    """Which of two completions is better.

    ``a`` is ``completion_ids[0]`` and ``b`` is ``completion_ids[1]``, wherever they stood on the screen. ``strength``
    says by how much the winner is better: 1 slightly, 2 clearly, 3 by far; a tie or two bad ones have none.
    """

    kind: Literal["comparison"] = "comparison"
    completion_ids: Two
    choice: Literal["a", "b", "tie", "both_bad"]
    strength: Annotated[Literal[1, 2, 3], BeforeValidator(_whole)] | None = None

    @model_validator(mode="after")
    def _strength_has_a_winner(self) -> Comparison:
        if self.strength is not None and self.choice not in ("a", "b"):
            raise ValueError(f"strength {self.strength} needs a winner, but the choice is '{self.choice}'")
        return self


class Scale(_Record):
    """The values a rating may take: ``low`` to ``high``, in steps of ``step`` from ``low``; without steps if None."""

    low: Number
    high: Number
    step: Annotated[Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Scale:
        if not self.low < self.high or not math.isfinite(self.high - self.low):
            raise ValueError(f"a scale from {self.low:g} to {self.high:g} has no extent that can be worked with")
        if self.step is not None and not self._on_step(self.high):
            raise ValueError(f"steps of {self.step:g} from {self.low:g} do not reach {self.high:g}")
        return self

    def _on_step(self, score: float) -> bool:
        if self.step is None:
            return True
        steps = (score - self.low) / self.step
        # Decimal steps such as 0.1 are not exact in binary: a millionth of a step is rounding, not another value.
        return math.isfinite(steps) and abs(steps - round(steps)) <= 1e-6

    def fault(self, score: float) -> str | None:
        """Why ``score`` is not a value of this scale, or None."""
        if not self.low <= score <= self.high:
            return f"{score:g} is off its scale {self.low:g} to {self.high:g}"
        if not self._on_step(score):
            return f"{score:g} is not on a step of its scale, {self.low:g} to {self.high:g} in steps of {self.step:g}"
        return None


class Rating(Feedback):
    """Scores of one completion on one or several named attributes, each with the scale it was asked on."""

    kind: Literal["rating"] = "rating"
    completion_ids: One
    scores: Annotated[dict[NonBlank, Number], Field(min_length=1)]
    scales: dict[NonBlank, Scale]

    @model_validator(mode="after")
    def _scores_are_on_their_scales(self) -> Rating:
        if set(self.scores) != set(self.scales):
            odd = sorted(set(self.scores) ^ set(self.scales))
            raise ValueError(f"every attribute needs a score and a scale; only one of the two is given for {odd}")
        for attribute, score in self.scores.items():
            fault = self.scales[attribute].fault(score)
            if fault:
                raise ValueError(f"{attribute} {fault}")
        return self


def _sorted_group(group: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(group))  # equals have no order among themselves, so an id must not depend on one


Group = Annotated[tuple[Index, ...], Field(min_length=1), AfterValidator(_sorted_group)]


class Ranking(Feedback):
    """Completions in order, best group first; positions in one group are tied, positions in none were not ranked."""

    kind: Literal["ranking"] = "ranking"
    completion_ids: Annotated[tuple[Id, ...], Field(min_length=2)]
    groups: tuple[Group, ...]

    @model_validator(mode="after")
    def _positions_are_valid(self) -> Ranking:
        ranked = [position for group in self.groups for position in group]
        outside = [position for position in ranked if position >= len(self.completion_ids)]
        if outside:
            raise ValueError(f"position {outside[0]} is beyond the {len(self.completion_ids)} completions, from 0")
        if len(set(ranked)) != len(ranked):
            raise ValueError(f"a completion is ranked twice in {[list(group) for group in self.groups]}")
        if len(ranked) < 2:
            raise ValueError(f"{len(ranked)} ranked completions say nothing; at least two must be ranked")
        return self


class Thumb(Feedback):
    """A thumb up or down for one completion."""

    kind: Literal["thumb"] = "thumb"
    completion_ids: One
    up: Annotated[bool, Field(strict=True)]


class Edit(Feedback):
    """A completion as the rater would have written it: ``edited`` is better than the original."""

    kind: Literal["edit"] = "edit"
    completion_ids: One
    edited: NonBlank


class Demonstration(Feedback):
    """What the rater would answer to a prompt, unseen any completion."""

    kind: Literal["demonstration"] = "demonstration"
    completion_ids: Annotated[tuple[Id, ...], Field(max_length=0)] = ()
    text: NonBlank


class Span(_Record):
    """Part of a completion: characters (Unicode code points) ``start`` up to, not including, ``end``."""

    start: Index
    end: Index
    label: NonBlank
    note: Text = ""

    @model_validator(mode="after")
    def _has_extent(self) -> Span:
        if self.start >= self.end:
            raise ValueError(f"a span must end after it starts, not at {self.end} after {self.start}")
        return self


def _set_of_defects(defects: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(defects)) != len(defects):
        raise ValueError("a defect is named twice")
    return tuple(sorted(defects))  # a set: an id must not depend on the order of ticking


class Critique(Feedback):
    """What is wrong with one completion. No defect, no span and no note says that the rater found nothing wrong."""

    kind: Literal["critique"] = "critique"
    completion_ids: One
    defects: Annotated[tuple[NonBlank, ...], AfterValidator(_set_of_defects)] = ()
    spans: tuple[Span, ...] = ()
    note: Text = ""


AnyFeedback = Annotated[
    Comparison | Rating | Ranking | Thumb | Edit | Demonstration | Critique, Field(discriminator="kind")
]
KINDS: dict[str, type[Feedback]] = {
    str(kind.model_fields["kind"].default): kind
    for kind in (Comparison, Rating, Ranking, Thumb, Edit, Demonstration, Critique)
}
_ADAPTER: TypeAdapter[AnyFeedback] = TypeAdapter(AnyFeedback)


def explain_validation(error: ValidationError) -> str:
    """The first fault of a pydantic error in one sentence for people, without pydantic's own words around it."""
    detail = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in detail["loc"] if part not in KINDS)
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return f"unknown field '{path}'"
    if detail["type"] == "missing":
        return f"'{path}' is missing"
    if detail["type"] == "union_tag_not_found":
        return f"'kind' is missing; it is one of {', '.join(KINDS)}"
    if detail["type"] == "union_tag_invalid":
        return f"kind is {detail['ctx']['tag']!r}; it is one of {', '.join(KINDS)}"
    return f"{path}: {message[:1].lower()}{message[1:]}" if path else message


def parse_feedback(values: dict[str, Any]) -> AnyFeedback:
    """Feedback from plain values, as ``model_dump(mode="json")`` gives them; ``kind`` says which.

    Raises:
        DataError: a value is missing, unknown or wrong, with the reason.
    """
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        raise DataError(
            f"{values.get('kind', 'unknown')!r} feedback" if isinstance(values, dict) else "feedback",
            explain_validation(error) + ".",
            "Correct the value.",
        ) from None
