"""How questions begin and what they are called, the log's words, and what the pages around the board say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from board_data import Known, as_inputs, comparison_form, entries, known_site
from site_of_tests import Site

from heed.people import accounts, audit
from heed.web.exchange import jobs, webhooks
from heed.web.language import catalogue


@pytest.fixture
def known(site: Site) -> Known:
    return known_site(site)


@pytest.fixture
def lead(known: Known) -> Any:
    return known.site.client("lea", "lead")


# Questions: what is refused, how they begin, what they are called


def test_a_selector_that_there_is_not_is_refused(known: Known, lead: Any) -> None:
    path = f"/api/v1/board/questions/{known.question}"
    form = lead.get(path).json()["form"]
    assert lead.put(path, json={"form": form | {"selector": "wisest"}, "version": 1}).status_code == 422
    answer = lead.post("/api/v1/board/questions", json={"name": "New", "form": form | {"selector": "wisest"}})
    assert answer.status_code == 422
    assert "random" in answer.json()["error"]["fix"]
    page = lead.post(
        f"/board/questions/{known.question}", data=as_inputs(form | {"selector": "wisest", "title": "Kept"})
    )
    assert page.status_code in (409, 422)
    assert 'value="Kept"' in page.text
    assert lead.get(path).json()["version"] == 1
    assert '<select id="field-selector"' in lead.get("/board/questions/new").text


def test_a_new_question_waits_until_it_is_opened_unless_it_is_said_otherwise(known: Known, lead: Any) -> None:
    form = comparison_form().model_dump(mode="json")
    for number, (sent, state) in enumerate((({}, "paused"), ({"state": "open"}, "open"))):
        made = lead.post("/board/questions/new", data=as_inputs(form) | {"question_name": f"Q{number}"} | sent)
        place, _, done = made.headers["location"].partition("?")
        assert done == f"done=made_{state}"
        said = lead.get(made.headers["location"]).text
        assert "The question was made" in said
        assert "new version" not in said.split("<form")[0]
        assert lead.get(f"/api/v1{place}").json()["state"] == state
        assert ('name="state" value="open"' in lead.get(place).text) == (state == "paused")
    body = {"name": "By program", "form": form}
    assert lead.post("/api/v1/board/questions", json=body).json()["state"] == "open"
    waits = lead.post("/api/v1/board/questions", json=body | {"name": "Waits", "state": "paused"})
    assert waits.json()["state"] == "paused"


def test_a_question_is_renamed_without_another_version(known: Known, lead: Any) -> None:
    path = f"/api/v1/board/questions/{known.question}"
    form = lead.get(path).json()["form"]
    data = as_inputs(form) | {"version": "1", "question_name": "Better name"}
    done = lead.post(f"/board/questions/{known.question}", data=data)
    assert done.headers["location"].endswith("?done=renamed")
    now = lead.get(path).json()
    assert (now["name"], now["version"]) == ("Better name", 1)
    assert entries(known)[0] == ("lea", "question.rename", known.question)
    lead.post("/api/v1/board/questions", json={"name": "Taken", "form": form})
    assert lead.put(path, json={"form": form, "version": 1, "name": "Taken"}).status_code == 409
    page = lead.post(f"/board/questions/{known.question}", data=data | {"question_name": "Taken"})
    assert page.status_code == 409
    assert 'id="conflict"' not in page.text  # nobody saved another version
    assert "Taken" in page.text


def test_the_defaults_of_a_new_question_are_in_the_language_of_the_page(known: Known, lead: Any) -> None:
    account = known.site.account("lea").id
    known.site.write(lambda c: accounts.set_preferences(c, account, language="zh"))
    page = known.site.client("lea").get("/board/questions/new").text
    assert 'value="哪个回答更好？"' in page
    assert "Which" not in page.split("<form")[-1].split("</form>")[0]


def test_every_action_that_the_code_records_has_words_in_the_log() -> None:
    source = Path(audit.__file__).parents[1]
    files = [file.read_text(encoding="utf-8") for file in source.rglob("*.py")]
    code = "\n".join(text for text in files if "audit.record(" in text)
    kinds = "account|flag|guidelines|invitation|items?|media|qualification|question|rater|token"
    said = set(re.findall(rf'"((?:{kinds})\.[a-z]+)"', code)) - set(webhooks.EVENTS)
    assert {"question.rename", "item.adjudicate", "rater.exclude"} <= said
    assert {action for action in said if f"board.action.{action}" not in catalogue("en")} == set()


def test_actions_that_are_named_after_a_job_have_words_in_the_log() -> None:
    source = inspect.getsource(jobs)
    verbs = re.findall(r'audit\.record\(connection, actor, f"\{[\w.]+\}\.(\w+)"', source)
    assert len(verbs) == source.count("audit.record(") >= 3
    for kind in get_args(jobs.JobKind):
        for verb in verbs:
            assert f"board.action.{kind}.{verb}" in catalogue("en")


def test_no_button_of_the_editor_but_saving_asks_for_what_is_still_empty(known: Known, lead: Any) -> None:
    form = comparison_form().model_dump(mode="json")
    data = as_inputs(form) | {"do": "add.rating"}
    for page in (lead.get("/board/questions/new").text, lead.post("/board/questions/new", data=data).text):
        buttons = re.findall(r'<button[^>]*name="do"[^>]*>', page)
        assert {"up.0", "add.critique", "preview", "save"} <= set(re.findall(r'value="([^"]*)"', " ".join(buttons)))
        assert [one for one in buttons if "formnovalidate" not in one] == [
            '<button class="primary" name="do" value="save">'
        ]


def test_who_writes_an_explanation_is_told_that_sides_are_shuffled(known: Known, lead: Any) -> None:
    for path in (f"/board/items/{known.items['item 0']}", "/board/disagreements"):
        assert "sides are shuffled" in lead.get(path).text.split('for="decide-explanation"')[1]
    assert "sides are shuffled" in lead.get(f"/board/items/{known.items['item 0']}").text.split('field-explanation"')[1]


def test_the_log_says_actions_in_words_beside_their_codes(known: Known, lead: Any) -> None:
    lead.post("/board/acts/exclude", data={"name": "ann", "reason": "copies"})
    page = lead.get("/board/audit").text
    assert "excluded somebody from training" in page
    assert "<code>rater.exclude</code>" in page


# Webhooks


@pytest.mark.parametrize("url", ["http://hooks.internal:9000/x", "http://10.0.0.7/x"])
def test_a_refused_webhook_says_how_it_could_be_allowed_and_keeps_the_form(known: Known, url: str) -> None:
    known.site.project.settings.serve.webhooks = True
    admin = known.site.client("ada", "admin")
    answer = admin.post("/board/exchange/webhooks", data={"url": url, "events": "flag.raised"})
    assert answer.status_code == 422
    assert "serve.webhook_hosts" in answer.text
    assert f'value="{url}"' in answer.text
    assert 'value="flag.raised" checked' in answer.text


def test_a_lead_is_told_who_adds_webhooks(known: Known, lead: Any) -> None:
    known.site.project.settings.serve.webhooks = True
    assert "Admins add and change them." in lead.get("/board/exchange").text
    assert "Admins add and change them." not in known.site.client("ada", "admin").get("/board/exchange").text


def test_the_dialogs_of_a_person_say_what_pausing_and_excluding_do(known: Known, lead: Any) -> None:
    page = lead.get("/board/people/ann").text
    assert "They may sign in and read, but answer nothing until they are resumed" in page
    assert "They see the reason that you give." in page
    assert "those will be asked of others again" in page
    assert "signed out" not in page
