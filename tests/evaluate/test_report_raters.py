"""The part of the report about raters says what is known of them, of judgments as they lie in a store."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from test_report import Page, report

from heed.evaluate.compare import win_rates
from heed.evaluate.report import ReportData, render
from heed.evaluate.report_raters import raters_part
from heed.feedback.kinds import Comparison, Edit, Ranking, Rating, Scale, Thumb
from heed.raters.from_feedback import answers_of_feedback
from heed.raters.simulated import SimulatedRater
from heed.raters.told import sentence_of
from heed.raters.trust import trust_of
from heed.sandbox.crowd import Work, crowd_answers, worth

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def part():
    kinds = ["careful"] * 5 + ["inverted", "random"]
    raters = [SimulatedRater(f"{kind}-{n}", kind, worth) for n, kind in enumerate(kinds)]
    trust = trust_of(crowd_answers(raters, Work(items=200, gold=12), 0), {})
    ids = [f"p{n}" for n in range(40)]
    rates = {
        group: win_rates(np.ones(40) * share, [9] * 40, [9] * 40, ids) for group, share in (("east", 1), ("west", 0))
    }
    return trust, raters_part(trust, rates, lambda item: f"prompt of {item} {'<script>'}")


def test_each_rater_has_a_row_with_the_sentence_and_the_figures():
    trust, shown = part()
    data = report(trust=shown)
    assert ReportData.model_validate_json(data.model_dump_json()) == data
    html = render(data)
    page = Page(html)
    for name, one in trust.raters.items():
        assert sentence_of(one) in page.text
        row = Page(re.search(rf"<tr><th scope=\"row\"><bdi>{name}</bdi>.*?</tr>", html, re.DOTALL)[0])
        assert [float(value) for value, _ in row.data][-1] == one.weight
        assert f"{50 * (1 + one.agreement.estimate):.0f}" in [text for _, text in row.data]
    assert "Mostly says the opposite of what is right" in page.text
    assert "But: says the opposite more often than chance explains" in re.sub(r"\s+", " ", page.text)
    assert "in the eyes of each group" in page.text


def test_a_report_without_judgments_says_so():
    assert "Whom to trust was not looked at" in Page(render(report())).text


def comparison(rater, first, second, choice, minutes=0, order=(0, 1)):
    return Comparison(
        rater=rater,
        prompt_id="p",
        completion_ids=(first, second),
        choice=choice,
        shown_order=order,
        created=NOW + timedelta(minutes=minutes),
        seconds=4.0,
    )


def said(answers):
    """What each rater said of each item, in words."""
    found = {}
    for answer, field, place, value in zip(
        *(getattr(answers.units, c) for c in ("answer", "field", "place", "value")), strict=True
    ):
        name, level = answers.fields[field]
        word = answers.values[int(value)] if level == "nominal" else float(value)
        key = (answers.raters[answers.rater[answer]], answers.items[answers.item[answer]], name, answers.places[place])
        found[key] = word
    return found


def test_the_same_two_completions_are_one_item_however_they_were_named():
    answers = answers_of_feedback([comparison("ann", "c1", "c2", "a"), comparison("bob", "c2", "c1", "b")])
    item = "comparison c1 c2"
    assert said(answers) == {
        ("ann", item, "comparison", "@"): "a",
        ("bob", item, "comparison", "@"): "a",
    }
    assert answers.left.tolist() == [1, 0]


def test_the_newest_of_several_judgments_counts():
    answers = answers_of_feedback([comparison("ann", "c1", "c2", "a", 5), comparison("ann", "c1", "c2", "b", 3)])
    assert list(said(answers).values()) == ["a"]


def test_other_kinds_become_units_that_can_be_compared():
    common = {"rater": "ann", "prompt_id": "p", "created": NOW}
    rating = Rating(**common, completion_ids=("c1",), scores={"good": 4.0}, scales={"good": Scale(low=1.0, high=5.0)})
    ranking = Ranking(**common, completion_ids=("c3", "c1", "c2"), groups=((0,), (1, 2)))
    thumb = Thumb(**common, completion_ids=("c1",), up=False)
    edit = Edit(**common, completion_ids=("c1",), edited="better")
    answers = answers_of_feedback([rating, ranking, thumb, edit])
    assert said(answers) == {
        ("ann", "rating c1", "rating.good", "@"): 4.0,
        ("ann", "ranking c1 c2 c3", "ranking", "0-1@"): "tie",
        ("ann", "ranking c1 c2 c3", "ranking", "0-2@"): "second",
        ("ann", "ranking c1 c2 c3", "ranking", "1-2@"): "second",
        ("ann", "thumb c1", "thumb", "@"): "down",
    }
    assert answers.units.tolerance[answers.units.field == 0] == pytest.approx(0.4)
