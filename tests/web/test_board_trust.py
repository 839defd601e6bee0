"""The board says whom to trust: the figures of ``heed.raters.trust``, in sentences, to leads alone, in both languages."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from board_data import comparison_form
from site_of_tests import Site
from sqlalchemy import Connection, insert, select

from heed.feedback import asked, items
from heed.feedback.item_files import parse_item
from heed.feedback.studio_schema import answers, qualifications
from heed.feedback.studio_schema import items as item_table
from heed.people import accounts, audit, exclusions, managing, rounds
from heed.raters.columns import AnswerColumns, AnswerRow, Unit
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
    assert "This rests on 12 known answers and 60 items that others answered too" in page
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
    grow(known, "new", "newer")
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


def grow(known: Site, *names: str) -> None:
    """More people, of no group, who have seen nothing."""
    for name in names:
        known.account(name)


def test_a_round_asks_no_more_people_than_are_left_says_the_total_and_can_be_taken_back(known: Site) -> None:
    lead = known.client("lea", "lead")
    first, second = (one["item"] for one in lead.get("/api/v1/board/trust").json()["contested"][:2])
    nobody = lead.post("/api/v1/board/trust/round", json={"items": [first], "more": 1})
    assert nobody.status_code == 422
    assert "everybody who could answer these items has seen them" in nobody.json()["error"]["why"]
    assert "nobody is left" in lead.get("/board/trust").text
    grow(known, "new", "newer", "out", "away")
    known.write(lambda c: exclusions.exclude(c, "out", "a test", "lea", BEGUN))
    away, lea = known.account("away").id, known.account("lea")
    known.write(lambda c: managing.pause(c, away, "", lea, BEGUN))
    page = lead.get("/board/trust").text
    assert re.findall(r'data-room="(\d+)"', page) == ["2"] * page.count("data-room=")
    ticked = len(re.findall(r'name="item"[^>]*checked', page))
    assert f"In all: {ticked} further answers" in page
    made = lead.post("/api/v1/board/trust/round", json={"items": [first, second], "more": 9}).json()
    assert (made["items"], made["answers"]) == (2, 4)

    def overlaps() -> list[tuple[int, bool]]:
        def read(connection: Connection) -> list[tuple[int, bool]]:
            rows = connection.execute(select(item_table).where(item_table.c.id.in_([first, second])))
            return [(row.overlap, row.available) for row in rows]

        return known.read(read)

    assert overlaps() == [(7, True)] * 2
    # What was asked for and is still open leaves room for nobody else.
    assert lead.post("/api/v1/board/trust/round", json={"items": [first], "more": 1}).status_code == 422
    assert "further answers: 4, items: 2" in lead.get("/board/trust").text
    undone = lead.post("/board/trust/round/undo", data={"round": made["round"]})
    assert undone.headers["location"] == "/board/trust?done=round_undone"
    assert overlaps() == [(5, False)] * 2
    assert "further answers: 4" not in lead.get("/board/trust?done=round_undone").text
    entries = known.read(lambda connection: audit.entries(connection, limit=4))
    assert [one.action for one in entries] == ["item.round_undo"] * 2 + ["item.round"] * 2
    again = lead.delete(f"/api/v1/board/trust/round/{made['round']}")
    assert again.status_code == 409
    assert "was taken back" in again.json()["error"]["why"]
    assert lead.delete("/api/v1/board/trust/round/r0").status_code == 409
    assert known.client("ann").delete(f"/api/v1/board/trust/round/{made['round']}").status_code == 403


def test_a_round_is_taken_back_whole_and_once_however_much_the_log_has_since(
    known: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest rounds are looked for among so many entries; one that is named is found wherever it stands."""
    lead = known.client("lea", "lead")
    contested = [one["item"] for one in lead.get("/api/v1/board/trust").json()["contested"][:3]]
    grow(known, *(f"new{n}" for n in range(12)))
    monkeypatch.setattr(rounds, "_LOOKED_AT", 2)

    def overlaps() -> list[int]:
        return known.read(lambda c: list(c.scalars(select(item_table.c.overlap).where(item_table.c.id.in_(contested)))))

    def do(path: str, **values: object) -> dict[str, object]:
        return lead.post(path, json=values).json()

    before = overlaps()
    first = do("/api/v1/board/trust/round", items=contested, more=2)
    others = [do("/api/v1/board/trust/round", items=contested, more=1) for _ in range(3)]
    assert lead.delete(f"/api/v1/board/trust/round/{first['round']}").status_code in (200, 204)
    assert overlaps() == [one + 3 for one in before], "all three items, and those of the later rounds stand"
    assert lead.delete(f"/api/v1/board/trust/round/{others[0]['round']}").status_code in (200, 204)
    do("/api/v1/board/trust/round", items=contested[:1], more=1)
    assert lead.delete(f"/api/v1/board/trust/round/{first['round']}").status_code == 409
    (shown, *_) = known.read(lambda c: rounds.newest(c, 5))
    assert (shown.items, shown.answers) == (1, 1)


def test_a_group_with_a_quota_and_who_failed_the_test_give_no_further_answers(known: Site) -> None:
    item = known.client("lea", "lead").get("/api/v1/board/trust").json()["contested"][0]["item"]
    question = known.read(lambda c: asked.questions_asked(c)[0])
    form = comparison_form(overlap=5, group_quota={"east": 1}, qualification={"attempts": 1, "pass_mark": 0.5})
    known.write(lambda c: asked.save_question(c, question.id, form, "stricter", "lea", question.version, BEGUN))
    for name, group in {"e1": "east", "e2": "east", "w1": "west", "w2": "west"}.items():
        known.account(name, group=group)
    values = {"question_id": question.id, "attempt": 1, "asked": 1, "score": 0.0, "started": BEGUN, "ended": BEGUN}
    known.write(lambda c: c.execute(insert(qualifications).values(rater="w2", state="failed", **values)))
    # One of the two of the east fits; of the west one is left.
    assert known.read(lambda c: rounds.able(c, [item])) == {item: 2}


def test_the_trust_page_and_the_persons_page_give_the_same_reasons(known: Site) -> None:
    lead = known.client("lea", "lead")
    team, people = lead.get("/board/trust").text, lead.get("/board/people").text
    for name in RIGHT:
        row = re.search(rf'<th scope="row"[^>]*><a href="/board/people/{name}".*?</tr>', team, re.DOTALL)
        assert row
        listed = re.search(rf'<th scope="row"[^>]*><a href="/board/people/{name}".*?</th>', people, re.DOTALL)
        assert listed
        reasons = re.findall(r'<li><span class="badge warn">([^<]+)</span> ([^<]+)</li>', row.group())
        own = lead.get(f"/board/people/{name}").text
        assert re.findall(r'<li><span class="badge warn">([^<]+)</span> ([^<]+)</li>', own) == reasons
        assert set(re.findall(r'<span class="badge warn">([^<]+)</span>', listed.group())) == {
            one for one, _ in reasons
        }
    assert "misses gold" in lead.get("/board/people/upside").text  # a concern, among the flags
    assert "the checks found: says the opposite" in team


def test_the_sentence_names_all_that_the_weight_rests_on(known: Site) -> None:
    told = {one["rater"]: one for one in known.client("lea", "lead").get("/api/v1/board/trust").json()["raters"]}["ann"]
    page = known.client("lea").get("/board/people/ann").text
    usual, joint = TrustWords.right(told["usual"]), TrustWords.right(told["joint"]["estimate"])
    assert "12 known answers and 60 items that others answered too, drawn towards the team" in page
    assert f"usual {usual}; learned together with the texts, which changes no weight, it would be {joint}" in page
    assert told["compared_for_copying"] == 4
    assert "the checks found nothing against them." in page


def test_where_no_two_people_can_be_compared_nothing_is_called_clear(site: Site) -> None:
    page = site.client("lea", "lead").get("/board/trust").text
    assert "Nothing could be checked: no two people have ten items in common yet" in page
    assert "answer more alike than being right explains" not in page


def test_a_missing_estimate_never_denies_what_stands_beside_it() -> None:
    """Two of two groups that part share items, and are not compared: the reason says so, and not that nobody answered."""
    rng = random.Random(0)
    rows = []
    for item in range(40):
        for name in ("a1", "a2", "a3", "b1", "b2", "b3"):
            choice = "ab"[(name[0] == "b") != (rng.random() < 0.05)]
            rows.append((f"i{item}", name, choice))
    # "alone" is the only one of a third group.
    rows += [(f"i{item}", "alone", "a") for item in range(6)]
    columns = AnswerColumns(
        AnswerRow(number, item, "q", name, "work", BEGUN, 5.0, (Unit("better", "", "nominal", choice),))
        for number, (item, name, choice) in enumerate(rows)
    )
    trust = trust_of(
        columns.answers(), {name: name[0] for name in ("a1", "a2", "a3", "b1", "b2", "b3")} | {"alone": "c"}
    )
    assert trust.parting.parted
    one = trust.raters["alone"]
    assert (one.agreement.why, one.agreement.n) == ("set_aside", 6)
    assert "All 6 items shared with others" in (one.agreement.reason or "")
    assert one.joint.why != "no_overlap"
