"""A question to raters: a form with its fields, and everything there is to know of an answer to it.

Answers are plain JSON by field name, as :mod:`heed.feedback.fields` describes them kind by kind. On the wire they are in
shown order; what is stored, expected of a gold item or compared between raters is in item order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from heed.errors import DataError
from heed.feedback.fields import AnyField, ComparisonField
from heed.feedback.fields.base import BaseField, FieldName, Flag, FormPart, Judged, Label, Level
from heed.feedback.kinds import AnyFeedback, Name, Number, Text, explain_validation
from heed.texts import shown

Share = Annotated[Number, Field(ge=0, le=1)]
_SECOND = 1 / 60


class Qualification(FormPart):
    """A test before the work: the share that must be right, how many tries, and whether each answer is explained."""

    pass_mark: Share = 0.8
    attempts: Annotated[int, Field(strict=True, ge=1, le=20)] = 3
    explain: Flag = True


class Form(FormPart):
    """A question as a lead writes it.

    Attributes:
        title: what the question is called.
        instructions: markdown, shown beside the item.
        fields: what is asked; at most one field of each kind, because two judgments of one kind about the same
            completions could not be told apart once they are feedback.
        overlap: how many raters judge each item.
        gold_rate: share of showings that are items with a known answer.
        repeat_rate: share of showings that a rater has answered before.
        chance_share: share of items that are drawn by chance, whatever the selector prefers.
        selector: the name of what chooses the next item.
        lease_minutes: how long an item stays a rater's without activity (minutes).
        ask_confidence: whether raters say how sure they are.
        group_quota: the most answers per item that come from one group of raters; a group not named has no limit.
        qualification: the test before the work; None: no test.
        reading: whether completions are shown as markdown or as they were written.
    """

    title: Label
    instructions: Annotated[Text, Field(max_length=50_000)] = ""
    fields: Annotated[tuple[AnyField, ...], Field(min_length=1)]
    overlap: Annotated[int, Field(strict=True, ge=1, le=20)] = 2
    gold_rate: Share = 0.05
    repeat_rate: Share = 0.02
    chance_share: Annotated[Number, Field(ge=0.01, le=1)] = 0.1
    selector: FieldName = "random"
    lease_minutes: Annotated[Number, Field(ge=_SECOND, le=7 * 24 * 60)] = 15.0
    ask_confidence: Flag = False
    group_quota: dict[Name, Annotated[int, Field(strict=True, ge=0, le=20)]] = Field(default_factory=dict)
    qualification: Qualification | None = None
    reading: Literal["rendered", "plain"] = "rendered"

    @model_validator(mode="after")
    def _is_sound(self) -> Form:
        names, kinds = [field.name for field in self.fields], [field.kind for field in self.fields]
        if len(set(names)) != len(names):
            raise ValueError("two fields have the same name")
        if len(set(kinds)) != len(kinds):
            raise ValueError("two fields are of the same kind; make a question of each")
        if self.gold_rate + self.repeat_rate > 1:
            raise ValueError("gold_rate and repeat_rate together are more than all showings")
        return self


def default_form() -> Form:
    """One comparison with tie, both bad and strength: what ``heed ask`` asks."""
    return Form(title="Which answer is better?", fields=(ComparisonField(name="better", label="Which is better?"),))


def parse_form(values: Any) -> Form:
    """A form from plain values, as ``model_dump(mode="json")`` gives them.

    Raises:
        DataError: a value is missing, unknown or wrong, with the reason.
    """
    try:
        return Form.model_validate(values)
    except ValidationError as error:
        raise DataError("the question", explain_validation(error) + ".", "Correct the value.") from None


def check_item(form: Form, completions: int) -> None:
    """See that an item of so many completions can be judged by this form.

    Raises:
        DataError: it cannot, with the field and the reason.
    """
    for field in form.fields:
        fault = field.item_fault(completions)
        if fault:
            raise _refused(field, fault, "Give it an item that fits, or change the question.")


def check_answer(form: Form, answer: Any, completions: int, texts: Sequence[str] | None = None) -> dict[str, Any]:
    """An answer in shown order, in its normal form: what says nothing is left out, scores are numbers with a point.

    Args:
        form: the form that was shown.
        answer: what came in, which may be anything.
        completions: how many completions were shown.
        texts: their raw texts in shown order, to see that spans lie within; None: the caller sees to that.

    Raises:
        DataError: it is no whole answer to this form, with the field and the reason.
    """
    return _checked(form, answer, completions, texts, whole=True)


def check_expected(form: Form, expected: Any, completions: int) -> dict[str, Any]:
    """The known answer of an item, in item order and in its normal form. It may leave fields and parts of fields open.

    Raises:
        DataError: it is no answer to this form, or says nothing that an answer could be compared with.
    """
    same = range(completions)
    swapped = _item_names_to_shown(form, expected)
    checked = to_item_order(form, _checked(form, swapped, completions, None, whole=False), list(same))
    if not any(_field_of(form, name).agreement(value, value) is not None for name, value in checked.items()):
        raise DataError(
            "the expected answer",
            "nothing in it can be compared with an answer: texts have no known answer.",
            "Give the expected choice, scores, ranking, thumbs or defects.",
        )
    return checked


def reads_texts(form: Form) -> bool:
    """Whether an answer to this form can only be checked with the texts that were judged; else any texts will do."""
    return any(field.reads_texts for field in form.fields)


def to_item_order(form: Form, answer: Mapping[str, Any], shown_order: Sequence[int]) -> dict[str, Any]:
    """A checked answer of the shown order in item order."""
    return {name: _field_of(form, name).to_item(value, shown_order) for name, value in answer.items()}


def to_shown_order(form: Form, answer: Mapping[str, Any], shown_order: Sequence[int]) -> dict[str, Any]:
    """A checked answer of the item order in shown order: undoes :func:`to_item_order`."""
    return {name: _field_of(form, name).to_shown(value, shown_order) for name, value in answer.items()}


def feedback_of(
    form: Form,
    answer: Mapping[str, Any],
    *,
    rater: str,
    prompt_id: str,
    completion_ids: Sequence[str],
    texts: Sequence[str],
    shown_order: Sequence[int],
    seconds: float | None,
    confidence: float | None,
    created: datetime,
    source: str,
) -> list[AnyFeedback]:
    """The judgments that a checked answer in item order is, in the order of the form's fields.

    Args:
        form: the form that was shown.
        answer: the answer, in item order.
        rater: who gave it.
        prompt_id: the prompt of the item.
        completion_ids: the completions of the item, in item order.
        texts: their raw texts, in item order.
        shown_order: place ``k`` showed ``completion_ids[shown_order[k]]``.
        seconds: time the rater took (seconds).
        confidence: the rater's own confidence, 0 to 1.
        created: when it was given, UTC.
        source: where it came from, for people.

    Raises:
        DataError: a span lies beyond its text, or a value is none that feedback can have.
    """
    common = {
        "rater": rater,
        "prompt_id": prompt_id,
        "seconds": seconds,
        "confidence": confidence,
        "created": created,
        "source": source,
    }
    judged = Judged(tuple(completion_ids), tuple(texts), tuple(shown_order), common)
    found: list[AnyFeedback] = []
    for field in form.fields:
        if field.name not in answer:
            continue
        fault = field.text_fault(answer[field.name], texts)
        if fault:
            raise _refused(field, fault, "Mark it again.")
        try:
            found += field.feedback(answer[field.name], judged)
        except ValidationError as error:
            raise _refused(field, explain_validation(error), "Correct the answer.") from None
    return found


def agreement_with(form: Form, answer: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The share of what is expected that the answer says as well, 0 to 1: the mean over the expected fields.

    A choice, a thumb and each two ranked completions agree or not; scores agree within a tenth of their scale; defects by
    the share of those named in either that are named in both. Texts, spans and strengths are not compared.

    Raises:
        DataError: nothing is expected that could be compared.
    """
    shares = [_field_of(form, name).agreement(answer.get(name), wanted) for name, wanted in expected.items()]
    known = [share for share in shares if share is not None]
    if not known:
        raise DataError("the expected answer", "nothing in it can be compared.", "Give a choice, scores or defects.")
    return sum(known) / len(known)


def chose_left(form: Form, answer: Mapping[str, Any], shown_order: Sequence[int]) -> bool | None:
    """Whether the winner (answer in item order) stood left; None where nothing was compared or nothing won."""
    choice = _choice(form, answer)
    return None if choice not in ("a", "b") else "ab"[shown_order[0]] == choice


def tied(form: Form, answer: Mapping[str, Any]) -> bool | None:
    """Whether the two were called equally good; None where nothing was compared."""
    choice = _choice(form, answer)
    return None if choice is None else choice == "tie"


def comparable_values(form: Form, answer: Mapping[str, Any]) -> dict[str, tuple[Level, str | float]]:
    """What raters can agree on: units of an answer in item order, each with its level of measurement and value.

    For example ``{"better": ("nominal", "a"), "score.helpful@0": ("interval", 4.0), "order.0-1": ("nominal", "first")}``.
    """
    units: dict[str, tuple[Level, str | float]] = {}
    for field in form.fields:
        if field.name in answer:
            units |= field.comparable(answer[field.name])
    return units


def _checked(form: Form, answer: Any, completions: int, texts: Sequence[str] | None, *, whole: bool) -> dict[str, Any]:
    check_item(form, completions)
    names = [field.name for field in form.fields]
    if not isinstance(answer, dict):
        raise DataError("the answer", f"it is {shown(answer)}, not an object.", f"Answer {', '.join(names)}.")
    unknown = [name for name in answer if name not in names]
    if unknown:
        raise DataError(
            f"the answer to {shown(unknown[0])}", "the question has no such field.", f"It asks for {', '.join(names)}."
        )
    checked = {}
    for field in form.fields:
        try:
            value = field.check(answer.get(field.name), completions)
        except ValueError as error:
            raise _refused(field, str(error), "Correct the answer.") from None
        if whole and field.required and (fault := field.missing(value)):
            raise _refused(field, fault, "Answer it; it is required.")
        if value is None:
            continue
        if whole and (fault := field.left_open(value, completions)):
            raise _refused(field, fault, "Rank them all.")
        if texts is not None and (fault := field.text_fault(value, texts)):
            raise _refused(field, fault, "Mark it again.")
        checked[field.name] = value
    if not checked:
        raise DataError("the answer", "it answers nothing.", f"Answer at least one of {', '.join(names)}.")
    return checked


def _item_names_to_shown(form: Form, expected: Any) -> Any:
    """``expected`` with its choice named as if the item had been shown in its own order."""
    if not isinstance(expected, dict):
        return expected
    named = dict(expected)
    for field in form.fields:
        value = named.get(field.name)
        if isinstance(field, ComparisonField) and isinstance(value, dict):
            names = {"a": "left", "b": "right", "left": "a", "right": "b"}
            choice = value.get("choice")
            named[field.name] = {**value, "choice": names.get(choice, choice) if isinstance(choice, str) else choice}
    return named


def _choice(form: Form, answer: Mapping[str, Any]) -> str | None:
    for field in form.fields:
        if isinstance(field, ComparisonField) and field.name in answer:
            choice: str = answer[field.name]["choice"]
            return choice
    return None


def _field_of(form: Form, name: str) -> AnyField:
    for field in form.fields:
        if field.name == name:
            return field
    raise DataError(f"the answer to {shown(name)}", "the question has no such field.", "Check the version of the form.")


def _refused(field: BaseField, why: str, fix: str) -> DataError:
    return DataError(f"the answer to '{field.name}'", why + ".", fix)
