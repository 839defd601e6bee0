"""Oneself and others over the API: what may be changed, and by whom."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from site_of_tests import Site
from sqlalchemy import select
from sqlalchemy.exc import DataError
from starlette.requests import Request

from heed import errors
from heed.feedback import asked, studio_schema
from heed.feedback.forms import parse_form
from heed.feedback.kinds import completion_id
from heed.feedback.records import CompletionRecord
from heed.people import accounts, audit, guidelines, qualification
from heed.people.passwords import hash_password
from heed.web.account.routes import ROUTES
from heed.web.call import Call
from heed.web.permissions import Caller

PASSWORD = "seven green bottles"
OTHER = "nine yellow buckets"


def now() -> datetime:
    return datetime.now(UTC)


def with_password(site: Site, name: str = "ann", role: Any = "rater") -> accounts.Account:
    hashed = hash_password(PASSWORD, name)
    return site.write(lambda c: accounts.create_account(c, name, role, "", now(), hashed))


# Oneself


def test_me_says_who_i_am_and_nothing_secret(site):
    with_password(site)
    mine = site.client("ann").get("/api/v1/me").json()
    assert mine["name"] == "ann"
    assert {key for key in mine if "password" in key or "hash" in key or "subject" in key} == set()


@pytest.mark.parametrize(
    "body",
    [
        {"role": "admin"},
        {"name": "boss"},
        {"id": "u1"},
        {"state": "active"},
        {"password_hash": "x"},
        {"subject": "x"},
        {"group": "x"},
        {"language": "zh", "role": "admin"},
        {"keys": {"enabled": True, "keys": {}, "role": "admin"}},
        {"keys": {"keys": {"left": "<img src=x onerror=alert(1)>"}}},
        {"keys": {"keys": {"nothing": "x"}}},
        {"keys": {"keys": {"left": "2"}}},
        {"language": "<script>"},
        {"theme": ["dark"]},
        [],
        "x",
        None,
    ],
)
def test_nobody_changes_more_of_oneself_than_the_settings(site, body):
    client = site.client("ann")
    before = client.get("/api/v1/me").json()
    response = client.patch("/api/v1/me", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/json"
    assert client.get("/api/v1/me").json() == before


def test_a_stale_change_is_a_conflict(site):
    client = site.client("ann")
    revision = client.get("/api/v1/me").json()["revision"]
    assert client.patch("/api/v1/me", json={"theme": "dark", "revision": revision}).status_code == 200
    assert client.patch("/api/v1/me", json={"theme": "light", "revision": revision}).status_code == 409
    assert client.get("/api/v1/me").json()["theme"] == "dark"


def test_the_password_is_changed_by_who_knows_it(site):
    with_password(site)
    client, other = site.client("ann"), site.client("ann")
    program = site.program("ann", scopes=["read"])
    for current, password, status in ((OTHER, OTHER, 401), (PASSWORD, "short", 422)):
        assert client.post("/api/v1/me/password", json={"current": current, "password": password}).status_code == status
    assert other.get("/api/v1/me").status_code == 200
    done = client.post("/api/v1/me/password", json={"current": PASSWORD, "password": OTHER})
    assert done.json() == {"done": True}
    assert client.get("/api/v1/me").status_code == 200
    assert other.get("/api/v1/me").status_code == 401
    assert program.get("/api/v1/me").status_code == 401


def test_nobody_sees_or_ends_the_sessions_and_tokens_of_another(site):
    ann, bob, boss = site.client("ann"), site.client("bob"), site.client("boss", "admin")
    asked_for = {"name": "script", "scopes": ["read"]}
    made = ann.post("/api/v1/me/tokens", json=asked_for).json()
    (session,) = ann.get("/api/v1/me/sessions").json()["sessions"]
    for other in (bob, boss):
        assert other.delete(f"/api/v1/me/tokens/{made['id']}").status_code == 404
        assert other.delete(f"/api/v1/me/sessions/{session['id']}").status_code == 404
        assert session["id"] not in other.get("/api/v1/me/sessions").text
        assert made["id"] not in other.get("/api/v1/me/tokens").text
        assert other.delete("/api/v1/me/sessions").json() == {"ended": 0}
    assert ann.get("/api/v1/me").status_code == 200
    assert ann.delete(f"/api/v1/me/tokens/{made['id']}").status_code == 200
    assert ann.get("/api/v1/me/tokens").json()["tokens"] == []


@pytest.mark.parametrize("scopes", [["rate"], ["read"], ["manage"], ["rate", "read", "manage"]])
def test_a_token_makes_no_token_and_changes_no_password(site, scopes):
    program = site.program("boss", "admin", scopes)
    ann = site.account("ann")
    for method, path in (
        ("POST", "/api/v1/me/tokens"),
        ("GET", "/api/v1/me/tokens"),
        ("POST", "/api/v1/me/password"),
        ("GET", "/api/v1/me/sessions"),
        ("PATCH", "/api/v1/me"),
        ("POST", f"/api/v1/people/{ann.id}/reset-link"),
        ("GET", "/settings"),
        ("POST", "/settings/tokens"),
    ):
        assert program.request(method, path, json={} if method != "GET" else None).status_code == 403


def test_a_retry_makes_one_token_and_its_secret_is_stored_nowhere(site):
    client = site.client("ann")
    body, key = {"name": "script", "scopes": ["read"]}, {"idempotency-key": "k1"}
    first = client.post("/api/v1/me/tokens", json=body, headers=key)
    again = client.post("/api/v1/me/tokens", json=body, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.json()["token"].startswith("heed_")
    assert again.json() == first.json() | {"token": None}
    assert len(client.get("/api/v1/me/tokens").json()["tokens"]) == 1
    stored = site.read(lambda c: repr(c.execute(select(studio_schema.replays)).all()))
    assert first.json()["id"] in stored
    assert first.json()["token"] not in stored


# Others


def test_raters_see_and_change_nobody(site):
    ann, eve = site.client("ann"), site.account("eve")
    for method, path in (
        ("GET", "/api/v1/people"),
        ("PATCH", f"/api/v1/people/{eve.id}"),
        ("POST", f"/api/v1/people/{eve.id}/pause"),
        ("POST", f"/api/v1/people/{eve.id}/reset-link"),
        ("GET", "/api/v1/invitations"),
        ("POST", "/api/v1/invitations"),
    ):
        response = ann.request(method, path, json={} if method != "GET" else None)
        assert response.status_code == 403
        assert "eve" not in response.text


def test_leads_manage_raters_and_nobody_above(site):
    lead, boss = site.client("lead", "lead"), site.account("boss", "admin")
    other, eve = site.account("other", "lead"), site.account("eve")
    for target in (boss, other):
        for method, path, body in (
            ("PATCH", "", {"group": "x"}),
            ("POST", "/pause", {}),
            ("POST", "/close", {}),
            ("POST", "/reset-link", None),
        ):
            assert lead.request(method, f"/api/v1/people/{target.id}{path}", json=body).status_code == 403
    assert lead.patch(f"/api/v1/people/{eve.id}", json={"role": "lead"}).status_code == 403
    for role, status in (("rater", 201), ("lead", 403), ("admin", 403)):
        assert lead.post("/api/v1/invitations", json={"role": role}).status_code == status
    assert lead.patch(f"/api/v1/people/{eve.id}", json={"group": "north"}).json()["group"] == "north"
    assert lead.post(f"/api/v1/people/{eve.id}/pause", json={"reason": "on leave"}).json()["state"] == "paused"
    assert site.client("eve").get("/api/v1/me").json()["state_reason"] == "on leave"
    assert lead.post(f"/api/v1/people/{eve.id}/resume").json()["state"] == "active"
    assert lead.post(f"/api/v1/people/{eve.id}/close", json={}).json()["state"] == "closed"


def test_a_role_and_a_group_change_together_or_not_at_all(site):
    lead, eve = site.client("lead", "lead"), site.account("eve")
    assert lead.patch(f"/api/v1/people/{eve.id}", json={"role": "admin", "group": "north"}).status_code == 403
    boss = site.client("boss", "admin")
    response = boss.patch(f"/api/v1/people/{eve.id}", json={"role": "lead", "group": "a\nb"})
    assert response.status_code == 422
    (person,) = [one for one in boss.get("/api/v1/people").json()["people"] if one["name"] == "eve"]
    assert (person["role"], person["group"]) == ("rater", "")


def test_the_last_admin_stays(site):
    boss = site.client("boss", "admin")
    me = boss.get("/api/v1/me").json()["id"]
    for method, path, body in (
        ("PATCH", "", {"role": "rater"}),
        ("POST", "/pause", {}),
        ("POST", "/close", {}),
    ):
        assert boss.request(method, f"/api/v1/people/{me}{path}", json=body).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {"role": "owner"},
        {"account_id": "x"},
        {"first": True},
        {"days": 0},
        {"days": 1e9},
        {"days": "NaN"},
        {"name": "a\x00b"},
        {"email": "nobody"},
        {"group": "x" * 300},
        {"note": "x" * 3000},
    ],
)
def test_invitations_that_cannot_be_are_refused(site, body):
    boss = site.client("boss", "admin")
    assert boss.post("/api/v1/invitations", json=body).status_code == 422
    assert boss.get("/api/v1/invitations").json() == {"invitations": []}


def test_invitations_are_listed_without_their_links_and_can_be_ended(site):
    boss = site.client("boss", "admin")
    made = boss.post("/api/v1/invitations", json={"note": "<b>for ann</b>", "group": "north", "email": "Ann@x.org"})
    secret = made.json()["link"].rpartition("/")[2]
    listed = boss.get("/api/v1/invitations")
    (one,) = listed.json()["invitations"]
    assert (one["group"], one["email"], one["note"]) == ("north", "ann@x.org", "<b>for ann</b>")
    assert secret not in listed.text
    lead = site.client("lead", "lead")
    assert lead.delete(f"/api/v1/invitations/{one['id']}").status_code == 200
    assert lead.delete(f"/api/v1/invitations/{one['id']}").status_code == 404
    assert site.anonymous.get(f"/invitation/{secret}").status_code == 404


def test_a_lead_does_not_end_the_invitation_of_an_admin(site):
    boss, lead = site.client("boss", "admin"), site.client("lead", "lead")
    boss.post("/api/v1/invitations", json={"role": "admin"})
    (one,) = boss.get("/api/v1/invitations").json()["invitations"]
    assert lead.delete(f"/api/v1/invitations/{one['id']}").status_code == 403


def test_all_of_it_stands_in_the_audit_log_without_secrets(site):
    boss, eve = site.client("boss", "admin"), site.account("eve")
    link = boss.post("/api/v1/invitations", json={"name": "ann"}).json()["link"]
    reset = boss.post(f"/api/v1/people/{eve.id}/reset-link").json()["link"]
    boss.post(f"/api/v1/people/{eve.id}/pause", json={"reason": "x"})
    site.anonymous.post(link.removeprefix("http://localhost"), data={"name": "", "password": PASSWORD})
    entries = site.read(audit.entries)
    assert [(one.actor, one.action, one.subject) for one in reversed(entries)] == [
        ("boss", "invitation.make", "ann"),
        ("boss", "invitation.reset", "eve"),
        ("boss", "account.pause", "eve"),
        ("ann", "account.make", "ann"),
    ]
    for secret in (link, reset):
        assert secret.rpartition("/")[2] not in repr(entries)
    assert site.read(audit.verify) == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reading_changes_nothing(site, method):
    boss = site.client("boss", "admin")
    eve = site.account("eve")
    for path in (f"/api/v1/people/{eve.id}/pause", f"/api/v1/people/{eve.id}/reset-link", "/sign-out"):
        assert boss.request(method, path, headers={"x-http-method-override": "POST"}).status_code == 405
    assert boss.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "sec-fetch-site": None},
        {"origin": "null", "sec-fetch-site": None},
        {"sec-fetch-site": None},
    ],
)
def test_forms_of_other_sites_do_nothing(site, headers):
    boss, eve = site.client("boss", "admin"), site.account("eve")
    for name, value in headers.items():
        if value is None:
            del boss.headers[name]
        else:
            boss.headers[name] = value
    for path, body in (("/settings/tokens", {"name": "x"}), ("/sign-out", {}), ("/preferences", {"language": "zh"})):
        assert boss.post(path, data=body).status_code == 403
    assert boss.post(f"/api/v1/people/{eve.id}/close", json={}).status_code == 403
    plain = {"content-type": "text/plain"}
    assert boss.post("/api/v1/invitations", content='{"role": "admin"}', headers=plain).status_code in (403, 422)
    assert site.read(audit.entries) == []


# Before the work


def test_guidelines_over_the_api_name_no_author(site):
    site.write(lambda c: guidelines.save(c, "Be kind.", "", "the lead's name", 0, now()))
    ann = site.client("ann")
    shown = ann.get("/api/v1/guidelines")
    assert shown.json()["acknowledged"] is False
    assert "the lead's name" not in shown.text
    assert ann.post("/api/v1/guidelines/acknowledgements", json={"version": 2}).status_code == 409
    assert ann.post("/api/v1/guidelines/acknowledgements", json={"version": 1, "rater": "eve"}).status_code == 422
    assert ann.post("/api/v1/guidelines/acknowledgements", json={"version": 1}).json()["acknowledged"] is True


def question(site: Site, test: dict[str, Any] | None = None, items: int = 0) -> str:
    form = parse_form(
        {
            "title": "Which <i>one</i>?",
            "fields": [{"kind": "comparison", "name": "better", "label": "Which?"}],
            "qualification": test,
        }
    )
    made = site.write(lambda c: asked.create_question(c, "which", form, "boss", now()))
    (prompt,) = site.project.store.add_prompts([("Say hello.", "train", "t")])
    texts = ("Hello *you*!", "Go away.")
    completions = [CompletionRecord(completion_id(prompt, text, "test"), prompt, text) for text in texts]
    site.project.store.add_completions(completions)
    for number in range(items):
        row = {
            "id": f"i{number}",
            "question_id": made.id,
            "prompt_id": prompt,
            "completion_ids": [one.id for one in completions],
            "purpose": "qualification",
            "expected": {"better": {"choice": "a"}},
            "explanation": "Because **it is kind**. <script>alert(1)</script>",
            "priority": 0,
            "overlap": 2,
            "level": 0,
            "answers": 0,
            "available": False,
            "state": "active",
            "adjudicated": False,
            "random_key": 0.5,
            "source": "",
            "search_text": "",
            "created": now(),
        }
        site.write(lambda c, row=row: c.execute(studio_schema.items.insert().values(**row)))
    return made.id


def test_the_test_is_begun_from_its_page_and_leads_to_the_work(site):
    made = question(site, {"pass_mark": 0.8, "attempts": 2}, 1)
    ann = site.client("ann")
    page = ann.get(f"/qualification/{made}")
    assert page.status_code == 200
    assert "<i>one</i>" not in page.text
    assert "it is kind" not in page.text
    begun = ann.post(f"/qualification/{made}")
    assert begun.headers["location"] == f"/work?question={made}"
    assert ann.get(f"/api/v1/qualification/{made}").json()["state"] == "running"
    assert ann.get("/qualification/nothing").status_code == 404


def test_explanations_come_with_the_end_of_the_attempt(site):
    made = question(site, {"pass_mark": 0.8, "attempts": 2}, 1)
    ann = site.client("ann")
    assert ann.post(f"/api/v1/qualification/{made}/attempts").status_code == 201
    answered(site, made)
    assert "it is kind" not in ann.get(f"/qualification/{made}").text
    assert site.write(lambda c: qualification.finish(c, "ann", made, now())).state == "open"
    page = ann.get(f"/qualification/{made}").text
    assert "<strong>it is kind</strong>" in page
    assert "<script>alert" not in page


def test_who_looks_back_at_a_test_sees_the_items_as_they_were_shown(site):
    made = question(site, {"pass_mark": 0.8, "attempts": 2}, 1)
    ann = site.client("ann")
    ann.post(f"/api/v1/qualification/{made}/attempts")
    answered(site, made, shown_order=[1, 0], answer={"better": {"choice": "b", "strength": 2}})
    site.write(lambda c: qualification.finish(c, "ann", made, now()))
    page = " ".join(re.sub("<[^>]+>", " ", ann.get(f"/qualification/{made}").text).split())
    told = page[page.index("What was expected") :]
    assert "Say hello." in told
    # The item's second completion stood first on this screen, and is A here too.
    assert told.index("Go away.") < told.index("Hello you !")
    assert "You answered A is better, clearly Expected B is better" in told


def test_an_expectation_that_does_not_fit_the_form_that_was_shown_is_left_out(site):
    made = question(site, {"pass_mark": 0.8, "attempts": 2}, 1)
    ann = site.client("ann")
    ann.post(f"/api/v1/qualification/{made}/attempts")
    answered(site, made)
    site.write(lambda c: qualification.finish(c, "ann", made, now()))
    site.write(lambda c: c.execute(studio_schema.items.update().values(expected={"better": {"groups": [[0], [1]]}})))
    page = ann.get(f"/qualification/{made}")
    assert page.status_code == 200
    assert "it is kind" in page.text
    assert "B is better" not in page.text


def test_nobody_looks_back_where_the_test_does_not_explain(site):
    made = question(site, {"pass_mark": 0.8, "attempts": 2, "explain": False}, 1)
    ann = site.client("ann")
    ann.post(f"/api/v1/qualification/{made}/attempts")
    answered(site, made)
    site.write(lambda c: qualification.finish(c, "ann", made, now()))
    page = ann.get(f"/qualification/{made}").text
    assert [words for words in ("Say hello.", "Go away.", "is better", "it is kind") if words in page] == []


def answered(site: Site, question_id: str, shown_order: list[int] | None = None, answer: Any = None) -> None:
    """The one item of the test, answered wrongly."""
    common = {"item_id": "i0", "question_id": question_id, "rater": "ann", "purpose": "qualification"}
    common |= {"form_version": 1, "guideline_version": 0, "active_seconds": 1.0, "created": now()}
    showing = common | {
        "id": "s0",
        "group_name": "",
        "turn": 0,
        "state": "answered",
        "shown_order": shown_order or [0, 1],
        "selector": "random",
        "probability": 1.0,
        "eligible": 1,
        "expires": now(),
        "skip_reason": "",
    }
    row = common | {"id": "a0", "showing_id": "s0", "answer": answer or {}, "correct": 0.0, "seconds": 1.0, "note": ""}
    site.write(lambda c: c.execute(studio_schema.showings.insert().values(**showing)))
    site.write(lambda c: c.execute(studio_schema.answers.insert().values(**row)))


def test_a_lead_lets_somebody_in_without_the_test_and_no_rater_does(site):
    made = question(site, {"pass_mark": 0.8, "attempts": 2}, 1)
    ann, lead = site.client("ann"), site.client("lead", "lead")
    path = f"/api/v1/qualification/{made}/grants"
    assert ann.post(path, json={"rater": "ann"}).status_code == 403
    assert lead.post(path, json={"rater": "ann"}).json()["may_work"] is True
    assert ann.get(f"/api/v1/qualification/{made}").json()["state"] == "granted"
    assert lead.post(path, json={"rater": "nobody at all"}).status_code == 404


def test_numbers_and_texts_that_no_database_holds_are_refused(site: Site) -> None:
    ann, lead = site.client("ann"), site.client("lea", "lead")
    for revision in (2**70, 2**31, -1):
        assert ann.patch("/api/v1/me", json={"revision": revision}).status_code == 422
    account = site.account("ann").id
    assert lead.post(f"/api/v1/people/{account}/pause", json={"reason": "a\0b"}).status_code == 422


def test_what_only_the_database_refuses_is_no_fault_of_the_server(site: Site) -> None:
    async def store(call: Call, value: Exception) -> None:
        def work(_: Any) -> None:
            raise value

        await call.write(work)

    call = Call(Request({"type": "http"}), site.app.state.studio, ROUTES[0], Caller())
    nul = psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    for value in (
        DataError("INSERT", {}, nul),
        OverflowError("too large"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "s"),
    ):
        with pytest.raises(errors.DataError, match="cannot keep"):
            site.anonymous.portal.call(store, call, value)
