"""What a lead changes on the board: it holds, it is in the audit log, and nobody's work is overwritten."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from board_data import Known, as_inputs, comparison_form, entries, known_site
from site_of_tests import Site
from sqlalchemy import select

from heed.feedback import leases, queue
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import items
from heed.people import invitations


@pytest.fixture
def known(site: Site) -> Known:
    return known_site(site)


@pytest.fixture
def lead(known: Known) -> Any:
    return known.site.client("lea", "lead")


def item_row(known: Known, prompt: str) -> Any:
    return known.site.read(lambda c: c.execute(select(items).where(items.c.id == known.items[prompt])).one())


# Decisions


def test_a_decision_becomes_feedback_of_the_lead_and_leaves_the_queue(known: Known, lead: Any) -> None:
    item = known.items["item 3"]
    body = {"answer": {"better": {"choice": "b", "strength": 2}}, "note": "two is right"}
    assert lead.post(f"/api/v1/board/items/{item}/decision", json=body).json() == {"id": item}
    (said,) = known.site.project.store.feedback(raters=["lea"])
    assert (said.feedback.choice, said.feedback.strength) == ("b", 2)
    assert item_row(known, "item 3").adjudicated
    assert not item_row(known, "item 3").available
    lead.get("/board/people?done=adjudicated")
    left = [one["id"] for one in lead.get("/api/v1/board/disagreements").json()["items"]]
    assert left == [known.items["item 1"]]
    assert entries(known)[0] == ("lea", "item.adjudicate", item)


def test_the_form_decides_as_the_api_does_and_may_make_the_item_gold_at_once(known: Known, lead: Any) -> None:
    item = known.items["item 1"]
    form = {"answer.better.choice": "left", "answer.better.strength": "3", "note": "", "gold": "on", "next": "queue"}
    answer = lead.post(f"/board/items/{item}/decision", data=form | {"explanation": "because"})
    assert answer.headers["location"] == f"/board/disagreements?last={item}&done=adjudicated"
    row = item_row(known, "item 1")
    assert (row.purpose, row.expected["better"]["choice"], row.explanation) == ("gold", "a", "because")
    (said,) = known.site.project.store.feedback(raters=["lea"])
    assert said.feedback.choice == "a"
    assert [one[1] for one in entries(known)[:2]] == ["item.gold", "item.adjudicate"]


@pytest.mark.parametrize("choice", ["left", "c", 3, None])
def test_a_decision_that_is_no_answer_in_item_order_is_refused_and_nothing_is_recorded(
    known: Known, lead: Any, choice: object
) -> None:
    before = entries(known)
    body = {"answer": {"better": {"choice": choice}}}
    answer = lead.post(f"/api/v1/board/items/{known.items['item 1']}/decision", json=body)
    assert answer.status_code == 422
    assert entries(known) == before


def test_the_same_request_with_one_key_decides_once(known: Known, lead: Any) -> None:
    path = f"/api/v1/board/items/{known.items['item 1']}/decision"
    body = {"answer": {"better": {"choice": "a"}}, "note": "once"}
    for _ in range(2):
        assert lead.post(path, json=body, headers={"idempotency-key": "k1"}).status_code == 200
    assert [one[1] for one in entries(known)].count("item.adjudicate") == 1
    other = lead.post(path, json=body | {"note": "twice"}, headers={"idempotency-key": "k1"})
    assert other.status_code == 409


# Gold


def test_gold_is_made_shown_and_retired(known: Known, lead: Any) -> None:
    item = known.items["item 0"]
    body = {"expected": {"better": {"choice": "a"}}, "explanation": "*first*", "purpose": "training"}
    assert lead.put(f"/api/v1/board/items/{item}/gold", json=body).status_code == 200
    (one,) = lead.get("/api/v1/board/gold?purpose=training").json()["items"]
    assert one["item"]["id"] == item
    assert one["accuracy"]["estimate"] is None
    assert item in lead.get("/board/gold?purpose=training").text
    assert lead.delete(f"/api/v1/board/items/{item}/gold").status_code == 200
    assert item_row(known, "item 0").state == "withdrawn"
    assert [one[1] for one in entries(known)[:2]] == ["item.withdraw", "item.gold"]


def test_a_disputed_item_that_is_made_gold_or_withdrawn_needs_no_decision(known: Known, lead: Any) -> None:
    lead.put(f"/api/v1/board/items/{known.items['item 1']}/gold", json={"expected": {"better": {"choice": "a"}}})
    lead.post(f"/board/items/{known.items['item 3']}", data={"state": "withdrawn"})
    assert "item 1" not in lead.get("/board/disagreements?done=gold").text
    assert lead.get("/api/v1/board/disagreements").json() == {"items": [], "start": 0, "total": 0, "elsewhere": {}}


def test_agreed_items_are_suggested_as_gold(known: Known, lead: Any) -> None:
    page = lead.get("/board/gold").text
    assert known.items["item 0"] in page
    assert known.items["item 2"] in page
    assert known.items["item 1"] not in page


def test_an_expected_answer_that_says_nothing_is_refused(known: Known, lead: Any) -> None:
    answer = lead.put(f"/api/v1/board/items/{known.items['item 0']}/gold", json={"expected": {}})
    assert answer.status_code == 422
    assert item_row(known, "item 0").purpose == "work"


def test_priority_and_withdrawing_are_undone_as_easily(known: Known, lead: Any) -> None:
    path = f"/board/items/{known.items['item 5']}"
    for form, state, priority in (
        ({"state": "withdrawn"}, "withdrawn", 0),
        ({"state": "active"}, "active", 0),
        ({"priority": "7"}, "active", 7),
    ):
        assert lead.post(path, data=form).status_code == 303
        assert (item_row(known, "item 5").state, item_row(known, "item 5").priority) == (state, priority)
    assert lead.patch(f"/api/v1{path}", json={"answers": 3}).status_code == 422
    assert lead.patch("/api/v1/board/items/i0", json={"priority": 1}).status_code == 404
    assert lead.patch(f"/api/v1{path}", json={}).status_code == 200


# Questions


def test_a_stale_question_is_a_conflict_that_names_what_the_other_changed(known: Known, lead: Any) -> None:
    path = f"/api/v1/board/questions/{known.question}"
    form = lead.get(path).json()["form"]
    first = lead.put(path, json={"form": form | {"overlap": 4}, "note": "more", "version": 1})
    assert first.json()["version"] == 2
    assert lead.put(path, json={"form": form | {"overlap": 5}, "version": 1}).status_code == 409
    assert lead.get(path).json()["form"]["overlap"] == 4
    page = lead.post(f"/board/questions/{known.question}", data=as_inputs(form | {"title": "Mine"}) | {"version": "1"})
    assert page.status_code == 409
    assert 'value="Mine"' in page.text
    assert re.search(r"<code>overlap</code>: <span[^>]*>3</span> → <span[^>]*>4</span>", page.text)
    # The page says what to merge and, sent again, is saved after the other version.
    again = lead.post(f"/board/questions/{known.question}", data=as_inputs(form | {"title": "Mine"}) | {"version": "2"})
    assert again.status_code == 303
    assert lead.get(path).json()["form"]["title"] == "Mine"


def test_the_editor_keeps_a_form_as_it_is(known: Known, lead: Any) -> None:
    form = comparison_form(gold_rate=0.05, repeat_rate=0.02, instructions="a\nb").model_dump(mode="json")
    made = lead.post("/board/questions/new", data=as_inputs(form) | {"question_name": "Another"})
    assert made.status_code == 303
    identity = re.search(r"/board/questions/(q\w+)\?", made.headers["location"])
    assert identity
    assert lead.get(f"/api/v1/board/questions/{identity[1]}").json()["form"] == form
    assert entries(known)[0] == ("lea", "question.create", identity[1])


def test_buttons_of_the_editor_add_move_and_remove_fields_without_saving(known: Known, lead: Any) -> None:
    form = lead.get(f"/api/v1/board/questions/{known.question}").json()["form"]
    inputs = as_inputs(form) | {"version": "1"}

    def kinds(button: str, given: dict[str, str]) -> list[str]:
        page = lead.post(f"/board/questions/{known.question}", data=given | {"do": button})
        assert page.status_code == 200
        return re.findall(r'name="fields\.\d+\.kind" value="(\w+)"', page.text)

    assert kinds("add.rating", inputs) == ["comparison", "rating"]
    rating = {"fields.1.kind": "rating", "fields.1.name": "score", "fields.1.label": "Score", "fields.1.help": ""}
    attribute = {
        f"fields.1.attributes.0.{key}": value for key, value in {"name": "x", "label": "X", "low": "1"}.items()
    }
    two = inputs | rating | attribute
    assert kinds("up.1", two) == ["rating", "comparison"]
    assert kinds("remove.0", two) == ["rating"]
    assert kinds("remove.9", two) == ["comparison", "rating"]
    assert kinds("add.nonsense", two) == ["comparison", "rating"]
    assert lead.get(f"/api/v1/board/questions/{known.question}").json()["version"] == 1


def test_a_form_that_is_not_sound_is_shown_again_with_what_is_wrong(known: Known, lead: Any) -> None:
    form = lead.get(f"/api/v1/board/questions/{known.question}").json()["form"]
    inputs = as_inputs(form) | {"version": "1", "overlap": "many", "title": "<b>kept</b>"}
    page = lead.post(f"/board/questions/{known.question}", data=inputs)
    assert page.status_code == 422
    assert "overlap" in page.text
    assert "&lt;b&gt;kept&lt;/b&gt;" in page.text
    assert "<b>kept</b>" not in page.text


@pytest.mark.parametrize("partial", [True, False])
def test_the_editor_says_whether_a_ranking_may_leave_some_out(known: Known, lead: Any, partial: bool) -> None:
    field = {"kind": "ranking", "name": "order", "label": "Order", "help": ""}
    data = {"do": "up.0", "title": "t", **{f"fields.0.{name}": value for name, value in field.items()}}
    page = lead.post("/board/questions/new", data=data | ({"fields.0.partial": "on"} if partial else {}))
    (box,) = re.findall(r'<input[^>]*name="fields\.0\.partial"[^>]*>', page.text)
    assert ("checked" in box) is partial


def test_pausing_a_question_stops_the_queue(known: Known, lead: Any) -> None:
    answer = lead.post(f"/board/questions/{known.question}/state", data={"state": "paused"})
    assert answer.headers["location"] == "/board/questions?done=state"
    assert lead.get(f"/api/v1/board/questions/{known.question}").json()["state"] == "paused"
    assert lead.post(f"/board/questions/{known.question}/state", data={"state": "gone"}).status_code == 422
    assert entries(known)[0] == ("lea", "question.state", known.question)


# Guidelines


def test_stale_guidelines_are_a_conflict_and_keep_both_texts(known: Known, lead: Any) -> None:
    first = {"text": "# One", "note": "", "version": 0}
    assert lead.put("/api/v1/board/guidelines", json=first).json()["version"] == 1
    assert lead.put("/api/v1/board/guidelines", json=first | {"text": "# Two"}).status_code == 409
    page = lead.post("/board/guidelines", data={"text": "# Mine", "note": "", "version": "0", "do": "save"})
    assert page.status_code == 409
    assert "# Mine" in page.text
    (only,) = lead.get("/api/v1/board/guidelines").json()["versions"]
    assert only["text"] == "# One"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/board/items/i0", {}),
        ("PATCH", "/board/items/i0", {"state": "active"}),
        ("PATCH", "/board/items/i0", {"purpose": "work"}),
        ("PUT", "/board/items/i0/gold", {"expected": {"better": {"choice": "a"}}}),
        ("DELETE", "/board/items/i0/gold", None),
        ("PATCH", "/board/questions/q0", {"state": "open"}),
        ("PUT", "/board/questions/q0", {"form": comparison_form().model_dump(mode="json"), "version": 1}),
        ("PATCH", "/people/a0", {}),
        ("PATCH", "/webhooks/w0", {"active": True}),
        ("PUT", "/showings/s0/draft", {"draft": {}, "revision": 0}),
    ],
)
def test_what_is_not_there_cannot_be_changed(known: Known, method: str, path: str, body: Any) -> None:
    boss = known.site.client("boss", "admin")
    before = entries(known)
    assert boss.request(method, f"/api/v1{path}", json=body).status_code == 404
    assert entries(known) == before


def test_only_the_first_guidelines_need_no_note_of_what_changed(known: Known, lead: Any) -> None:
    path = "/api/v1/board/guidelines"
    assert lead.put(path, json={"text": "Be fair.", "version": 0}).status_code == 200
    assert lead.put(path, json={"text": "Be very fair.", "version": 1}).status_code == 422
    assert lead.put(path, json={"text": "Be very fair.", "version": 1, "note": "very"}).status_code == 200


def test_guidelines_without_a_word_on_what_changed_are_refused_at_that_field(known: Known, lead: Any) -> None:
    assert "(optional)" in lead.get("/board/guidelines").text
    assert lead.put("/api/v1/board/guidelines", json={"text": "# One", "version": 0}).status_code == 200
    assert "(optional)" not in lead.get("/board/guidelines").text
    page = lead.post("/board/guidelines", data={"text": "# Two", "note": " ", "version": "1", "do": "save"})
    assert page.status_code == 422
    assert re.search(r'id="field-note"[^>]* required aria-invalid="true"', page.text)
    assert 'id="field-note-error">nothing is said of it. Say it in a line: raters see it.' in page.text


def test_an_old_version_in_an_editor_says_that_it_was_replaced(known: Known, lead: Any) -> None:
    for version in (0, 1):
        body = {"text": f"# {version}", "note": "so", "version": version}
        assert lead.put("/api/v1/board/guidelines", json=body).status_code == 200
    told = "Version 1 of 2, of <time"
    old = lead.get("/board/guidelines?version=1").text
    assert told in old
    assert "Saving makes it version 3." in old
    assert told not in lead.get("/board/guidelines").text
    theirs = lead.post("/board/guidelines", data={"text": "# Mine", "note": "", "version": "1", "do": "save"}).text
    assert re.search(r'class="theirs"[^>]*># 1</div>', theirs)


def test_a_preview_of_guidelines_renders_them_safely_and_saves_nothing(known: Known, lead: Any) -> None:
    text = "# Title\n\n<script>alert(1)</script> **bold**"
    page = lead.post("/board/guidelines", data={"text": text, "version": "0", "do": "preview"}).text
    assert "<strong>bold</strong>" in page
    assert "<script>alert" not in page
    assert lead.get("/api/v1/board/guidelines").json()["versions"] == []


# Flags and people


def raise_flag(known: Known, note: str) -> str:
    rater, now = Rater("dee"), known.begun
    known.site.account("dee")
    got = known.site.write(lambda c: queue.claim(c, rater, known.question, now, random.Random(1), 1))
    assert isinstance(got, queue.Claimed)
    known.site.write(lambda c: leases.flag(c, rater, got.showings[0].id, note, now))
    return got.showings[0].item_id


def test_a_flag_is_shown_escaped_and_settled_once(known: Known, lead: Any) -> None:
    raise_flag(known, "<img src=x onerror=alert(1)>")
    page = lead.get("/board/flags").text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    (flag,) = lead.get("/api/v1/board/flags").json()["flags"]
    assert lead.post(f"/board/flags/{flag['id']}", data={"resolution": ""}).status_code == 422
    assert lead.post(f"/board/flags/{flag['id']}", data={"resolution": "checked"}).status_code == 303
    again = lead.post(f"/api/v1/board/flags/{flag['id']}/resolution", json={"resolution": "again"})
    assert again.status_code == 409
    assert lead.get("/api/v1/board/flags").json()["flags"] == []
    (settled,) = lead.get("/api/v1/board/flags?state=resolved").json()["flags"]
    assert (settled["resolved_by"], settled["resolution"]) == ("lea", "checked")
    assert entries(known)[0] == ("lea", "flag.resolve", flag["id"])


def test_excluding_needs_a_reason_and_is_undone_with_another(known: Known, lead: Any) -> None:
    assert lead.post("/board/acts/exclude", data={"name": "ann", "reason": " "}).status_code == 422
    assert lead.post("/board/acts/exclude", data={"name": "ann", "reason": "copies"}).status_code == 303
    assert "copies" in lead.get("/board/people/ann").text
    assert lead.post("/board/acts/include", data={"name": "ann", "reason": "a mistake"}).status_code == 303
    page = lead.get("/board/people/ann?done=included").text
    assert "copies" in page
    assert "a mistake" in page
    assert [one[1] for one in entries(known)[:2]] == ["rater.include", "rater.exclude"]


def test_a_lead_invites_raters_and_only_an_admin_more(known: Known, lead: Any) -> None:
    page = lead.post("/board/acts/invite", data={"role": "rater", "name": "zoe", "days": "3"})
    secret = re.search(r"http://localhost/invitation/([\w-]+)", page.text)
    assert secret
    found = known.site.read(lambda c: invitations.look_up(c, secret[1], known.begun))
    assert found
    assert (found.name, found.role) == ("zoe", "rater")
    assert "zoe" in lead.get("/board/people").text
    assert secret[1] not in lead.get("/board/people").text
    assert lead.post("/board/acts/invite", data={"role": "admin", "days": "3"}).status_code == 403
    admin = known.site.client("ada", "admin")
    assert admin.post("/board/acts/invite", data={"role": "lead", "days": "3"}).status_code == 200
    assert lead.post("/board/acts/revoke", data={"invitation": found.id}).status_code == 303
    assert known.site.read(lambda c: invitations.look_up(c, secret[1], known.begun)) is None


def test_roles_are_for_admins_and_links_for_new_passwords_not_against_them(known: Known, lead: Any) -> None:
    known.site.client("ada", "admin")
    ann, ada = known.site.account("ann").id, known.site.account("ada").id
    assert lead.post("/board/acts/role", data={"account": ann, "role": "admin"}).status_code == 403
    assert lead.post("/board/acts/reset", data={"account": ada, "name": "ada"}).status_code == 403
    assert lead.post("/board/acts/pause", data={"account": ada}).status_code == 403
    assert "/invitation/" in lead.post("/board/acts/reset", data={"account": ann, "name": "ann"}).text


def test_a_form_from_another_site_changes_nothing(known: Known, lead: Any) -> None:
    answer = lead.post(
        "/board/acts/exclude", data={"name": "ann", "reason": "x"}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 403
    assert known.site.client("lea").get("/api/v1/board/people/ann").json()["excluded"] is False


def test_the_log_can_be_filtered_and_checked(known: Known, lead: Any) -> None:
    lead.post("/board/acts/exclude", data={"name": "ann", "reason": "copies"})
    (one,) = lead.get("/api/v1/board/audit?action=rater.exclude").json()["entries"]
    assert (one["subject"], one["details"]) == ("ann", {"reason": "copies"})
    assert lead.get("/api/v1/board/audit?actor=nobody").json()["entries"] == []
    checked = lead.get("/api/v1/board/audit/check").json()
    assert (checked["whole"], checked["faults"]) == (True, [])
    assert "copies" in lead.get("/board/audit?subject=ann").text


# What no page sends


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/board/items/{item}", {"priority": "high"}),
        ("/board/items/{item}", {"state": "gone"}),
        ("/board/items/{item}/gold", {"answer.better.choice": "left", "purpose": "work"}),
        ("/board/items/{item}/decision", {"answer.better.choice": "left", "answer.better.strength": "inf"}),
        ("/board/items/{item}/decision", {"answer.better.choice": "left", "answer.better.strength": "2.5"}),
        ("/board/items/{item}/decision", {"answer.better.choice": "left", "note": "x" * 20_000}),
        ("/board/items/{item}/decision", {}),
        ("/board/questions/new", {"do": "save", "fields.x.kind": "rating", "fields.99999999.kind": "?"}),
        ("/board/questions/new", {"do": "save", "overlap": "inf", "group_quota": "all: " + "9" * 5000}),
        ("/board/questions/new", {"do": "save", "fields.0.kind": "constructor"}),
        ("/board/guidelines", {"do": "save", "text": "a\x00b"}),
        ("/board/acts/exclude", {"name": "a\x00b", "reason": "x"}),
        ("/board/acts/invite", {"days": "nan"}),
    ],
)
def test_odd_forms_are_refused_in_words(known: Known, lead: Any, path: str, data: dict[str, str]) -> None:
    before = entries(known)
    assert lead.post(path.format(item=known.items["item 1"]), data=data).status_code == 422
    assert entries(known) == before


@pytest.mark.parametrize("button", ["up.999999999999", "less.0.5", "remove.-1", "more.", "add.rating", "", "nothing"])
def test_odd_buttons_of_the_editor_do_nothing_bad(known: Known, lead: Any, button: str) -> None:
    data = {"do": button, "fields.0.kind": "rating", "fields.0.name": "x", "title": "t"}
    assert lead.post(f"/board/questions/{known.question}", data=data).status_code == 200


@pytest.mark.parametrize("before", ["2026-01-01T00:00:00", "yesterday", "99999-01-01T00:00:00Z"])
def test_a_time_without_a_zone_is_refused(known: Known, lead: Any, before: str) -> None:
    assert lead.get("/api/v1/board/flags", params={"before": before}).status_code == 422


def test_a_lead_lets_somebody_work_without_the_test(known: Known, lead: Any) -> None:
    path = f"/api/v1/board/questions/{known.question}"
    form = lead.get(path).json()["form"]
    test = {"pass_mark": 0.8, "attempts": 1, "explain": True}
    lead.put(path, json={"form": form | {"qualification": test}, "version": 1})
    gold = {"expected": {"better": {"choice": "a"}}, "purpose": "qualification"}
    lead.put(f"/api/v1/board/items/{known.items['item 5']}/gold", json=gold)
    assert "/board/acts/grant" in lead.get("/board/people/ann").text
    answer = lead.post("/board/acts/grant", data={"name": "ann", "question": known.question})
    assert answer.headers["location"] == "/board/people/ann?done=granted"
    assert "/board/acts/grant" not in lead.get("/board/people/ann?done=granted").text
    assert entries(known)[0] == ("lea", "qualification.grant", "ann")
