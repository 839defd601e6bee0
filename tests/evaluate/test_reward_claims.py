"""What each kind of judgment claims."""

from __future__ import annotations

import pytest
from reward_worlds import feedback, judged

from heed.evaluate.reward_claims import claims_of, value_of
from heed.feedback.kinds import Message, Scale

FIVE = {"help": Scale(low=1, high=5, step=1)}


def said(*rows: object) -> list[tuple[str, str, float]]:
    """The claims as (first text, second text, outcome)."""
    found = claims_of(rows)  # type: ignore[arg-type]
    return [(found.texts[c.first][1], found.texts[c.second][1], c.outcome) for c in found.claims]


@pytest.mark.parametrize(("choice", "outcome"), [("a", 1.0), ("b", 0.0), ("tie", 0.5), ("both_bad", 0.5)])
def test_a_comparison(choice: str, outcome: float) -> None:
    assert said(judged("comparison", "p", ("x", "y"), choice=choice)) == [("x", "y", outcome)]


def test_strength_and_place_are_kept() -> None:
    rows = [
        judged("comparison", "p", ("x", "y"), choice="a", strength=3, shown_order=(1, 0)),
        judged("comparison", "q", ("x", "y"), choice="a", shown_order=(0, 1)),
        judged("comparison", "r", ("x", "y"), choice="tie"),
    ]
    found = claims_of(rows).claims
    assert [(c.strength, c.first_left) for c in found] == [("by far", False), ("not said", True), ("not said", None)]


def test_a_ranking_claims_all_its_pairs_and_nothing_of_what_was_not_ranked() -> None:
    row = judged("ranking", "p", ("w", "x", "y", "z"), groups=((2,), (0, 1)))
    assert said(row) == [("w", "x", 0.5), ("w", "y", 0.0), ("x", "y", 0.0)]


def test_an_edit_beats_its_original() -> None:
    assert said(judged("edit", "p", ("x",), edited="X!")) == [("X!", "x", 1.0)]


def test_values_of_one_rater_and_prompt_are_compared_and_others_not() -> None:
    def rated(prompt: str, text: str, score: float, rater: str = "ann") -> object:
        return judged("rating", prompt, (text,), rater=rater, scores={"help": score}, scales=FIVE)

    rows = [rated("p", "x", 2.0), rated("p", "y", 4.0), rated("p", "z", 2.0)]
    assert said(*rows, rated("p", "w", 5.0, "bob"), rated("q", "x", 1.0)) == [
        ("x", "y", 0.0), ("x", "z", 0.5), ("y", "z", 1.0),
    ]  # fmt: skip


def test_thumbs_and_critiques_compare_as_ratings_do_but_not_with_each_other() -> None:
    rows = [
        judged("thumb", "p", ("x",), up=True),
        judged("thumb", "p", ("y",), up=False),
        judged("critique", "p", ("x",), defects=("rude", "long")),
        judged("critique", "p", ("z",), defects=()),
    ]
    assert said(*rows) == [("x", "y", 1.0), ("x", "z", 0.0)]
    assert not any(claim.alone for claim in claims_of(rows).claims)


def test_a_demonstration_claims_to_beat_what_was_judged_of_its_prompt() -> None:
    rows = [
        judged("demonstration", "p", (), text="best"),
        judged("comparison", "p", ("x", "y"), choice="tie"),
        judged("comparison", "q", ("x", "v"), choice="tie"),
    ]
    assert said(*rows)[2:] == [("best", "x", 1.0), ("best", "y", 1.0)]


def test_values_on_one_scale() -> None:
    scores = {"help": 4.0, "style": 0.0}
    rating = feedback("rating", "p", ("x",), scores=scores, scales=FIVE | {"style": Scale(low=0, high=1)})
    assert value_of(rating) == pytest.approx((0.75 + 0.0) / 2)
    assert (
        value_of(feedback("critique", "p", ("xyz",), defects=("a",), spans=({"start": 0, "end": 1, "label": "b"},)))
        == -2
    )
    assert value_of(feedback("thumb", "p", ("x",), up=True)) == 1
    assert value_of(feedback("comparison", "p", ("x", "y"), choice="a")) is None


def test_each_text_of_a_prompt_stands_once_and_what_says_nothing_is_counted() -> None:
    turns = (Message(role="user", content="p"),)
    rows = [
        judged("comparison", "p", ("x", "y"), choice="a"),
        judged("comparison", "p", ("y", "x"), choice="a"),
        judged("comparison", turns, ("x", "y"), choice="a"),
        judged("demonstration", "alone", (), text="t"),
        judged("ranking", "p", ("x", "y", "z"), groups=((0, 1),)),
    ]
    found = claims_of(rows)
    assert [text for _, text in found.texts] == ["x", "y", "x", "y", "t", "z"]
    assert dict(found.silent) == {"demonstration": 1}
    assert [c.judgment for c in found.claims] == [0, 1, 2, 4]
