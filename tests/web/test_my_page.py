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
    assert (mine["agreement"]["estimate"], mine["held"], mine["counted_by"]) == (None, 19, 20)
    page = ann.get("/me").text
    assert "answers are counted 20 at a time, so that nobody else" in page
    assert "not known yet" in page
    assert "nobody else has answered" not in page
    answer(site, "ann", question, 1)
    assert (ann.get("/api/v1/me/work").json()["agreement"]["n"] > 0) == bool(others)
    assert ("nobody else has answered" in ann.get("/me").text) == (not others)
