"""The raters' API: what is sent, what is kept, what is refused, and what a rater never learns."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from site_of_tests import Site
from starlette.testclient import TestClient

from heed.feedback import asked, items
from heed.feedback.forms import parse_form
from heed.feedback.item_files import parse_item
from heed.feedback.studio_schema import answers, showings
from heed.people import accounts, guidelines, managing

KNOWN = {"better": {"choice": "a"}}
LEFT = {"answer": {"better": {"choice": "left", "strength": 2}}, "seconds": 5.0, "active_seconds": 4.0}
RIGHT = {"answer": {"better": {"choice": "right", "strength": 1}}}


class Desk:
    """A question on a site, and the API as its raters call it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.now = datetime.now(UTC)
        self.question = self.ask("which")

    def ask(self, name: str, **changes: Any) -> str:
        field = {"kind": "comparison", "name": "better", "label": "Which is better?"}
        values = {"title": "Which?", "fields": [field], "gold_rate": 0.0, "repeat_rate": 0.0} | changes
        form = parse_form(values)
        return self.site.write(lambda c: asked.create_question(c, name, form, "lead", self.now)).id

    def add(self, *rows: dict[str, Any], question: str | None = None) -> list[str]:
        parsed = [
            parse_item({"prompt": f"prompt {n}", "completions": [f"**yes** {n}", f"no {n}"]} | row)
            for n, row in enumerate(rows)
        ]
        target = question or self.question
        return list(self.site.write(lambda c: items.add_items(c, target, parsed, self.now, random.Random(1))).ids)

    def claim(self, client: TestClient, question: str | None = None) -> dict[str, Any]:
        response = client.post(f"/api/v1/questions/{question or self.question}/showings", json={})
        assert response.status_code == 200, response.text
        return response.json()

    def rows(self, table: Any) -> list[Any]:
        return self.site.read(lambda c: c.execute(table.select().order_by(table.c.number)).all())


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    return Desk(site)


def test_a_claim_gives_three_items_rendered_in_shown_order_and_the_same_again(desk: Desk) -> None:
    desk.add({}, {}, {})
    ann = desk.site.client("ann")
    first = desk.claim(ann)
    assert len(first["showings"]) == 3
    assert first["nothing"] is None
    assert desk.claim(ann) == first
    by_id = {showing.id: showing for showing in desk.rows(showings)}
    for shown in first["showings"]:
        order = by_id[shown["id"]].shown_order
        assert ["<strong>yes</strong>" in completion["html"] for completion in shown["completions"]] == [
            place == 0 for place in order
        ]
        assert [completion["text"] for completion in shown["completions"]] == [None, None]
        assert shown["prompt"][0]["role"] == "user"
        assert (shown["training"], shown["reopened"], shown["answer"], shown["draft"]) == (False, False, None, None)
        assert shown["progress"] == {"answered": 0, "place": None, "of": None}


def test_an_answer_is_taken_once_and_undo_changes_it(desk: Desk) -> None:
    desk.add({}, {}, {})
    ann = desk.site.client("ann")
    showing = desk.claim(ann)["showings"][0]["id"]
    for _ in range(2):
        response = ann.post(f"/api/v1/showings/{showing}/answer", json=LEFT)
        assert (response.status_code, response.json()) == (200, {"accepted": True, "feedback": None})
    assert ann.post(f"/api/v1/showings/{showing}/answer", json=RIGHT).status_code == 409
    reopened = ann.post(f"/api/v1/questions/{desk.question}/undo", json={}).json()["showing"]
    assert (reopened["id"], reopened["reopened"], reopened["answer"]) == (showing, True, LEFT["answer"])
    claimed = desk.claim(ann)["showings"]
    assert next(shown["id"] for shown in claimed) == showing
    assert len(claimed) == 3
    assert ann.post(f"/api/v1/showings/{showing}/answer", json=RIGHT).status_code == 200
    assert [row.supersedes is None for row in desk.rows(answers)] == [True, False]
    assert ann.post(f"/api/v1/questions/{desk.question}/undo", json={}).json()["showing"]["answer"] == RIGHT["answer"]


def test_the_same_idempotency_key_is_answered_once_and_not_for_another_request(desk: Desk) -> None:
    desk.add({}, {})
    ann = desk.site.client("ann")
    one, other = (shown["id"] for shown in desk.claim(ann)["showings"])
    key = {"idempotency-key": "k"}
    first = ann.post(f"/api/v1/showings/{one}/skip", json={"reason": "unclear"}, headers=key)
    assert ann.post(f"/api/v1/showings/{one}/skip", json={"reason": "unclear"}, headers=key).json() == first.json()
    assert ann.post(f"/api/v1/showings/{other}/skip", json={"reason": "unclear"}, headers=key).status_code == 409
    assert {row.id: row.state for row in desk.rows(showings)} == {one: "skipped", other: "leased"}


def test_a_draft_comes_back_on_another_machine_and_a_stale_one_is_refused(desk: Desk) -> None:
    desk.add({})
    here, there = desk.site.client("ann"), desk.site.client("ann")
    showing = desk.claim(here)["showings"][0]["id"]
    path = f"/api/v1/showings/{showing}/draft"
    assert here.put(path, json={"draft": {"note": "so"}, "revision": 0}).json() == {"revision": 1}
    assert desk.claim(there)["showings"][0]["draft"] == {"draft": {"note": "so"}, "revision": 1}
    assert there.put(path, json={"draft": {"note": "or so"}, "revision": 0}).status_code == 409
    assert there.put(path, json={"draft": {"note": "or so"}, "revision": 1}).json() == {"revision": 2}


def test_guidelines_come_before_the_work(desk: Desk) -> None:
    desk.add({})
    ann = desk.site.client("ann")
    held = desk.claim(ann)["showings"][0]["id"]
    desk.site.write(lambda c: guidelines.save(c, "Be fair.", "first", "lead", 0, desk.now))
    response = ann.post(f"/api/v1/questions/{desk.question}/showings", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "guidelines")
    assert ann.get("/api/v1/questions").json()["questions"][0]["needs"] == "guidelines"
    # What was begun under the older ones may be finished.
    assert ann.post(f"/api/v1/showings/{held}/answer", json=LEFT).status_code == 200
    desk.site.write(lambda c: guidelines.acknowledge(c, "ann", 1, desk.now))
    assert desk.claim(ann)["nothing"]["reason"] == "done"


def test_training_explains_and_the_test_comes_before_the_work_and_tells_nothing_on_the_way(desk: Desk) -> None:
    from heed.people import qualification

    question = desk.ask("examined", qualification={"pass_mark": 1.0, "attempts": 2})
    known = {"expected": KNOWN, "explanation": "because *yes*"}
    desk.add({"purpose": "training", **known}, {"purpose": "qualification", **known}, {}, question=question)
    ann = desk.site.client("ann")
    (trained,) = desk.claim(ann, question)["showings"]
    assert trained["training"]
    assert trained["progress"] == {"answered": 0, "place": 1, "of": 1}
    body = desk_answer(trained, "yes")
    said = ann.post(f"/api/v1/showings/{trained['id']}/answer", json=body).json()["feedback"]
    assert said["correct"]
    assert "<em>yes</em>" in said["explanation_html"]
    assert said["expected"]["better"]["choice"] == body["answer"]["better"]["choice"]
    response = ann.post(f"/api/v1/questions/{question}/showings", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "qualification")
    for wanted, state in (("no", "open"), ("yes", "passed")):
        desk.site.write(lambda c: qualification.begin(c, "ann", question, datetime.now(UTC)))
        (asked_now,) = desk.claim(ann, question)["showings"]
        assert not asked_now["training"]
        assert asked_now["progress"] == {"answered": 0, "place": 1, "of": 1}
        response = ann.post(f"/api/v1/showings/{asked_now['id']}/answer", json=desk_answer(asked_now, wanted))
        assert response.json() == {"accepted": True, "feedback": None}
        assert desk.site.read(lambda c: qualification.state_of(c, "ann", question)).state == state
    (work,) = desk.claim(ann, question)["showings"]
    assert "prompt 2" in work["prompt"][0]["html"]
    # Neither training nor tests count, wherever it is told.
    for count in (0, 1):
        listed = ann.get("/api/v1/questions").json()["questions"]
        assert next(one["answered"] for one in listed if one["id"] == question) == count
        mine = ann.get("/api/v1/me/work").json()
        assert (mine["answered"], sum(mine["days"])) == (count, count)
        assert f"{count} answered" in ann.get("/work?choose").text
        ann.post(f"/api/v1/showings/{work['id']}/answer", json=LEFT)
    assert desk.claim(ann, question)["nothing"]["answered"] == 1


def desk_answer(showing: dict[str, Any], wanted: str) -> dict[str, Any]:
    """The answer that prefers the completion that says ``wanted``."""
    place = next(n for n, one in enumerate(showing["completions"]) if wanted in one["html"])
    return {"answer": {"better": {"choice": ("left", "right")[place], "strength": 1}}}


def test_a_rater_learns_nothing_but_what_is_shown(desk: Desk) -> None:
    question = desk.ask("mixed", gold_rate=0.4, repeat_rate=0.2, overlap=1, group_quota={"secretgroup": 1})
    gold = {"purpose": "gold", "expected": KNOWN, "explanation": "secretexplanation", "source": "secretsource"}
    rows = [{"prompt": f"p {n}", "external_id": f"secretid {n}", "source": "secretsource"} for n in range(30)]
    ids = desk.add(*rows, *[gold | {"prompt": f"g {n}"} for n in range(8)], question=question)
    ann, bob = desk.site.client("ann"), desk.site.client("bob")
    said = b""
    shapes = set()
    for turn in range(40):
        client = (ann, bob)[turn % 2]
        claim = client.post(f"/api/v1/questions/{question}/showings", json={})
        said += claim.content if client is ann else b""
        for shown in claim.json()["showings"][:1]:
            shapes.add((*sorted(shown), *sorted(shown["form"]), len(shown["id"])))
            response = client.post(f"/api/v1/showings/{shown['id']}/answer", json=LEFT)
            assert response.json() == {"accepted": True, "feedback": None}
            said += b"".join(f"{k}{v}".encode() for k, v in response.headers.items()) if client is ann else b""
    purposes = {row.purpose for row in desk.rows(showings)}
    assert {"work", "gold"} <= purposes
    assert len(shapes) == 1
    hidden = set(ids) | {row.id for row in desk.site.project.store.prompts()}
    hidden |= {row.id for row in desk.site.project.store.completions()}
    hidden |= {row.id for row in desk.rows(showings) if row.rater == "bob"} | {row.id for row in desk.rows(answers)}
    hidden |= {"secret", "gold", "repeat", "purpose", "overlap", "selector", "quota", "bob", "expected", "probability"}
    assert [text for text in hidden if text.encode() in said] == []


def test_what_is_somebody_elses_or_nobodys_is_missing_alike(desk: Desk) -> None:
    desk.add({}, {})
    ann, bob = desk.site.client("ann"), desk.site.client("bob")
    showing = desk.claim(ann)["showings"][0]["id"]
    bodies = {"answer": LEFT, "renew": {}, "skip": {}, "flag": {"note": "x"}, "draft": {"draft": 1, "revision": 0}}
    for name, body in bodies.items():
        method = "PUT" if name == "draft" else "POST"
        told = [
            bob.request(method, f"/api/v1/showings/{identity}/{name}", json=body)
            for identity in (showing, "s" + "0" * 32, "x")
        ]
        assert {response.status_code for response in told} == {404}
        assert len({response.content for response in told}) == 1
    assert [row.state for row in desk.rows(showings)] == ["leased", "leased"]


@pytest.mark.parametrize(
    "body",
    [
        {"answer": {"better": {"choice": "a"}}},
        {"answer": {}},
        {"answer": []},
        {},
        LEFT | {"confidence": 7},
        LEFT | {"seconds": -1},
        LEFT | {"rater": "bob"},
        LEFT | {"note": "x" * 20_000},
        LEFT | {"note": "\x00"},
    ],
)
def test_what_is_no_answer_is_refused_with_a_reason(desk: Desk, body: dict[str, Any]) -> None:
    desk.add({})
    ann = desk.site.client("ann")
    showing = desk.claim(ann)["showings"][0]["id"]
    response = ann.post(f"/api/v1/showings/{showing}/answer", json=body)
    assert response.status_code == 422
    assert response.json()["error"]["why"]
    assert desk.rows(answers) == []


def test_raw_texts_are_sent_where_they_are_needed(desk: Desk) -> None:
    edit = {"kind": "edit", "name": "mended", "label": "Mend it"}
    for name, changes, texts in (
        ("plain", {"reading": "plain"}, True),
        ("edits", {"fields": [edit]}, True),
        ("rendered", {}, False),
    ):
        question = desk.ask(name, **changes)
        desk.add({}, question=question)
        (shown,) = desk.claim(desk.site.client("ann"), question)["showings"]
        raw = [completion["text"] for completion in shown["completions"]]
        assert (sorted(raw) == ["**yes** 0", "no 0"]) if texts else raw == [None, None]
        assert ("<strong>" in str(shown["completions"])) == (name != "plain")


def test_a_paused_rater_gets_nothing(desk: Desk) -> None:
    desk.add({})
    ann = desk.site.client("ann")
    desk.site.pause("ann")
    assert ann.post(f"/api/v1/questions/{desk.question}/showings", json={}).status_code == 403


@pytest.mark.parametrize("closed", [False, True])
def test_a_request_that_was_let_in_before_a_pause_takes_nothing_back(desk: Desk, closed: bool) -> None:
    desk.add({}, {}, {})
    ann = desk.site.client("ann")
    held = desk.claim(ann)["showings"][0]["id"]
    # As another process does it: this one goes on taking ann for somebody who may work, for up to a second.
    account = desk.site.account("ann")
    stop = managing.close if closed else managing.pause
    desk.site.write(lambda c: stop(c, account.id, "a test", accounts.OPERATOR, datetime.now(UTC)))
    paths = (f"questions/{desk.question}/showings", f"showings/{held}/renew", f"questions/{desk.question}/undo")
    for path in paths:
        assert ann.post(f"/api/v1/{path}", json={}).status_code in ((401, 404) if closed else (403, 404))
    assert {row.state for row in desk.rows(showings)} == {"released"}


def test_who_is_paused_is_led_to_a_page_that_says_so_and_why(desk: Desk) -> None:
    ann, lead = desk.site.client("ann"), desk.site.client("lea", "lead")
    assert 'href="/work"' in desk.site.client("bob").get("/me").text
    for name in ("ann", "lea"):
        desk.site.pause(name)
    for path in ("/work", f"/work?question={desk.question}"):
        answer = ann.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/me")
    page = ann.get("/me").text
    assert "Your account is paused: you can read, but not answer" in page
    assert "a test" in page  # the reason that was given
    for client in (ann, lead):
        page = client.get("/me").text
        assert 'href="/work"' not in page
        assert 'href="/board"' not in page


def test_a_token_of_a_paused_account_is_told_so_and_others_are_not(desk: Desk) -> None:
    program = desk.site.program("ann", scopes=["rate"])
    path = f"/api/v1/questions/{desk.question}/showings"
    desk.site.pause("ann")
    refused = program.post(path, json={})
    assert refused.status_code == 401
    assert "its account is paused" in refused.text
    program.headers["authorization"] += "x"
    assert "unknown, expired or revoked" in program.post(path, json={}).text


@pytest.mark.parametrize(
    "draft",
    ["NaN", '{"a": [Infinity]}', '"\\ud800"', '{"\\ud800": 1}', '"\\u0000"', "[" * 30 + "]" * 30, "1e300", "9" * 40],
)
def test_a_draft_that_could_not_be_sent_again_is_refused(desk: Desk, draft: str) -> None:
    desk.add({})
    ann = desk.site.client("ann")
    shown = desk.claim(ann)["showings"][0]["id"]
    body = f'{{"draft": {draft}, "revision": 0}}'
    refused = ann.put(f"/api/v1/showings/{shown}/draft", content=body, headers={"content-type": "application/json"})
    assert refused.status_code == 422, refused.text
    assert desk.claim(ann)["showings"][0]["draft"] is None


def test_more_than_can_be_rendered_in_good_time_is_shown_as_it_stands(desk: Desk) -> None:
    turns = [{"role": ("user", "assistant")[n % 2], "content": "**a** " + "word " * 3900} for n in range(9)]
    desk.add({"prompt": turns, "completions": ["**yes**", "**no**"]})
    (shown,) = desk.claim(desk.site.client("ann"))["showings"]
    rendered = ["<strong>" in turn["html"] for turn in shown["prompt"]]
    assert rendered == [True] * 6 + [False] * 3
    # Both alike, lest one look better than the other.
    assert ["<strong>" in one["html"] for one in shown["completions"]] == [False, False]


def test_a_repeated_undo_opens_one_answer(desk: Desk) -> None:
    desk.add({}, {})
    ann = desk.site.client("ann")
    for one in desk.claim(ann)["showings"]:
        assert ann.post(f"/api/v1/showings/{one['id']}/answer", json=LEFT).status_code == 200
    address = f"/api/v1/questions/{desk.question}/undo"
    first, again = (ann.post(address, json={}, headers={"idempotency-key": "k"}) for _ in range(2))
    assert first.status_code == 200
    assert again.json() == first.json()
    assert ann.post(address, json={}).json()["showing"]["id"] != first.json()["showing"]["id"]


def test_texts_that_no_database_holds_are_refused_everywhere(desk: Desk) -> None:
    desk.add({})
    ann = desk.site.client("ann")
    shown = desk.claim(ann)["showings"][0]["id"]
    for path, body in (("flag", {"note": "\0"}), ("skip", {"reason": "\0"}), ("answer", LEFT | {"note": "\0"})):
        assert ann.post(f"/api/v1/showings/{shown}/{path}", json=body).status_code == 422
