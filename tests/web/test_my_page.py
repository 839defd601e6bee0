"""What somebody's own page says of agreement: nothing by which one answer of another could be told."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from site_of_tests import Site

from heed.feedback import answers, asked, items, queue
from heed.feedback.forms import default_form
from heed.feedback.item_files import parse_item
from heed.feedback.showings import Rater

LEFT = {"better": {"choice": "left", "strength": 1}}


def answer(site: Site, name: str, question: str, count: int) -> None:
    """``name`` answers ``count`` items."""
    now, who = datetime.now(UTC), Rater(name)
    for _ in range(count):
        got = site.write(lambda c: queue.claim(c, who, question, now, random.Random(1), 1))
        assert isinstance(got, queue.Claimed)
        (showing,) = got.showings
        site.write(lambda c, s=showing.id: answers.answer(c, who, s, LEFT, None, 9.0, 9.0, "", now))


@pytest.fixture
def question(site: Site) -> str:
    now = datetime.now(UTC)
    form = default_form().model_copy(update={"gold_rate": 0.0, "repeat_rate": 0.0})
    made = site.write(lambda c: asked.create_question(c, "Which", form, "lea", now)).id
    rows = [parse_item({"prompt": f"item {n}", "completions": ["one", "two"]}) for n in range(20)]
    site.write(lambda c: items.add_items(c, made, rows, now, random.Random(0)))
    for name in ("ann", "bob"):
        site.account(name)
    return made


@pytest.mark.parametrize("others", [0, 20])
def test_held_back_answers_are_not_called_answered_by_nobody_else(site: Site, question: str, others: int) -> None:
    if others:
        answer(site, "bob", question, others)
    answer(site, "ann", question, 19)
    ann = site.client("ann")
    mine = ann.get("/api/v1/me/work").json()
    assert (mine["agreement"]["share"], mine["held"], mine["counted_by"]) == (None, 19, 20)
    page = ann.get("/me").text
    assert "answers are counted 20 at a time, so that nobody else" in page
    assert "not known yet" in page
    assert "nobody else has answered" not in page
    answer(site, "ann", question, 1)
    assert (ann.get("/api/v1/me/work").json()["agreement"]["share"] is not None) == bool(others)
    assert ("nobody else has answered" in ann.get("/me").text) == (not others)


def test_corrections_do_not_tell_what_others_said(site: Site, question: str) -> None:
    answer(site, "bob", question, 20)
    answer(site, "ann", question, 20)
    ann = site.client("ann")
    told = ann.get("/api/v1/me/work").json()["agreement"]
    assert told["share"] is not None
    for turn in range(2 * 20):
        reopened = ann.post(f"/api/v1/questions/{question}/undo").json()["showing"]
        choice = ("right", "tie", "left")[turn % 3]
        said = {"answer": {"better": {"choice": choice, "strength": None if choice == "tie" else 1}}}
        assert ann.post(f"/api/v1/showings/{reopened['id']}/answer", json=said).status_code == 200
        mine = ann.get("/api/v1/me/work").json()
        assert (mine["agreement"], mine["held"]) == (told, 0)


def test_how_many_answers_could_be_compared_is_not_told(site: Site, question: str) -> None:
    """Exactly told, the share and its interval would give their denominator, and with it the number of known items."""
    answer(site, "bob", question, 13)
    answer(site, "ann", question, 20)
    told = site.client("ann").get("/api/v1/me/work").json()["agreement"]
    assert sorted(told) == ["high", "low", "of", "reason", "share"]
    assert told["of"] == 20
    for value in (told["share"], told["low"], told["high"]):
        assert round(value * 20) == pytest.approx(value * 20, abs=1e-9)
    assert told["low"] <= told["share"] <= told["high"]


def test_an_answer_that_is_open_for_a_change_still_counts(site: Site, question: str) -> None:
    answer(site, "ann", question, 3)
    ann = site.client("ann")
    assert ann.post(f"/api/v1/questions/{question}/undo").status_code == 200
    mine = ann.get("/api/v1/me/work").json()
    assert (mine["answered"], sum(mine["days"]), mine["held"]) == (3, 3, 3)
