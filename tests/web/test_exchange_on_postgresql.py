"""Files in and out and webhooks on PostgreSQL, where transactions run side by side."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from site_of_tests import Site
from sqlalchemy import text
from test_exchange import count, ended, judge, lines, pairs, send

from heed.config import ProjectSettings
from heed.feedback import asked
from heed.feedback.forms import default_form
from heed.feedback.studio_schema import answers, items
from heed.project import Project
from heed.web.exchange import delivery, events, jobs, service, webhooks

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path, postgresql: Any) -> Iterator[Site]:
    settings = ProjectSettings(name="kind replies", model="base", database=postgresql.fresh())
    with Project.create(tmp_path / "project", settings) as project:
        made = Site(project)
        yield made
        made.close()


def test_items_go_in_answers_come_out_and_webhooks_hear_of_it(site: Site) -> None:
    question = site.write(lambda connection: asked.create_question(connection, "Which?", default_form(), "lea", NOW)).id
    lead = site.client("lea", "lead")
    nasty = {"prompt": "p", "completions": ["x", "y"], "external_id": "e\u0000"}
    job = ended(lead, send(lead, lines(*pairs(450), nasty), kind="items", question_id=question).json()["id"])
    assert (job["state"], job["report"]["added"], job["report"]["broken"]) == ("done", 450, 1)
    assert count(site, items) == 450

    def hook(connection: Any) -> None:
        webhooks.create(connection, "https://example.org/", ["answer.created"], [], "ada", NOW)
        events.collect(connection, NOW)

    site.write(hook)
    judge(site, question, "ann", 30)
    later = datetime.now(UTC) + timedelta(minutes=1)
    # Two processes look at the same time: one tells, the other finds nothing left.
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.append(site.write(lambda connection: events.collect(connection, later))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [0, count(site, answers) + 1]  # and ann's account
    (owed,) = site.write(lambda connection: delivery.claim_due(connection, later))
    assert len(owed.payload["answers"]) == 30
    assert site.write(lambda connection: delivery.claim_due(connection, later)) == []
    rows = lead.get("/api/v1/export", params={"what": "answers"}).text.splitlines()
    assert [json.loads(row)["rater"] for row in rows] == ["ann"] * 30
    feedback = lead.get("/api/v1/export").content
    assert ended(lead, send(lead, feedback, kind="feedback").json()["id"])["report"]["duplicates"] == len(
        feedback.splitlines()
    )


def test_one_job_is_taken_by_one_process(site: Site) -> None:
    for number in range(3):
        site.write(lambda c, n=number: jobs.create(c, f"k{n}", "export_feedback", {"format": "heed"}, "lea", NOW))
    future = datetime.now(UTC)
    taken: list[str] = []

    def take(owner: str) -> None:
        while job := site.write(lambda connection: jobs.claim(connection, owner, future)):
            taken.append(job.id)

    threads = [threading.Thread(target=take, args=(f"o{k}",)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The server of this test takes jobs as well.
    assert len(taken) == len(set(taken))


def cut_off(site: Site, table: str, moments: str, times: str) -> None:
    """Have the server end the connections that change rows of ``table``: at those numbers of rows, counted from now on."""
    site.write(lambda c: c.execute(text(f"CREATE SEQUENCE {table}_seen")))
    site.write(
        lambda c: c.execute(
            text(
                f"CREATE FUNCTION {table}_cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                # What a sequence has counted stays counted where the transaction is lost.
                f"IF nextval('{table}_seen') IN ({times}) THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; "
                "RETURN NEW; END $$"
            )
        )
    )
    site.write(
        lambda c: c.execute(
            text(f"CREATE TRIGGER {table}_cut BEFORE {moments} ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_cut()")
        )
    )


def test_jobs_go_on_after_the_server_has_ended_their_connections(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAUSES", (0.1, 0.1, 0.1))
    question = site.write(lambda connection: asked.create_question(connection, "Which?", default_form(), "lea", NOW)).id
    lead = site.client("lea", "lead")
    cut_off(site, "items", "INSERT", "1, 250, 251, 700")
    job = ended(lead, send(lead, lines(*pairs(600)), kind="items", question_id=question).json()["id"])
    assert (job["state"], job["done"], job["error"]) == ("done", 600, "")
    assert (job["report"]["added"], job["report"]["duplicates"]) == (600, 0)
    assert count(site, items) == 600
    assert site.read(lambda c: c.scalar(text("SELECT last_value FROM items_seen"))) > 700
    judge(site, question, "ann", 30)
    whole = lead.get("/api/v1/export", params={"what": "answers"}).content
    cut_off(site, "jobs", "UPDATE", "1, 2, 4, 6")
    export = lead.post("/api/v1/exports", json={"what": "answers", "format": "lines"}).json()["id"]
    assert ended(lead, export)["state"] == "done"
    assert lead.get(f"/api/v1/jobs/{export}/file").content == whole
    assert site.read(lambda c: c.scalar(text("SELECT last_value FROM jobs_seen"))) > 6
