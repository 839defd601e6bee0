"""A lead decides about items whose form has several fields: what the form begins with, and what is kept when it is refused."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from site_of_tests import Site

from heed.feedback import answers, asked, items, queue
from heed.feedback.forms import parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.showings import Rater
from heed.people import audit
from heed.raters.concerns import Concern
from heed.web.board.words import Words
from heed.web.language import translate

FORM = {
    "title": "Both",
    "fields": [
        {"kind": "rating", "name": "score", "label": "Score", "attributes": [{"name": "help", "label": "Help"}]},
        {"kind": "comparison", "name": "better", "label": "Better?"},
        {"kind": "critique", "name": "faults", "label": "Faults", "defects": ["rude"], "spans": True},
    ],
    "gold_rate": 0.0,
    "repeat_rate": 0.0,
    "overlap": 3,
}
SAID = {"ann": ("a", [5.0, 1.0]), "bob": ("a", [2.0, 1.0]), "cy": ("b", [4.0, 1.0])}
"""What each says in item order; all find the second completion rude, in its first letters."""
FAULTS = [
    {"defects": [], "spans": [], "note": ""},
    {"defects": ["rude"], "spans": [{"start": 0, "end": 2, "label": "rude", "note": ""}], "note": ""},
]


@pytest.fixture
def item(site: Site) -> str:
    now = datetime.now(UTC)
    question = site.write(lambda c: asked.create_question(c, "Both", parse_form(FORM), "lea", now)).id
    return answer_all(site, question, "![a cat](media:00.png) what is it")


def answer_all(site: Site, question: str, prompt: str) -> str:
    """An item to which everybody has said what is in ``SAID``."""
    now = datetime.now(UTC)
    row = parse_item({"prompt": prompt, "completions": ["a cat", "no idea"]})
    (made,) = site.write(lambda c: items.add_items(c, question, [row], now, random.Random(0))).ids
    for name, (choice, scores) in SAID.items():
        site.account(name)
        who = Rater(name)
        got = site.write(lambda c, w=who: queue.claim(c, w, question, now, random.Random(1), 1))
        assert isinstance(got, queue.Claimed)
        showing = got.showings[0]
        order = showing.shown_order
        wire = {
            "better": {"choice": ("left", "right")[order.index("ab".index(choice))], "strength": None},
            "score": [{"help": scores[position]} for position in order],
            "faults": [FAULTS[position] for position in order],
        }
        site.write(lambda c, w=who, s=showing.id, a=wire: answers.answer(c, w, s, a, None, 9.0, 9.0, "", now))
    return made


def inputs(page: str, prefix: str) -> dict[str, str]:
    """What stands in the inputs of a form whose ids begin with ``prefix``, by their names."""
    form = page[page.index('class="decide"') :].split("</form>")[0]
    numbers = dict(re.findall(rf'id="{prefix}-[^"]*" name="(answer[^"]*)"[^>]* value="([^"]*)"', form))
    return numbers | dict(re.findall(r'name="(answer[^"]*)" value="([^"]*)" checked', form))


def test_a_decision_begins_with_what_most_say_and_the_median_of_scores(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    for path in ("/board/disagreements", f"/board/items/{item}"):
        found = inputs(lead.get(path).text, "decide")
        assert found["answer.better.choice"] == "left"
        assert (float(found["answer.score.0.help"]), float(found["answer.score.1.help"])) == (4.0, 1.0)
        assert found["answer.faults.1.defects"] == "rude"


def test_an_answer_can_be_taken_and_its_marked_parts_go_along(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    page = lead.get("/board/disagreements").text
    said = {one["rater"]: one["id"] for one in lead.get(f"/api/v1/board/items/{item}").json()["item"]["answers"]}
    take = f"take={said['cy']}"
    assert f"{take}#decide" in page
    found = inputs(lead.get(f"/board/disagreements?item={item}&{take}").text, "decide")
    assert (found["answer.better.choice"], float(found["answer.score.0.help"])) == ("right", 4.0)
    sent = {name: value.replace("&#34;", '"') for name, value in found.items()}
    assert lead.post(f"/board/items/{item}/decision", data=sent).status_code == 303
    (critique,) = (
        one.feedback for one in site.project.store.feedback(raters=["lea"]) if getattr(one.feedback, "spans", ())
    )
    assert [(span.start, span.end, span.label) for span in critique.spans] == [(0, 2, "rude")]
    decided = lead.get(f"/board/items/{item}").text
    assert "0.0 s" not in decided


@pytest.mark.parametrize("goes_to", ["queue", "item"])
def test_a_refused_decision_keeps_what_was_typed_and_says_what_is_missing(site: Site, item: str, goes_to: str) -> None:
    lead = site.client("lea", "lead")
    sent = {"answer.better.choice": "right", "answer.better.strength": "2", "answer.score.0.help": "3"}
    sent |= {"answer.faults.0.judged": "on", "answer.faults.1.note": "too short"}
    sent |= {"note": "my <reason>", "gold": "on", "explanation": "because", "next": goes_to}
    answer = lead.post(f"/board/items/{item}/decision", data=sent)
    assert answer.status_code == 422
    assert 'id="decide-score-error"' in answer.text  # beside the field
    found = inputs(answer.text, "decide")
    assert found["answer.better.choice"] == "right"
    assert found["answer.score.0.help"] == "3"
    for kept in ("my &lt;reason&gt;", "because", "too short", '<option value="2" selected>'):
        assert kept in answer.text
    assert 'name="gold" value="on" checked' in answer.text
    assert site.project.store.feedback(raters=["lea"]) == []


def test_a_decision_is_taken_back_where_it_was_made_and_stands_in_the_log(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    lead.get("/board")  # the board has counted once
    said = {"answer.better.choice": "right", "answer.score.0.help": "4", "answer.score.1.help": "1", "next": "queue"}
    said |= {"answer.faults.0.judged": "on", "answer.faults.1.judged": "on"}
    decided = lead.post(f"/board/items/{item}/decision", data=said)
    assert decided.headers["location"] == f"/board/disagreements?last={item}&done=adjudicated"
    queue_page = lead.get(decided.headers["location"]).text
    assert "You decided:" in queue_page
    assert "No disagreement waits" in queue_page
    undo = f"/board/items/{item}/decision/undo"
    assert f'action="{undo}"' in queue_page
    assert f'action="{undo}"' in lead.get(f"/board/items/{item}").text
    undone = lead.post(undo, data={"next": "queue"})
    assert undone.headers["location"] == f"/board/disagreements?item={item}&done=taken_back"
    page = lead.get(undone.headers["location"]).text
    assert "The decision was taken back" in page
    assert "took a decision back" in page
    assert f'action="{undo}"' not in page
    assert [one["id"] for one in lead.get("/api/v1/board/disagreements").json()["items"]] == [item]
    again = lead.delete(f"/api/v1/board/items/{item}/decision")
    assert (again.status_code, again.json()["error"]["why"]) == (409, "none stands on this item any more.")
    entries = site.read(lambda connection: audit.entries(connection, limit=2))
    assert [(one.action, one.subject) for one in entries] == [("item.decision_undo", item), ("item.adjudicate", item)]
    # The form begins with what most say, and no longer with what was decided.
    assert 'value="left" checked' in lead.get(f"/board/disagreements?item={item}").text
    assert lead.post(f"/board/items/{item}/decision", data=said).status_code == 303


def test_beside_each_answer_stands_how_far_its_rater_can_be_trusted(site: Site, item: str) -> None:
    page = site.client("lea", "lead").get(f"/board/disagreements?item={item}").text
    cards = re.findall(r'<article class="card answer-card.*?</article>', page, re.DOTALL)
    told = {re.search(r'href="/board/people/(\w+)"', card).group(1): card for card in cards}  # type: ignore[union-attr]
    assert set(told) == set(SAID)
    # One item tells nothing of anybody.
    assert all("not checked" in card for card in cards)


def test_a_refused_known_answer_keeps_what_was_typed(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    sent = {"answer.score.0.help": "9", "explanation": "too <high>", "purpose": "training"}
    answer = lead.post(f"/board/items/{item}/gold", data=sent)
    assert answer.status_code == 422
    assert "too &lt;high&gt;" in answer.text
    assert 'value="9"' in answer.text
    assert '<option value="training" selected>' in answer.text


def test_an_item_that_agrees_in_one_field_is_suggested_as_gold_by_that_field(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    page = lead.get("/board/gold").text
    assert item in page.split('id="suggested-title"')[1]
    assert "[picture] what is it" in page
    assert "![a cat]" not in page
    gold = lead.get(f"/board/items/{item}").text.split('/gold" class="decide"')[1]
    found = inputs('class="decide"' + gold, "gold")
    assert found["answer.faults.1.defects"] == "rude"
    assert "answer.better.choice" not in found  # they do not agree in it
    assert not any(value for name, value in found.items() if name.startswith("answer.score"))


def test_agreement_is_shown_by_field_on_the_pages_of_people(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    page = lead.get("/board/people/cy").text.split('id="fields-title"')[1].split("</section>")[0]
    assert re.findall(r'<td dir="auto"[^>]*>([^<]+)</td>', page) == [
        "Better?",
        "Score · Help",
        "Faults",
    ]  # the lowest first
    overview = lead.get("/board").text
    assert [f"Agreement: {label}" in overview for label in ("Better?", "Faults", "Score · Help")] == [True] * 3
    assert "score.help" not in overview + page


def test_the_lowest_field_is_named_with_its_question_once_enough_is_known_of_it(site: Site, item: str) -> None:
    lead = site.client("lea", "lead")
    assert "lowest:" not in lead.get("/board/people").text  # of one answer
    question = site.read(lambda c: asked.questions_asked(c))[0].id
    for number in range(4):
        answer_all(site, question, f"another {number}")
    page = site.client("lea").get("/board/people?done=paused").text  # counted anew
    assert "lowest: “Better?” 0\N{NO-BREAK SPACE}% of 5 (Both)" in page  # both others say the first


def test_a_warning_about_a_field_names_it_as_raters_read_it(site: Site, item: str) -> None:
    found = site.read(lambda c: asked.questions_asked(c))
    concern = Concern(
        concern="agreement", value=0.1, low=0.0, high=0.2, n=30, expected=0.8, field="score.help", reason="low"
    )
    call: Any = SimpleNamespace(text=lambda key, **values: translate("en", key, **values))
    say = Words(call, found)
    assert say.concern(concern.model_copy(update={"question": found[0].id})).startswith("Both, “Score · Help”: agrees")
    assert say.concern(concern.model_copy(update={"question": "gone"})).startswith("gone, “score.help”: agrees")


def test_the_answers_of_a_person_are_listed_by_how_their_prompts_begin(site: Site, item: str) -> None:
    page = site.client("lea", "lead").get("/board/people/cy").text.split('id="answers-title"')[1]
    assert f'<a href="/board/items/{item}" dir="auto">[picture] what is it</a>' in page
