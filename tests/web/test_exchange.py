"""Files in and out of the server: nothing is lost, nothing is twice, and what is broken is named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import re
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from site_of_tests import Site
from sqlalchemy import func, select
from starlette.testclient import TestClient

from heed.config import ServeSettings
from heed.feedback import answers as answering
from heed.feedback import asked, queue, schema
from heed.feedback.formats import OF_EXCLUDED
from heed.feedback.forms import default_form
from heed.feedback.item_files import ItemRow
from heed.feedback.items import add_items
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import items
from heed.people import exclusions
from heed.people.audit import entries
from heed.web.exchange import imports, jobs, service
from heed.web.exchange.service import JobWorker

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    """What ``found`` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.01)
    pytest.fail("it did not come about")


@pytest.fixture
def question(site: Site) -> str:
    return site.write(lambda connection: asked.create_question(connection, "Which?", default_form(), "lea", NOW)).id


def ended(client: TestClient, job_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}").json()
        return job if job["state"] in ("done", "failed", "stopped") else None

    found: dict[str, Any] = until(look)
    return found


def send(client: TestClient, data: bytes, **query: str) -> Any:
    return client.post(
        "/api/v1/imports", params=query, content=data, headers={"content-type": "application/octet-stream"}
    )


def lines(*rows: Any) -> bytes:
    return b"".join((row if isinstance(row, str) else json.dumps(row)).encode() + b"\n" for row in rows)


def count(site: Site, table: Any) -> int:
    return site.read(lambda connection: connection.scalar(select(func.count()).select_from(table)) or 0)


def pairs(number: int) -> list[dict[str, Any]]:
    return [{"prompt": f"prompt {k}", "completions": [f"one {k}", f"two {k}"]} for k in range(number)]


def judge(site: Site, question: str, rater: str, how_many: int) -> None:
    """Answer items as the queue hands them out."""
    site.account(rater)
    rng = random.Random(rater)
    for place in range(how_many):
        now = NOW + timedelta(minutes=place)

        def work(connection: Any, now: datetime = now) -> None:
            claimed = queue.claim(connection, Rater(rater), question, now, rng)
            assert isinstance(claimed, queue.Claimed)
            wire = {"better": {"choice": rng.choice(["left", "right"]), "strength": 2}}
            showing = claimed.showings[0].id
            answering.answer(connection, Rater(rater), showing, wire, None, 3.0, 2.0, "=note", now)

        site.write(work)


# Items in


def test_items_that_tell_who_wrote_them_are_named(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    telling = {"prompt": "Who are you?", "completions": ["I am ChatGPT.", "Nobody."]}
    own = {"prompt": "And you?", "completions": ["Somebody.", "They call me base."]}  # the project's model is called so
    job = send(lead, lines(*pairs(3), telling, own), kind="items", question_id=question).json()
    report = ended(lead, job["id"])["report"]
    assert (report["added"], report["telling"]) == (5, 2)
    assert report["telling_named"] == [[4, "ChatGPT"], [5, "base"]]
    page = lead.get("/board/exchange").text
    assert "2 items name a model" in page
    with site.project.store.reading() as connection:
        item = connection.scalar(select(items.c.id).where(items.c.search_text.contains("chatgpt")))
    assert "“ChatGPT”" in lead.get(f"/board/items/{item}").text
    assert "It is not blind" not in lead.get(f"/board/items/{other(site, item)}").text


def other(site: Site, item: str | None) -> str:
    """An item that is not ``item`` and names nobody."""
    wanted = (items.c.id != item, items.c.search_text.contains("prompt 1"))
    return site.read(lambda connection: str(connection.scalar(select(items.c.id).where(*wanted))))


def test_items_arrive_once_and_broken_rows_are_named_by_their_lines(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    data = lines(*pairs(450), "{no", {"prompt": "one alone", "completions": ["x"]}, pairs(1)[0], {"prompt": "", "x": 1})
    asked_for = send(lead, data, kind="items", question_id=question, name="../../etc/passwd\r\n")
    assert asked_for.status_code == 202, asked_for.text
    job = ended(lead, asked_for.json()["id"])
    assert (job["state"], job["done"], job["total"]) == ("done", 454, 454), job
    assert {name: job["report"][name] for name in ("added", "duplicates", "broken")} == {
        "added": 450,
        "duplicates": 1,
        "broken": 3,
    }
    named = dict(map(tuple, job["report"]["named"]))
    assert set(named) == {451, 452, 454}
    assert "not JSON" in named[451]
    assert "prompt is empty" in named[454]
    assert count(site, items) == 450
    assert "\r" not in job["parameters"]["name"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_form_with_a_file_does_the_same(site: Site, question: str, packed: bool) -> None:
    lead = site.client("lea", "lead")
    data = b"prompt,a,b,external_id\nwhy?,because,so,1\nwhat?,this,that,2\n"
    files = {"file": ("items.csv", gzip.compress(data) if packed else data)}
    answer = lead.post("/board/exchange/items", data={"question_id": question, "format": "csv"}, files=files)
    assert (answer.status_code, answer.headers["location"]) == (303, "/board/exchange")
    (job,) = lead.get("/api/v1/jobs").json()["jobs"]
    assert ended(lead, job["id"])["report"]["added"] == 2
    assert "items.csv" in lead.get("/board/exchange").text


def test_the_same_file_again_adds_nothing(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    for added, there in ((3, 0), (0, 3)):
        job = ended(lead, send(lead, lines(*pairs(3)), kind="items", question_id=question).json()["id"])
        assert (job["report"]["added"], job["report"]["duplicates"]) == (added, there)
    assert count(site, items) == 3


def test_an_upload_is_for_the_servers_own_user_and_gone_when_it_is_read(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    folder = site.project.folder / "exchange"
    job = send(lead, lines(*pairs(3)), kind="items", question_id=question).json()
    ended(lead, job["id"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "query", "status"),
    [
        (b"", {"kind": "items"}, 422),
        (b"name,text\nx,y\n", {"kind": "items"}, 422),
        (b'{"prompt": "x"}\n', {"kind": "items", "format": "pickle"}, 422),
        (b'{"prompt": "x"}\n', {"kind": "items", "question_id": "q0"}, 404),
        (b'{"prompt": "x"}\n', {"kind": "secrets"}, 422),
        (b"\x00\x01", {"kind": "feedback"}, 422),
        (b'{"prompt": "x"}\n', {"kind": "feedback", "format": "heed", "rater": "\u202ebob"}, 422),
    ],
)
def test_what_cannot_be_an_import_is_refused_and_leaves_nothing(
    site: Site, question: str, data: bytes, query: dict[str, str], status: int
) -> None:
    lead = site.client("lea", "lead")
    assert send(lead, data, **{"question_id": question} | query).status_code == status
    assert lead.get("/api/v1/jobs").json() == {"jobs": []}
    folder = site.project.folder / "exchange"
    assert list(folder.iterdir()) == []


def test_nobody_is_brought_in_under_a_name_that_no_address_can_hold(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    row = {"kind": "thumb", "prompt": "p", "completions": ["x"], "up": True}
    assert send(lead, lines(row), kind="feedback", rater="..").status_code == 422
    job = ended(lead, send(lead, lines(row, row | {"rater": ".."}), kind="feedback").json()["id"])
    assert (job["report"]["added"], job["report"]["broken"]) == (1, 1)
    assert "step of the path" in job["report"]["named"][0][1]
    for body in ({"name": ".."}, {"name": "\uff0e"}):
        assert site.client("boss", "admin").post("/api/v1/invitations", json=body).status_code == 422


def test_a_file_larger_than_allowed_is_refused_while_it_comes(site: Site, question: str) -> None:
    site.project.settings.serve = ServeSettings(import_megabytes=1)
    lead = site.client("lea", "lead")
    answer = send(lead, b"x" * (1 << 20) + b"x", kind="items", question_id=question)
    assert answer.status_code == 422
    assert "1,048,576" in answer.json()["error"]["why"]
    assert list((site.project.folder / "exchange").iterdir()) == []


def test_a_compressed_line_without_end_is_named_and_fills_no_memory(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    bomb = gzip.compress(b'{"prompt": "' + b"x" * (50 << 20) + b'"}\n' + lines(*pairs(1)))
    job = ended(lead, send(lead, bomb, kind="items", question_id=question, format="lines").json()["id"])
    assert (job["report"]["added"], job["report"]["broken"]) == (1, 1)
    assert "longer than" in job["report"]["named"][0][1]


def test_items_over_the_api_are_answered_once(site: Site, question: str) -> None:
    program = site.program("lea", "lead", ("manage", "read"))
    address, body = f"/api/v1/questions/{question}/items", {"items": [*pairs(2), {"prompt": 7}, pairs(1)[0]]}
    first = program.post(address, json=body, headers={"idempotency-key": "k"})
    assert first.status_code == 200
    assert (first.json()["added"], first.json()["duplicates"]) == (2, 1)
    assert [one["place"] for one in first.json()["broken"]] == [2]
    assert first.json()["ignored"] == {}
    assert program.post(address, json=body, headers={"idempotency-key": "k"}).json() == first.json()
    assert count(site, items) == 2
    assert [e.details for e in site.read(lambda connection: entries(connection, action="items.add"))] == [
        {"added": 2, "duplicates": 1, "broken": 1}
    ]


def test_fields_that_an_item_has_no_place_for_are_named_with_their_rows(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    rows = [pair | {"id": f"e{k}", "metadata": {"k": k}} for k, pair in enumerate(pairs(3))]
    ended(lead, send(lead, lines(*rows, pairs(4)[3]), kind="items", question_id=question).json()["id"])
    assert "metadata (3)" in lead.get("/board/exchange").text
    kept = site.read(lambda connection: set(connection.scalars(select(items.c.external_id))))
    assert kept == {"e0", "e1", "e2", None}
    body = {"items": [pair | {"metadata": 1, "lang": "x"} for pair in pairs(2)]}
    told = lead.post(f"/api/v1/questions/{question}/items", json=body).json()
    assert told["ignored"] == {"metadata": 2, "lang": 2}


# Jobs


def test_a_job_that_was_stopped_goes_on_where_it_was(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    job_id = send(lead, lines(*pairs(4000)), kind="items", question_id=question).json()["id"]
    until(lambda: lead.get(f"/api/v1/jobs/{job_id}").json()["done"])
    stopped = lead.post(f"/api/v1/jobs/{job_id}/stop")
    assert stopped.status_code == 200
    done = stopped.json()["done"]
    assert 0 < done < 4000
    assert lead.post(f"/api/v1/jobs/{job_id}/stop").status_code == 409
    assert count(site, items) == lead.get(f"/api/v1/jobs/{job_id}").json()["done"]
    assert lead.post(f"/api/v1/jobs/{job_id}/resume").json()["state"] == "waiting"
    job = ended(lead, job_id)
    assert (job["done"], job["report"]["added"], job["report"]["duplicates"]) == (4000, 4000, 0)
    assert count(site, items) == 4000


def test_a_job_whose_process_died_is_taken_over_and_loses_no_row(
    site: Site, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many short transactions: it is still under way when it dies.
    monkeypatch.setattr(imports, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(imports, "ROWS_ALONE", 100)
    lead = site.client("lea", "lead")
    job_id = send(lead, lines(*pairs(3000)), kind="items", question_id=question).json()["id"]
    until(lambda: lead.get(f"/api/v1/jobs/{job_id}").json()["done"])
    # As a process that was killed leaves it: running, of an owner that says nothing any more.
    long_ago = datetime.now(UTC) - 2 * jobs.SILENT
    values = {"state": "running", "owner": "dead", "heartbeat": long_ago, "ended": None}
    site.write(lambda connection: connection.execute(jobs.jobs.update().values(values)))
    job = ended(lead, job_id)
    assert (job["state"], job["done"], job["report"]["added"], job["report"]["duplicates"]) == ("done", 3000, 3000, 0)


def test_a_job_begins_when_it_is_asked_for(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_LOOK_SECONDS", 3600.0)  # nobody finds it by looking
    site = request.getfixturevalue("site")
    lead = site.client("lea", "lead")
    made = request.getfixturevalue("question")
    job_id = send(lead, lines(*pairs(2)), kind="items", question_id=made).json()["id"]
    assert ended(lead, job_id)["state"] == "done"
    export_id = lead.post("/api/v1/exports", json={"what": "answers", "format": "csv"}).json()["id"]
    assert ended(lead, export_id)["state"] == "done"


def test_a_job_in_living_hands_is_not_taken(site: Site, question: str) -> None:
    def work(connection: Any) -> Any:
        jobs.create(connection, "j1", "export_feedback", {"format": "heed"}, "lea", NOW)
        return jobs.claim(connection, "another", NOW)

    assert site.write(work).id == "j1"
    soon = NOW + jobs.SILENT - timedelta(seconds=1)
    assert not site.read(lambda connection: jobs.any_free(connection, soon))
    assert site.write(lambda connection: jobs.claim(connection, "me", soon)) is None
    with pytest.raises(jobs.JobLostError):
        site.write(lambda connection: jobs.advance(connection, "j1", "me", soon, done=5))


def test_an_error_in_a_job_is_told_and_the_next_job_is_done(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    gone = send(lead, lines(*pairs(1)), kind="items", question_id=question)
    ended(lead, gone.json()["id"])
    values = {"state": "failed"}
    site.write(lambda connection: connection.execute(jobs.jobs.update().values(values)))
    lead.post(f"/api/v1/jobs/{gone.json()['id']}/resume")
    job = ended(lead, gone.json()["id"])
    assert job["state"] == "failed"
    assert "its file is gone" in job["error"]
    assert ended(lead, send(lead, lines(*pairs(1)), kind="items", question_id=question).json()["id"])["state"] == "done"


def test_files_that_nobody_fetched_are_removed_after_a_week(site: Site) -> None:
    worker = JobWorker(site.app.state.studio)
    old, new = worker.folder.folder / "j1.export", worker.folder.folder / "j2.export"
    for path, days in ((old, 8), (new, 6)):
        path.write_text("x")
        then = time.time() - days * 24 * 3600
        os.utime(path, (then, then))
    worker.look()
    assert (old.exists(), new.exists()) == (False, True)


# Out


def export(client: TestClient, **body: str) -> bytes:
    job = ended(client, client.post("/api/v1/exports", json=body).json()["id"])
    assert job["state"] == "done", job
    file = client.get(f"/api/v1/jobs/{job['id']}/file")
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.headers["x-content-type-options"] == "nosniff"
    return file.content


@pytest.fixture
def judged(site: Site, question: str) -> str:
    """A question with 30 items of which 50 answers were given."""
    rows = [ItemRow(f"=prompt {k}", (f"-one {k}", f"@two {k}"), external_id=f"e{k}") for k in range(30)]
    site.write(lambda connection: add_items(connection, question, rows, NOW, random.Random(1)))
    judge(site, question, "ann", 25)
    judge(site, question, "bob", 25)
    return question


def _exclude(site: Site, name: str, out: bool = True) -> None:
    act = exclusions.exclude if out else exclusions.include
    site.write(lambda connection: act(connection, name, "as told", "lea", NOW))


@pytest.mark.parametrize("format", ["heed", "csv", "trl"])
@pytest.mark.parametrize("excluded", ["", "keep", "leave"])
def test_exports_keep_or_leave_out_people_excluded_from_training_and_count_them(
    site: Site, judged: str, format: str, excluded: str
) -> None:
    _exclude(site, "ann")
    lead = site.client("lea", "lead")
    asked_for = {"what": "feedback", "format": format} | ({"excluded": excluded} if excluded else {})
    job = ended(lead, lead.post("/api/v1/exports", json=asked_for).json()["id"])
    kept = (excluded or {"heed": "keep"}.get(format, "leave")) == "keep"
    assert job["report"]["written"] == (50 if kept else 25)
    assert job["report"]["left_out"] == ({} if kept else {OF_EXCLUDED: 25})
    assert job["report"]["of_excluded"] == (25 if kept else 0)
    file = lead.get(f"/api/v1/jobs/{job['id']}/file").content
    assert lead.get("/api/v1/export", params=asked_for).content == file
    if format == "heed":
        assert {json.loads(line)["rater"] for line in file.splitlines()} == ({"ann", "bob"} if kept else {"bob"})
    shown = lead.get("/board/exchange").text
    assert ("25 of people excluded from training; nothing in the file marks them." in shown) == kept


def test_the_form_of_the_page_says_what_becomes_of_excluded_people(site: Site, judged: str) -> None:
    _exclude(site, "ann")
    lead = site.client("lea", "lead")
    lead.post("/board/exchange/exports", data={"what": "feedback.heed", "question_id": "", "excluded": "leave"})
    (job,) = lead.get("/api/v1/jobs").json()["jobs"]
    assert ended(lead, job["id"])["report"]["left_out"] == {OF_EXCLUDED: 25}
    # Of the record of all answers nobody is left out, and the form may be sent with whatever was chosen before.
    lead.post("/board/exchange/exports", data={"what": "answers.lines", "question_id": "", "excluded": "leave"})
    assert ended(lead, lead.get("/api/v1/jobs").json()["jobs"][0]["id"])["report"]["written"] == 50
    refused = lead.post("/api/v1/exports", json={"what": "answers", "format": "lines", "excluded": "leave"})
    assert refused.status_code == 422


@pytest.mark.parametrize("format", ["heed", "csv", "trl", "hh"])
def test_feedback_comes_back_into_another_project(site: Site, judged: str, format: str) -> None:
    lead = site.client("lea", "lead")
    data = export(lead, what="feedback", format=format)
    assert lead.get("/api/v1/export", params={"format": format}).content == data
    feedback = count(site, schema.feedback)
    if format in ("heed", "csv"):
        assert ended(lead, send(lead, data, kind="feedback").json()["id"])["report"] == {
            "added": 0,
            "duplicates": feedback,
            "broken": 0,
            "named": [],
            "ignored": {},
            "telling": 0,
            "telling_named": [],
        }
    else:
        (job, *_) = lead.get("/api/v1/jobs").json()["jobs"]
        assert len(data.splitlines()) == job["report"]["written"] == feedback - sum(job["report"]["left_out"].values())


def test_an_export_that_nothing_fits_says_so_and_why(site: Site, judged: str) -> None:
    lead = site.client("lea", "lead")
    assert "where a prompt is plain text, its judgments are left out" in lead.get("/board/exchange").text
    assert export(lead, what="feedback", format="hh") == b""
    (job, *_) = lead.get("/api/v1/jobs").json()["jobs"]
    reasons = job["report"]["left_out"]
    assert job["report"]["written"] == 0
    assert "HH-RLHF has no place for a prompt that is plain text, not a conversation" in reasons
    for page in (lead.get("/board/exchange").text, lead.get("/board/exchange/jobs").text):
        assert f"{sum(reasons.values())} left out:" in page
        assert "The file is empty: this format has no place for any of them." in page


@pytest.fixture
def second(site: Site, judged: str) -> str:
    """Another question, whose name is no file name, with three answers."""
    made = site.write(lambda connection: asked.create_question(connection, "../如何? a", default_form(), "lea", NOW)).id
    rows = [ItemRow(f"else {k}", (f"x {k}", f"y {k}")) for k in range(3)]
    site.write(lambda connection: add_items(connection, made, rows, NOW, random.Random(1)))
    judge(site, made, "cem", 3)
    return made


@pytest.mark.parametrize("format", ["heed", "csv", "trl"])
def test_feedback_of_one_question_is_what_its_answers_became(site: Site, judged: str, second: str, format: str) -> None:
    lead = site.client("lea", "lead")
    whole, one = (export(lead, what="feedback", format=format, **more) for more in ({}, {"question_id": second}))
    (job, *_) = lead.get("/api/v1/jobs").json()["jobs"]
    assert (job["done"], job["total"]) == (3, 3)
    head = 1 if format == "csv" else 0
    assert (len(whole.splitlines()) - head, len(one.splitlines()) - head) == (53, 3)
    assert all(b"else " in line for line in one.splitlines()[head:])
    assert lead.get("/api/v1/export", params={"format": format, "question_id": second}).content == one
    assert lead.get("/api/v1/export", params={"format": format, "question_id": "q0"}).status_code == 404


def test_a_file_is_named_by_what_how_about_which_question_and_when(site: Site, second: str) -> None:
    lead = site.client("lea", "lead")
    lead.post("/board/exchange/exports", data={"what": "feedback.trl", "question_id": second})
    (job, *_) = lead.get("/api/v1/jobs").json()["jobs"]
    assert ended(lead, job["id"])["report"]["written"] == 3
    day = job["created"][:10]
    stored = lead.get(f"/api/v1/jobs/{job['id']}/file").headers["content-disposition"]
    assert unquote(stored) == f"attachment; filename*=utf-8''heed-feedback-trl-如何-a-{day}.jsonl"
    streamed = lead.get("/api/v1/export", params={"what": "answers", "format": "csv"}).headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename\*=utf-8''heed-answers-csv-\d{4}-\d\d-\d\d\.csv", streamed)


def test_all_rows_of_an_answer_say_what_it_was_about(site: Site, judged: str) -> None:
    rows = [
        json.loads(line) for line in export(site.client("lea", "lead"), what="answers", format="lines").splitlines()
    ]
    with site.project.store.reading() as connection:
        ids = {item.external_id: item.id for item in connection.execute(select(items))}
    assert len({row["answer_id"] for row in rows}) == len(rows) == 50
    for row in rows:
        assert row["item_id"] == ids[row["external_id"]]
        assert (row["question_id"], row["question"], row["form_version"]) == (judged, "Which?", 1)


def test_answers_come_with_how_they_were_shown(site: Site, judged: str) -> None:
    lead = site.client("lea", "lead")
    rows = [json.loads(line) for line in export(lead, what="answers", format="lines", question_id=judged).splitlines()]
    assert len(rows) == 50
    assert {row["rater"] for row in rows} == {"ann", "bob"}
    for row in rows:
        place = "ab".index(row["answer"]["better"]["choice"])
        assert row["chose_left"] == (row["shown_order"][0] == place)
        assert 0 < row["probability"] <= 1
        assert row["completions"][0].startswith("-one")
        assert row["external_id"].startswith("e")


def test_csv_of_answers_has_nothing_that_a_spreadsheet_runs(site: Site, judged: str) -> None:
    lead = site.client("lea", "lead")
    text = lead.get("/api/v1/export", params={"what": "answers", "format": "csv"}).text
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 51
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r\n")]
    prompts = {row[rows[0].index("prompt")] for row in rows[1:]}
    assert all(prompt.startswith("'=prompt ") for prompt in prompts)


def test_an_export_goes_on_with_the_file_as_it_was_noted(site: Site, judged: str) -> None:
    lead = site.client("lea", "lead")
    whole = export(lead, what="feedback", format="csv")
    (done, *_) = lead.get("/api/v1/jobs").json()["jobs"]
    head = b"".join(whole.splitlines(keepends=True)[:11])
    report = done["report"] | {"bytes": len(head), "written": 10, "after": 10}
    worker = JobWorker(site.app.state.studio)
    # Killed after it had written more than it had noted.
    worker.folder.partial("j9").write_bytes(head + b"half a li")
    parameters = {"format": "csv"}

    def work(connection: Any) -> None:
        jobs.create(connection, "j9", "export_feedback", parameters, "lea", NOW)
        values = {"report": report, "done": 10}
        connection.execute(jobs.jobs.update().where(jobs.jobs.c.id == "j9").values(values))

    site.write(work)
    assert ended(lead, "j9")["report"]["written"] == done["report"]["written"]
    assert lead.get("/api/v1/jobs/j9/file").content == whole


def test_a_file_is_there_only_when_the_export_is_done(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    imported = ended(lead, send(lead, lines(*pairs(1)), kind="items", question_id=question).json()["id"])
    assert lead.get(f"/api/v1/jobs/{imported['id']}/file").status_code == 404
    assert lead.get("/api/v1/jobs/..%2f..%2fheed.yaml/file").status_code == 404
    assert lead.post("/api/v1/exports", json={"what": "answers", "format": "trl"}).status_code == 422
    assert lead.get("/api/v1/export", params={"what": "answers", "question_id": "q0"}).status_code == 404


def test_raters_have_no_part_in_it(site: Site, question: str) -> None:
    rater = site.client("rae", "rater")
    assert send(rater, lines(*pairs(1)), kind="items", question_id=question).status_code == 403
    assert rater.get("/api/v1/export").status_code == 403
    assert rater.get("/board/exchange").status_code == 403
    assert list(Path(site.project.folder / "exchange").iterdir()) == []


def test_the_page_escapes_what_came_from_outside(site: Site, question: str) -> None:
    lead = site.client("lea", "lead")
    nasty = '"><img src=x onerror=alert(1)>'
    row = {"prompt": "p", "completions": ["x", "y"], "priority": nasty, nasty: 1}
    ended(
        lead,
        send(lead, lines(row, pairs(1)[0] | {nasty: 1}), kind="items", question_id=question, name=nasty).json()["id"],
    )
    for page in (lead.get("/board/exchange"), lead.get("/board/exchange/jobs")):
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "&lt;img" in page.text


def test_an_upload_that_is_repeated_with_its_key_is_one_job(site: Site, question: str) -> None:
    program = site.program("lea", "lead", ("manage", "read"))
    address = f"/api/v1/imports?kind=items&question_id={question}"
    key = {"idempotency-key": "k", "content-type": "application/octet-stream"}
    first, again = (program.post(address, content=lines(*pairs(3)), headers=key) for _ in range(2))
    assert first.status_code == 202, first.text
    assert again.json()["id"] == first.json()["id"]
    ended(program, first.json()["id"])
    assert len(program.get("/api/v1/jobs").json()["jobs"]) == 1
    assert program.post(address, content=lines(*pairs(2)), headers=key).status_code == 409
