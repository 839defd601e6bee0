"""Exports that are sent while they are made: they stand in the audit log, and what they left out is counted."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from site_of_tests import Site
from test_exchange import ended, send

from heed.feedback import answers, asked, queue
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.feedback.showings import Rater
from heed.people import audit
from heed.web.exchange import exports

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def question(site: Site) -> str:
    """A question with one item and one answer."""

    def fill(connection: Any) -> str:
        rng = random.Random(1)
        made = asked.create_question(connection, "Which?", default_form(), "lea", NOW).id
        add_items(connection, made, [ItemRow("p", ("x", "y"))], NOW, rng)
        claimed = queue.claim(connection, Rater("ann"), made, NOW, rng)
        assert isinstance(claimed, queue.Claimed)
        wire = {"better": {"choice": "left", "strength": 1}}
        answers.answer(connection, Rater("ann"), claimed.showings[0].id, wire, None, 1.0, 1.0, "", NOW)
        return made

    site.account("ann")
    return site.write(fill)


@pytest.mark.parametrize(("what", "format"), [("feedback", "csv"), ("answers", "lines")])
def test_a_streamed_export_is_in_the_audit_log_with_what_it_was_of(
    site: Site, question: str, what: str, format: str
) -> None:
    lead = site.client("lea", "lead")
    asked_for = {"what": what, "format": format, "question_id": question}
    job = lead.get("/api/v1/export", params=asked_for).headers["heed-job"]
    (entry,) = [one for one in site.read(audit.entries) if one.action == f"export_{what}.begin"]
    told = {"format": format, "question_id": question, "question": "Which?", "streamed": True}
    assert (entry.actor, entry.subject, entry.details) == ("lea", job, told)


def test_what_a_streamed_export_left_out_is_told_as_that_of_a_job(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    answer = lead.get("/api/v1/export", params={"format": "hh"})
    assert answer.content == b""
    job = lead.get(f"/api/v1/jobs/{answer.headers['heed-job']}").json()
    assert (job["state"], job["kind"], job["report"]["written"]) == ("done", "export_feedback", 0)
    assert job["report"]["left_out"] == {"HH-RLHF has no place for a prompt that is plain text, not a conversation": 1}
    gone = lead.get(f"/api/v1/jobs/{job['id']}/file")
    assert (gone.status_code, gone.json()["error"]["why"]) == (
        404,
        "it was sent while it was made, and no file was kept.",
    )
    page = lead.get("/board/exchange").text
    assert "Sent to a program; no file was kept" in page
    assert f"/api/v1/jobs/{job['id']}/file" not in page


def test_a_stream_that_is_cut_off_is_no_job_that_is_done(
    site: Site, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> Any:
        yield b"{"
        raise ConnectionError("the line is cut")

    lead = site.client("lea", "lead")
    monkeypatch.setattr(exports, "answers_bytes", cut)
    assert lead.get("/api/v1/export", params={"what": "answers"}).content == b"{"
    assert lead.get("/api/v1/jobs").json()["jobs"] == []
    assert [one.action for one in site.read(audit.entries)].count("export_answers.begin") == 1


def test_an_export_that_is_refused_leaves_nothing(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    before = len(site.read(audit.entries))
    assert lead.get("/api/v1/export", params={"format": "xml"}).status_code == 422
    assert lead.get("/api/v1/export", params={"what": "answers", "excluded": "keep"}).status_code == 422
    assert len(site.read(audit.entries)) == before


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        ("/api/v1/imports", "Send the file as application/octet-stream or text/csv, with its name as ?name=."),
        ("/api/v1/exports", "Send JSON as application/json."),
    ],
)
def test_a_body_of_another_type_is_told_what_this_address_reads(site: Site, path: str, fix: str) -> None:
    lead = site.client("lea", "lead")
    kind = {"content-type": "application/x-www-form-urlencoded"}
    told = lead.post(path, content=b"x", headers=kind).json()["error"]
    assert (told["what"], told["fix"]) == ("Content-Type 'application/x-www-form-urlencoded'", fix)


def test_rows_that_fail_for_one_reason_are_one_line_of_the_page(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    data = b'{"prompt": "p", "completions": ["x", "y"]}\n' + b'{"prompt": ""}\n' * 40 + b'{"prompt": "a\x01"}\n'
    job = ended(lead, send(lead, data, kind="items", question_id=question).json()["id"])
    page = lead.get("/board/exchange/jobs").text
    assert page.count("prompt is empty") == 1
    assert "40 rows, lines 2, 3, 4, 5, 6 and further:" in page
    assert "line 42:" in page
    assert job["report"]["named"][-1] == [42, "not JSON: Invalid control character at character 14"]
