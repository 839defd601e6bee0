"""What every kind of field has in common, and what it has to know of its own answers.

An answer is plain JSON. It comes in *shown order*: place 0 is what stood first on the rater's screen. Everything that is
kept is in *item order*: position 0 is the item's first completion. Place ``k`` showed position ``shown_order[k]``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from heed.feedback.kinds import AnyFeedback, NonBlank, Text
from heed.texts import shown, text_fault

MOST_COMPLETIONS = 8
LONGEST_TEXT = 200_000
"""Characters of one text that a rater writes."""

Level = Literal["nominal", "ordinal", "interval"]
Flag = Annotated[bool, Field(strict=True)]
Label = Annotated[NonBlank, Field(max_length=200)]
FieldName = Annotated[str, Field(strict=True, pattern=r"^[a-z][a-z0-9_]{0,39}$")]


@dataclass(frozen=True)
class Judged:
    """The item that was judged, in its own order, and what every feedback about it says alike."""

    completion_ids: tuple[str, ...]
    texts: tuple[str, ...]
    shown_order: tuple[int, ...]
    common: Mapping[str, Any]


class FormPart(BaseModel):
    """A frozen part of a form that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseField(FormPart):
    """One thing that a form asks for.

    The methods that take a ``value`` expect what :meth:`check` returned, but for :meth:`check` itself.
    """

    reads_texts: ClassVar[bool] = False
    """Whether it must know the texts that were judged to check an answer and to say what it means."""

    name: FieldName
    label: Label
    help: Annotated[Text, Field(max_length=2000)] = ""
    required: Flag = True

    def item_fault(self, completions: int) -> str | None:
        """Why an item of so many completions cannot be judged by this field, or None."""
        raise NotImplementedError

    def check(self, value: Any, completions: int) -> Any:
        """``value`` (shown order) in its normal form; None where it says nothing.

        Raises:
            ValueError: it is no answer to this field, with the reason.
        """
        raise NotImplementedError

    def missing(self, value: Any) -> str | None:
        """What is missing of an answer that must be given, or None."""
        return "nothing was answered" if value is None else None

    def left_open(self, value: Any, completions: int) -> str | None:
        """What a whole answer must not leave open, though something was answered, or None."""
        return None

    def text_fault(self, value: Any, texts: Sequence[str]) -> str | None:
        """Why ``value`` cannot be said of these completions (both in one order), or None."""
        return None

    def to_item(self, value: Any, shown_order: Sequence[int]) -> Any:
        """``value`` of the shown order in item order."""
        return value

    def to_shown(self, value: Any, shown_order: Sequence[int]) -> Any:
        """``value`` of the item order in shown order."""
        return value

    def feedback(self, value: Any, judged: Judged) -> list[AnyFeedback]:
        """The judgments that ``value`` (item order) is."""
        raise NotImplementedError

    def agreement(self, value: Any, expected: Any) -> float | None:
        """The share of ``expected`` that ``value`` (None: not answered) says as well, 0 to 1; None if there is no telling."""
        return None

    def comparable(self, value: Any) -> dict[str, tuple[Level, str | float]]:
        """Units of ``value`` (item order) on which raters can agree, each with its level of measurement."""
        return {}


class PerCompletionField(BaseField):
    """A field that is asked of each completion: its answer is a list, None where nothing was said of one."""

    def item_fault(self, completions: int) -> str | None:
        if 1 <= completions <= MOST_COMPLETIONS:
            return None
        return f"it judges 1 to {MOST_COMPLETIONS} completions, not {completions}"

    def check_one(self, entry: Any) -> Any:
        """As :meth:`check`, for one completion; ``entry`` is not None."""
        raise NotImplementedError

    def check(self, value: Any, completions: int) -> Any:
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != completions:
            raise ValueError(f"it takes a list of {completions}, one for each completion, not {shown(value)}")
        checked = []
        for place, entry in enumerate(value):
            try:
                checked.append(None if entry is None else self.check_one(entry))
            except ValueError as error:
                raise ValueError(f"completion {place + 1}: {error}") from None
        return None if all(entry is None for entry in checked) else checked

    def missing(self, value: Any) -> str | None:
        if value is None:
            return super().missing(value)
        return next((f"completion {place + 1} has no answer" for place, one in enumerate(value) if one is None), None)

    def to_item(self, value: Any, shown_order: Sequence[int]) -> Any:
        return [value[place] for place in inverse(shown_order)]

    def to_shown(self, value: Any, shown_order: Sequence[int]) -> Any:
        return [value[position] for position in shown_order]

    def feedback(self, value: Any, judged: Judged) -> list[AnyFeedback]:
        return [
            one
            for entry, key, text in zip(value, judged.completion_ids, judged.texts, strict=True)
            if entry is not None
            for one in self.feedback_of_one(entry, text, {**judged.common, "completion_ids": (key,)})
        ]

    def feedback_of_one(self, entry: Any, text: str, common: Mapping[str, Any]) -> list[AnyFeedback]:
        """As :meth:`feedback`, for one completion and its raw text."""
        raise NotImplementedError

    def agreement(self, value: Any, expected: Any) -> float | None:
        given = value or [None] * len(expected)
        shares = [self.agreement_of_one(one, e) for one, e in zip(given, expected, strict=True) if e is not None]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else None

    def agreement_of_one(self, entry: Any, expected: Any) -> float | None:
        """As :meth:`agreement`, for one completion."""
        return None


def inverse(order: Sequence[int]) -> list[int]:
    """The permutation that undoes ``order``."""
    places = [0] * len(order)
    for place, position in enumerate(order):
        places[position] = place
    return places


def keys_of(value: Any, allowed: Sequence[str]) -> dict[str, Any]:
    """``value``, if it is an object with no other keys than ``allowed``.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"it takes an object, not {shown(value)}")
    odd = [key for key in value if key not in allowed]
    if odd:
        raise ValueError(f"{shown(odd[0])} is unknown; it takes {', '.join(allowed)}")
    return value


def text_of(value: Any, longest: int = LONGEST_TEXT) -> str:
    """``value``, if it is text that can be kept.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str):
        raise ValueError(f"it takes text, not {shown(value)}")
    if len(value) > longest:
        raise ValueError(f"the text has {len(value):,} characters, and {longest:,} is the most")
    fault = text_fault(value)
    if fault:
        raise ValueError(fault)
    return value


def number_of(value: Any) -> float:
    """``value`` as a finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"it takes a number, not {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"it takes a finite number, not {shown(value)}")
    return number + 0.0


def index_of(value: Any) -> int:
    """``value`` as a whole number from 0.

    Raises:
        ValueError: it is none.
    """
    # 2.0 is what some JSON writers make of 2; true is no number at all.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < 0:
        raise ValueError(f"it takes a whole number from 0, not {shown(value)}")
    return value
