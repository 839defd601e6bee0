"""Forms and answers: what is refused, that orders undo each other, and that feedback says what the rater said."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import DataError
from heed.feedback.forms import (
    Form,
    agreement_with,
    check_answer,
    check_expected,
    check_item,
    chose_left,
    comparable_values,
    default_form,
    feedback_of,
    parse_form,
    tied,
    to_item_order,
    to_shown_order,
)
from heed.feedback.kinds import AnyFeedback, parse_feedback

HELPFUL = {"name": "helpful", "label": "Helpful", "low": 1, "high": 5, "step": 1}
SAFE = {"name": "safe", "label": "Safe", "low": 0, "high": 1, "step": None, "style": "slider"}
FIELDS: dict[str, dict[str, Any]] = {
    "comparison": {"kind": "comparison", "name": "which", "label": "Which?"},
    "rating": {"kind": "rating", "name": "score", "label": "How good?", "attributes": [HELPFUL, SAFE]},
    "ranking": {"kind": "ranking", "name": "order", "label": "Order"},
    "thumb": {"kind": "thumb", "name": "good", "label": "Good?"},
    "edit": {"kind": "edit", "name": "mended", "label": "Mend"},
    "demonstration": {"kind": "demonstration", "name": "own", "label": "Your answer"},
    "critique": {
        "kind": "critique",
        "name": "wrong",
        "label": "What is wrong?",
        "defects": ["rude", "false"],
        "spans": True,
    },
}


def form(*kinds: str, **changes: Any) -> Form:
    """A form with these fields; ``changes`` go into each of them."""
    return parse_form({"title": "T", "fields": [{**FIELDS[kind], **changes} for kind in kinds]})


OPTIONAL = form(*FIELDS, required=False)
"""Every kind at once, none of them required."""

written = st.builds("w{}".format, st.text(st.characters(exclude_characters="\x00", codec="utf-8"), max_size=20))
spans = st.builds(
    lambda start, length, label: {"start": start, "end": start + length, "label": label, "note": ""},
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from(["rude", "false"]),
)


@st.composite
def rankings(draw: st.DrawFn, completions: int) -> dict[str, Any]:
    ranked = draw(st.permutations(range(completions)))[: draw(st.integers(2, completions))]
    ranks = [draw(st.integers(0, 3)) for _ in ranked]
    groups = [[place for place, rank in zip(ranked, ranks, strict=True) if rank == one] for one in sorted(set(ranks))]
    return {"groups": groups}


def each(entries: st.SearchStrategy[Any], completions: int = 2) -> st.SearchStrategy[list[Any]]:
    """An entry or None for each completion, at least one of them said."""
    some = st.lists(entries | st.none(), min_size=completions - 1, max_size=completions - 1)
    return st.builds(lambda one, others, last: [*others, one] if last else [one, *others], entries, some, st.booleans())


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A whole answer to ``OPTIONAL`` as a screen sends it, in shown order, with some of its fields left out."""
    choice = draw(st.sampled_from(["left", "right", "tie", "both_bad"]))
    strength = draw(st.sampled_from([None, 1, 2, 3])) if choice in ("left", "right") else None
    helpful, safe = st.integers(1, 5), st.floats(0, 1)
    values = {
        "which": st.just({"choice": choice, "strength": strength}),
        "score": each(
            st.fixed_dictionaries({"helpful": helpful}, optional={"safe": safe})
            | st.builds(lambda s: {"safe": s}, safe)
        ),
        "order": rankings(2),
        "good": each(st.booleans()),
        "mended": each(written),
        "own": written,
        "wrong": each(
            st.fixed_dictionaries(
                {
                    "defects": st.lists(st.sampled_from(["rude", "false"]), unique=True),
                    "spans": st.lists(spans, max_size=2),
                    "note": written | st.just(""),
                }
            )
        ),
    }
    names = draw(st.sets(st.sampled_from(sorted(values)), min_size=1))
    return {name: draw(values[name]) for name in sorted(names)}


def checked(answer: dict[str, Any]) -> dict[str, Any]:
    return check_answer(OPTIONAL, answer, 2)


def judged(form: Form, answer: dict[str, Any], order: tuple[int, ...], **changes: Any) -> list[AnyFeedback]:
    count = len(order)
    values: dict[str, Any] = {
        "rater": "ann",
        "prompt_id": "p1",
        "completion_ids": [f"c{position}" for position in range(count)],
        "texts": [f"the text number {position}" for position in range(count)],
        "shown_order": order,
        "seconds": 2.5,
        "confidence": 0.5,
        "created": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "source": "studio",
    }
    return feedback_of(form, answer, **{**values, **changes})


# Forms


def test_the_default_form_asks_for_one_comparison_with_everything() -> None:
    (field,) = default_form().fields
    assert field.kind == "comparison"
    assert (field.tie, field.both_bad, field.strength) == (True, True, True)


def test_a_form_survives_json() -> None:
    whole = parse_form(
        {
            **json.loads(OPTIONAL.model_dump_json()),
            "group_quota": {"crowd": 1},
            "qualification": {"pass_mark": 0.5},
            "lease_minutes": 2,
        }
    )
    assert parse_form(json.loads(whole.model_dump_json())) == whole
    assert whole.group_quota == {"crowd": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fields": []}, "at least 1"),
        ({"fields": [FIELDS["thumb"], {**FIELDS["rating"], "name": "good"}]}, "same name"),
        ({"fields": [FIELDS["thumb"], {**FIELDS["thumb"], "name": "other"}]}, "same kind"),
        ({"fields": [{**FIELDS["thumb"], "kind": "poll"}]}, "kind"),
        ({"fields": [{**FIELDS["thumb"], "name": "Not A Name"}]}, "name"),
        ({"fields": [{**FIELDS["thumb"], "label": " "}]}, "empty"),
        ({"fields": [{**FIELDS["thumb"], "colour": "red"}]}, "unknown field"),
        ({"fields": [{**FIELDS["rating"], "attributes": [HELPFUL, HELPFUL]}]}, "same name"),
        ({"fields": [{**FIELDS["rating"], "attributes": [{**HELPFUL, "low": 5}]}]}, "extent"),
        ({"fields": [{**FIELDS["rating"], "attributes": [{**HELPFUL, "high": 1000}]}]}, "slider"),
        ({"fields": [{**FIELDS["rating"], "attributes": [{**HELPFUL, "step": None}]}]}, "slider"),
        ({"fields": [{**FIELDS["rating"], "attributes": [{**HELPFUL, "high": math.nan}]}]}, "finite"),
        ({"fields": [{**FIELDS["critique"], "defects": ["rude", "rude"]}]}, "twice"),
        ({"fields": [{**FIELDS["critique"], "defects": [], "spans": False, "note": False}]}, "asks nothing"),
        ({"title": ""}, "empty"),
        ({"title": "\ud800"}, "surrogate"),
        ({"overlap": 0}, "overlap"),
        ({"overlap": True}, "overlap"),
        ({"gold_rate": 1.5}, "gold_rate"),
        ({"gold_rate": 0.9, "repeat_rate": 0.9}, "more than all"),
        ({"chance_share": 0}, "chance_share"),
        ({"lease_minutes": 0}, "lease_minutes"),
        ({"group_quota": {"crowd": -1}}, "group_quota"),
        ({"qualification": {"attempts": 0}}, "attempts"),
        ({"reading": "html"}, "reading"),
        ({"owner": "me"}, "unknown field 'owner'"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match="the question") as caught:
        parse_form({"title": "T", "fields": [FIELDS["thumb"]], **changes})
    assert reason in caught.value.why


@pytest.mark.parametrize("values", [None, [], "form", 3, {"title": "T"}, {"title": 10**400, "fields": [{}]}])
def test_what_is_no_form_at_all_is_refused(values: Any) -> None:
    with pytest.raises(DataError):
        parse_form(values)


@pytest.mark.parametrize(
    ("kind", "fits", "does_not"),
    [
        ("comparison", [2], [0, 1, 3]),
        ("ranking", [2, 8], [0, 1, 9]),
        ("thumb", [1, 8], [0, 9]),
        ("edit", [1, 8], [0, 9]),
        ("demonstration", [0, 1, 8], []),
    ],
)
def test_items_with_too_few_or_too_many_completions_are_refused(
    kind: str, fits: list[int], does_not: list[int]
) -> None:
    for count in fits:
        check_item(form(kind), count)
    for count in does_not:
        with pytest.raises(DataError):
            check_item(form(kind), count)


# Answers


def test_an_answer_comes_out_in_its_normal_form() -> None:
    answer = {
        "which": {"choice": "left", "strength": 2.0},
        "score": [{"helpful": 4, "safe": None}, {}],
        "order": {"groups": [[1, 0]]},
        "good": [True, None],
        "mended": [None, None],
        "own": "  ",
        "wrong": [{"defects": ["false", "rude", "rude"], "note": " "}, None],
    }
    assert check_answer(OPTIONAL, answer, 2) == {
        "which": {"choice": "left", "strength": 2},
        "score": [{"helpful": 4.0}, None],
        "order": {"groups": [[0, 1]]},
        "good": [True, None],
        "wrong": [{"defects": ["rude", "false"], "spans": [], "note": ""}, None],
    }


@given(answers())
def test_checking_a_checked_answer_changes_nothing(answer: dict[str, Any]) -> None:
    once = checked(answer)
    assert check_answer(OPTIONAL, once, 2) == once


HUGE = 10**400
BAD: list[tuple[str, Any]] = [
    ("which", "left"),
    ("which", {"choice": "a"}),
    ("which", {"choice": "left", "strength": 4}),
    ("which", {"choice": "left", "strength": True}),
    ("which", {"choice": "left", "strength": math.nan}),
    ("which", {"choice": "tie", "strength": 1}),
    ("which", {"choice": ["left"]}),
    ("which", {"choice": "left", "winner": "a"}),
    ("score", {"helpful": 4}),
    ("score", [{"helpful": 4}]),
    ("score", [{"helpful": 6}, None]),
    ("score", [{"helpful": 4.5}, None]),
    ("score", [{"helpful": True}, None]),
    ("score", [{"helpful": "4"}, None]),
    ("score", [{"helpful": math.nan}, None]),
    ("score", [{"helpful": -math.inf}, None]),
    ("score", [{"helpful": HUGE}, None]),
    ("score", [{"kind": 4}, None]),
    ("order", {"groups": [[0], [0]]}),
    ("order", {"groups": [[0, 0]]}),
    ("order", {"groups": [[0], [2]]}),
    ("order", {"groups": [[0], [-1]]}),
    ("order", {"groups": [[0], [HUGE]]}),
    ("order", {"groups": [[0], [True]]}),
    ("order", {"groups": [[0], [0.5]]}),
    ("order", {"groups": [[0], []]}),
    ("order", {"groups": [[0]]}),
    ("order", {"groups": [0, 1]}),
    ("order", {"groups": [[[0]], [1]]}),
    ("order", [[0], [1]]),
    ("good", [1, 0]),
    ("good", "up"),
    ("mended", ["", "x"]),
    ("mended", ["\ud800", "x"]),
    ("mended", ["a\x00b", "x"]),
    ("mended", ["x" * 300_000, "x"]),
    ("own", ["text"]),
    ("own", "\udfff"),
    ("wrong", [{"defects": ["boring"]}, None]),
    ("wrong", [{"defects": [["rude"]]}, None]),
    ("wrong", [{"defects": "rude"}, None]),
    ("wrong", [{"spans": [{"start": 2, "end": 2, "label": "rude"}]}, None]),
    ("wrong", [{"spans": [{"start": -1, "end": 2, "label": "rude"}]}, None]),
    ("wrong", [{"spans": [{"start": 0, "end": 2, "label": "boring"}]}, None]),
    ("wrong", [{"spans": [{"start": 0, "end": 2}]}, None]),
    ("wrong", [{"spans": [{"start": 0, "end": 2, "label": "rude", "colour": "red"}]}, None]),
    ("wrong", [{"spans": [{"start": 0, "end": 1, "label": "rude"}] * 500}, None]),
    ("wrong", [{"note": 7}, None]),
    ("nothing", 1),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_hostile_answer_is_refused_by_the_name_of_its_field(name: str, value: Any) -> None:
    with pytest.raises(DataError) as caught:
        check_answer(OPTIONAL, {name: value}, 2)
    assert name in caught.value.what
    str(caught.value).encode("utf-8")


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(HUGE) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*(field["name"] for field in FIELDS.values()), "x"]), json_like) | json_like)
def test_no_answer_whatever_breaks_the_check(answer: Any) -> None:
    try:
        kept = check_answer(OPTIONAL, answer, 2)
    except DataError as refusal:
        str(refusal).encode("utf-8")
    else:
        json.dumps(kept, allow_nan=False).encode("utf-8")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("comparison", None),
        ("rating", [{"helpful": 4, "safe": 1}, {"helpful": 4}]),
        ("rating", [{"helpful": 4, "safe": 1}, None]),
        ("ranking", {"groups": []}),
        ("thumb", [True, None]),
        ("edit", [None, "x"]),
        ("demonstration", " \n"),
        ("critique", [{}, None]),
    ],
)
def test_a_required_field_needs_its_whole_answer(kind: str, value: Any) -> None:
    asked = form(kind)
    with pytest.raises(DataError, match=asked.fields[0].name):
        check_answer(asked, {asked.fields[0].name: value}, 2)


def test_an_optional_form_still_needs_some_answer() -> None:
    with pytest.raises(DataError, match="answers nothing"):
        check_answer(OPTIONAL, {"own": " ", "good": [None, None]}, 2)


def test_what_a_form_does_not_offer_cannot_be_answered() -> None:
    asked = form("comparison", tie=False, both_bad=False, strength=False)
    for value in ({"choice": "tie"}, {"choice": "both_bad"}, {"choice": "left", "strength": 1}):
        with pytest.raises(DataError):
            check_answer(asked, {"which": value}, 2)
    plain = form("critique", spans=False, note=False)
    for entry in ({"note": "no"}, {"spans": [{"start": 0, "end": 1, "label": "rude"}]}):
        with pytest.raises(DataError):
            check_answer(plain, {"wrong": [entry, {}]}, 2)


def test_a_span_may_end_with_its_text_and_not_after_it_counted_in_code_points() -> None:
    def marked(end: int) -> dict[str, Any]:
        return {"wrong": [{"spans": [{"start": 0, "end": end, "label": "rude"}]}, None]}

    assert check_answer(OPTIONAL, marked(3), 2, ["a👍🏽", ""])
    with pytest.raises(DataError, match="beyond its 3 characters"):
        check_answer(OPTIONAL, marked(4), 2, ["a👍🏽", ""])
    with pytest.raises(DataError, match="beyond"):
        judged(OPTIONAL, check_answer(OPTIONAL, marked(40), 2), (0, 1))


# Orders


@given(answers(), st.permutations([0, 1]))
def test_item_order_and_shown_order_undo_each_other(answer: dict[str, Any], order: list[int]) -> None:
    kept = checked(answer)
    assert to_shown_order(OPTIONAL, to_item_order(OPTIONAL, kept, order), order) == kept
    assert to_item_order(OPTIONAL, to_shown_order(OPTIONAL, to_item_order(OPTIONAL, kept, order), order), order) == (
        to_item_order(OPTIONAL, kept, order)
    )


@given(rankings(8), st.lists(st.booleans(), min_size=8, max_size=8), st.permutations(range(8)))
def test_orders_of_eight_undo_each_other(ranking: dict[str, Any], ups: list[bool], order: list[int]) -> None:
    asked = form("ranking", "thumb")
    kept = check_answer(asked, {"order": ranking, "good": ups}, 8)
    item = to_item_order(asked, kept, order)
    assert to_shown_order(asked, item, order) == kept
    # Place k showed position order[k], said in the words of the definition and by no code of the form.
    assert all(item["good"][order[place]] is ups[place] for place in range(8))
    groups = [{order[place] for place in group} for group in kept["order"]["groups"]]
    assert [set(group) for group in item["order"]["groups"]] == groups


def test_left_is_the_second_completion_when_it_stood_left() -> None:
    assert to_item_order(OPTIONAL, {"which": {"choice": "left", "strength": 3}}, (1, 0)) == {
        "which": {"choice": "b", "strength": 3}
    }
    assert to_item_order(OPTIONAL, {"which": {"choice": "tie", "strength": None}}, (1, 0))["which"]["choice"] == "tie"


@pytest.mark.parametrize(
    ("choice", "order", "left", "tie"),
    [
        ("a", (0, 1), True, False),
        ("a", (1, 0), False, False),
        ("b", (1, 0), True, False),
        ("tie", (1, 0), None, True),
        ("both_bad", (0, 1), None, False),
    ],
)
def test_whether_the_left_one_was_chosen(choice: str, order: tuple[int, int], left: bool | None, tie: bool) -> None:
    answer = {"which": {"choice": choice, "strength": None}}
    assert chose_left(OPTIONAL, answer, order) is left
    assert tied(OPTIONAL, answer) is tie


def test_without_a_comparison_nothing_was_left_and_nothing_tied() -> None:
    assert chose_left(OPTIONAL, {"own": "x"}, (0, 1)) is None
    assert tied(OPTIONAL, {"own": "x"}) is None


# Feedback


@given(answers(), st.permutations([0, 1]))
def test_feedback_says_what_the_rater_saw_and_said(answer: dict[str, Any], order: list[int]) -> None:
    kept = checked(answer)
    text = "x" * 10
    found = judged(OPTIONAL, to_item_order(OPTIONAL, kept, order), tuple(order), texts=[text, text])
    for one in found:
        assert parse_feedback(one.model_dump(mode="json")) == one
        assert (one.rater, one.prompt_id, one.seconds, one.confidence) == ("ann", "p1", 2.5, 0.5)
    kinds = [one.kind for one in found]
    assert kinds.count("comparison") == ("which" in kept)
    assert kinds.count("ranking") == ("order" in kept)
    assert kinds.count("demonstration") == ("own" in kept)
    for name, kind in (("score", "rating"), ("good", "thumb"), ("wrong", "critique")):
        said = [entry for entry in kept.get(name, []) if entry is not None]
        assert kinds.count(kind) == len(said)
    for one in found:
        if one.kind == "thumb":
            place = order.index(int(one.completion_ids[0][1:]))
            assert one.up is kept["good"][place]
        if one.kind == "comparison" and one.choice in "ab":
            winner = one.completion_ids["ab".index(one.choice)]
            assert winner == f"c{order[0 if kept['which']['choice'] == 'left' else 1]}"


def test_an_edit_that_changes_nothing_is_an_answer_and_no_feedback() -> None:
    asked = form("edit")
    answer = to_item_order(asked, check_answer(asked, {"mended": ["as it was", "better"]}, 2), (1, 0))
    (edit,) = judged(asked, answer, (1, 0), texts=["worse", "as it was"])
    assert (edit.completion_ids, edit.edited) == (("c0",), "better")  # type: ignore[union-attr]


# Known answers and agreement


def test_a_known_answer_may_leave_parts_open() -> None:
    asked = form("comparison", "rating")
    expected = check_expected(asked, {"score": [{"helpful": 5}, None]}, 2)
    assert expected == {"score": [{"helpful": 5.0}, None]}
    given_answer = {"which": {"choice": "a", "strength": None}, "score": [{"helpful": 5.0}, {"helpful": 1.0}]}
    assert agreement_with(asked, given_answer, expected) == 1.0


def test_a_known_choice_is_named_in_item_order_only() -> None:
    assert check_expected(OPTIONAL, {"which": {"choice": "b"}}, 2) == {"which": {"choice": "b", "strength": None}}
    with pytest.raises(DataError):
        check_expected(OPTIONAL, {"which": {"choice": "left"}}, 2)


@pytest.mark.parametrize("expected", [{}, {"own": "x"}, {"mended": ["x", None]}, [], {"which": None}, {"other": 1}])
def test_a_known_answer_must_be_comparable(expected: Any) -> None:
    with pytest.raises(DataError):
        check_expected(OPTIONAL, expected, 2)


@pytest.mark.parametrize(
    ("answer", "expected", "share"),
    [
        ({"which": {"choice": "a", "strength": 1}}, {"which": {"choice": "a", "strength": 3}}, 1),
        ({"which": {"choice": "tie", "strength": None}}, {"which": {"choice": "a", "strength": None}}, 0),
        ({}, {"which": {"choice": "a", "strength": None}}, 0),
        ({"score": [{"helpful": 4.0}, None]}, {"score": [{"helpful": 5.0}, None]}, 0),
        ({"score": [{"safe": 0.45}, None]}, {"score": [{"safe": 0.5, "helpful": 1.0}, None]}, 0.5),
        ({"good": [True, None]}, {"good": [True, False]}, 0.5),
        ({"order": {"groups": [[0], [1], [2]]}}, {"order": {"groups": [[0], [2], [1]]}}, 2 / 3),
        ({"order": {"groups": [[0, 1], [2]]}}, {"order": {"groups": [[0], [1], [2]]}}, 2 / 3),
        (
            {"wrong": [{"defects": ["rude"], "spans": [], "note": ""}, None]},
            {"wrong": [{"defects": ["rude", "false"], "spans": [], "note": ""}, None]},
            0.5,
        ),
        (
            {"which": {"choice": "a", "strength": None}, "good": [True, True]},
            {"which": {"choice": "a", "strength": None}, "good": [False, True]},
            0.75,
        ),
    ],
)
def test_agreement_is_the_share_of_what_is_expected(answer: Any, expected: Any, share: float) -> None:
    assert agreement_with(OPTIONAL, answer, expected) == pytest.approx(share)


@given(answers(), st.permutations([0, 1]))
def test_an_answer_agrees_with_itself_wherever_things_stood(answer: dict[str, Any], order: list[int]) -> None:
    item = to_item_order(OPTIONAL, checked(answer), order)
    if set(item) - {"own", "mended"}:
        assert agreement_with(OPTIONAL, item, item) == 1.0
    else:
        with pytest.raises(DataError):
            agreement_with(OPTIONAL, item, item)


def test_the_units_that_raters_can_agree_on() -> None:
    answer = {
        "which": {"choice": "b", "strength": 1},
        "score": [None, {"helpful": 4.0}],
        "order": {"groups": [[1], [0]]},
        "good": [True, None],
        "own": "text",
        "wrong": [{"defects": ["rude"], "spans": [], "note": ""}, None],
    }
    assert comparable_values(OPTIONAL, answer) == {
        "which": ("nominal", "b"),
        "score.helpful@1": ("interval", 4.0),
        "order.0-1": ("nominal", "second"),
        "good@0": ("nominal", "up"),
        "wrong.rude@0": ("nominal", "yes"),
        "wrong.false@0": ("nominal", "no"),
    }


def test_a_ranking_may_want_every_completion_placed_but_not_of_what_is_known() -> None:
    partial = {"order": {"groups": [[0], [2]]}}
    whole = form("ranking", partial=False)
    assert check_answer(form("ranking"), partial, 3) == partial
    with pytest.raises(DataError, match="1 of 3 completions are not ranked"):
        check_answer(whole, partial, 3)
    assert check_answer(whole, {"order": {"groups": [[1, 0], [2]]}}, 3) == {"order": {"groups": [[0, 1], [2]]}}
    assert check_expected(whole, partial, 3) == partial
