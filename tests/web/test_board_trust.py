"""The board says whom to trust: the figures of ``heed.raters.trust``, in sentences, to leads alone, in both languages."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from board_data import comparison_form
from site_of_tests import Site
from sqlalchemy import insert, select

from heed.feedback import asked, items
from heed.feedback.item_files import parse_item
from heed.feedback.studio_schema import answers
from heed.feedback.studio_schema import items as item_table
from heed.people import accounts, audit
from heed.raters.reading import AnswerReader
from heed.raters.trust import trust_of
from heed.web.board.trust_words import TrustWords

BEGUN = datetime.now(UTC) - timedelta(days=2)
RIGHT: Mapping[str, float] = {"ann": 0.97, "bob": 0.93, "cy": 0.9, "dee": 0.95, "upside": 0.05}
"""How often each is right; each is in the group of an initial."""
GROUPS = {"ann": "east", "bob": "east", "cy": "west", "dee": "west", "upside": "west"}
ITEMS, GOLD = 60, 12


def answer_all(site: Site, question: str, ids: list[str]) -> None:
    """Answers of everybody to everything, as rows: the queue is not what is looked at here."""
    rng, rows = random.Random(3), []
    for rater, right in RIGHT.items():
        for place, item in enumerate(ids):
            gold = place >= ITEMS
            choice = "a" if rng.random() < right else "b"  # the first one is the better one
            left = rng.random() < 0.5
            rows.append(
                {
                    "id": f"a{len(rows):015d}x"[:17],
                    "showing_id": None,
                    "item_id": item,
                    "question_id": question,
                    "rater": rater,
                    "purpose": "gold" if gold else "work",
                    "form_version": 1,
                    "guideline_version": 0,
                    "answer": {"better": {"choice": choice, "strength": None}},
                    "confidence": None,
                    "correct": float(choice == "a") if gold else None,
                    "chose_left": left,
                    "tied": False,
                    "seconds": 20.0,
                    "active_seconds": 15.0,
                    "note": "",
                    "created": BEGUN + timedelta(minutes=place, seconds=len(rows) % 7),
                    "supersedes": None,
                }
            )
    site.write(lambda connection: connection.execute(insert(answers), rows))
    count = {"level": len(RIGHT), "answers": len(RIGHT), "available": False}
    site.write(lambda connection: connection.execute(item_table.update().values(**count)))


@pytest.fixture
def known(site: Site) -> Site:
    """A site on which five people have judged 72 items, twelve of them gold."""
    for name, group in GROUPS.items():
        site.account(name, group=group)
    form = comparison_form(overlap=5)
    question = site.write(lambda c: asked.create_question(c, "Compare", form, "lea", BEGUN)).id
    rows = [
        parse_item(
            {"prompt": f"item {n}", "completions": [f"{n}: one", f"{n}: two"]}
            | ({"purpose": "gold", "expected": {"better": {"choice": "a"}}} if n >= ITEMS else {})
        )
        for n in range(ITEMS + GOLD)
    ]
    added = site.write(lambda c: items.add_items(c, question, rows, BEGUN, random.Random(0)))
    answer_all(site, question, list(added.ids))
    return site


def test_the_api_tells_what_the_answers_come_to(known: Site) -> None:
    def read(connection: object) -> object:
        reader = AnswerReader()
        while not reader.read(connection):  # type: ignore[arg-type]
            pass
        return reader.columns.answers()

    expected = trust_of(known.read(read), GROUPS)  # type: ignore[arg-type]
    found = known.client("lea", "lead").get("/api/v1/board/trust").json()
    told = {one["rater"]: one for one in found["raters"]}
    assert set(told) == set(RIGHT)
    for name, one in expected.raters.items():
        assert told[name]["reliability"]["estimate"] == pytest.approx(one.reliability.estimate)
        assert told[name]["weight"] == pytest.approx(one.weight)
    assert told["upside"]["suggestion"] == "exclude"
    assert {flag["kind"] for flag in told["upside"]["flags"]} == {"inverted"}
    assert told["upside"]["weight"] == 0.0
    assert told["ann"]["suggestion"] == "none"
    assert found["parting"]["parted"] is False


def test_a_persons_page_says_in_a_sentence_how_far_to_trust_them_and_why(known: Site) -> None:
    lead = known.client("lea", "lead")
    page = lead.get("/board/people/upside").text
    assert "Mostly says the opposite of what is right" in page
    assert "by 12 known answers and 60 items that others judged too" in page
    assert "consider excluding them from training" in page
    good = lead.get("/board/people/ann").text
    assert "Can be relied on" in good
    assert "What speaks against it" not in good
    # Four estimates, each with a picture that says the same in words.
    assert (
        len(re.findall(r'class="whiskers"[^>]*aria-label="(?:All together|By known|By agreement|Learned)', good)) == 4
    )


def test_nobody_is_excluded_by_a_suggestion(known: Site) -> None:
    lead = known.client("lea", "lead")
    assert lead.get("/board/trust").status_code == 200
    assert lead.get("/api/v1/board/people/upside").json()["excluded"] is False


def test_the_page_of_the_team_names_those_first_who_need_a_look(known: Site) -> None:
    lead = known.client("lea", "lead")
    page = lead.get("/board/trust").text
    names = re.findall(r'<th scope="row"[^>]*><a href="/board/people/([^"]+)"', page)
    assert names[0] == "upside"
    assert set(names) == set(RIGHT)
    account = known.account("lea").id
    known.write(lambda connection: accounts.set_preferences(connection, account, language="zh"))
    chinese = known.client("lea").get("/board/trust").text
    assert "谁值得信赖" in chinese
    assert "多半与正确答案相反" in chinese


@pytest.mark.parametrize("path", ["/board/trust", "/api/v1/board/trust"])
def test_raters_are_told_nothing_of_it(known: Site, path: str) -> None:
    answer = known.client("ann").get(path)
    assert answer.status_code == 403
    assert "upside" not in answer.text


def test_another_round_asks_others_about_an_item_and_stands_in_the_log(known: Site) -> None:
    lead = known.client("lea", "lead")
    item = lead.get("/api/v1/board/trust").json()["contested"][0]["item"]
    nothing = lead.post("/board/trust/round", data={"more": 2})
    assert nothing.status_code == 422
    assert "no item is ticked" in nothing.text
    done = lead.post("/board/trust/round", data={"item": [item], "more": 2})
    assert done.headers["location"] == "/board/trust?done=round"

    def look(connection: object) -> tuple[int, bool]:
        row = connection.execute(select(item_table).where(item_table.c.id == item)).one()  # type: ignore[attr-defined]
        return row.overlap, row.available

    assert known.read(look) == (len(RIGHT) + 2, True)
    entry = known.read(lambda connection: audit.entries(connection)[0])  # type: ignore[arg-type]
    assert (entry.actor, entry.action, entry.subject) == ("lea", "item.round", item)
    assert "Others will be asked" in lead.get("/board/trust?done=round").text
    refused = lead.post("/api/v1/board/trust/round", json={"items": ["i0"], "more": 1})
    assert refused.status_code == 422
    assert "none of these items is asked as work" in refused.json()["error"]["why"]
    assert lead.post("/api/v1/board/trust/round", json={"items": [item], "more": 0}).status_code == 422


def test_a_site_without_answers_says_so(site: Site) -> None:
    page = site.client("lea", "lead").get("/board/trust")
    assert page.status_code == 200
    assert "Nobody has answered yet" in page.text


def test_right_choices_of_a_hundred() -> None:
    assert [TrustWords.right(r) for r in (-1.0, 0.0, 0.5, 1.0)] == ["0", "50", "75", "100"]
