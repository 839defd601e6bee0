"""What is wrong with an uploaded file is said of it by its own name, never by where the server has put it."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from site_of_tests import Site
from sqlalchemy import Connection, select

from heed.errors import DataError, HeedError, ProjectError
from heed.feedback import asked, studio_schema
from heed.feedback.forms import default_form
from heed.web.error_words import line_in_language
from heed.web.exchange import imports, jobs
from heed.web.exchange.files import ExchangeFolder, naming
from heed.web.exchange.work import Work

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def question(site: Site) -> str:
    return site.write(lambda connection: asked.create_question(connection, "Which?", default_form(), "lea", NOW)).id


@pytest.mark.parametrize(
    ("kind", "data", "format", "what"),
    [
        ("items", b"", "auto", "my items.csv holds no items"),
        ("items", b"colour\n1\n", "csv", "my items.csv has no usable header"),
        ("feedback", b"{}\n", "auto", "cannot tell the format of my items.csv"),
        ("feedback", b"", "csv", "my items.csv has no header"),
    ],
)
def test_a_file_that_cannot_be_read_is_called_by_its_own_name(
    site: Site, question: str, kind: str, data: bytes, format: str, what: str
) -> None:
    lead = site.client("lea", "lead")
    asked_for = {"kind": kind, "format": format, "question_id": question}
    plain = {"content-type": "application/octet-stream"}
    as_body = lead.post("/api/v1/imports", params=asked_for | {"name": "my items.csv"}, content=data, headers=plain)
    as_form = lead.post(f"/board/exchange/{kind}", data=asked_for, files={"file": ("my items.csv", data)})
    assert as_body.json()["error"]["what"] == what
    assert what in as_form.text
    for answer in (as_body, as_form):
        assert answer.status_code == 422
        assert ".upload" not in answer.text
        assert str(site.project.folder) not in answer.text


def test_an_import_that_fails_later_says_which_file(site: Site, question: str) -> None:
    folder = ExchangeFolder(site.project.folder)
    folder.uploaded("j1").write_text("colour\n1\n", encoding="utf-8")
    given = {"format": "csv", "name": "my items.csv", "question_id": question}
    job = site.write(lambda connection: jobs.create(connection, "j1", "import_items", given, "lea", NOW))

    def submit(work: Any) -> Any:
        return site.write(work)

    work = Work(job, site.project, folder, "me", submit, lambda: NOW, threading.Event(), lambda: 0)
    with pytest.raises(DataError) as caught:
        imports.run_import(work)
    assert caught.value.what == "my items.csv has no usable header"


@pytest.mark.parametrize(("name", "called"), [("my items.jsonl", "my items.jsonl"), ("", "upload")])
def test_what_an_upload_held_names_the_file_as_its_owner_does(
    site: Site, question: str, name: str, called: str
) -> None:
    folder = ExchangeFolder(site.project.folder)
    rows = {
        "import_items": '\n{"prompt": "p", "completions": ["x", "y"]}\n',
        "import_feedback": '\n{"prompt": "q", "chosen": "x", "rejected": "y"}\n',
    }
    for number, (kind, data) in enumerate(rows.items()):
        folder.uploaded(f"j{number}").write_text(data, encoding="utf-8")
        given = {"format": "auto", "name": name, "question_id": question, "rater": "import"}

        def mine(connection: Connection, kind: Any = kind, given: Any = given, number: int = number) -> jobs.Job:
            # At once, and now: the server's own worker takes what nobody has, and what nobody has worked on for long.
            made = jobs.create(connection, f"j{number}", kind, given, "lea", datetime.now(UTC))
            jobs.claim(connection, "me", datetime.now(UTC))
            return made

        now, stopping = lambda: datetime.now(UTC), threading.Event()
        imports.run_import(Work(site.write(mine), site.project, folder, "me", site.write, now, stopping, lambda: 0))
    with site.project.store.reading() as connection:
        assert connection.scalars(select(studio_schema.items.c.source)).all() == [f"{called}:2"]
    (judgment,) = site.client("lea", "lead").get("/api/v1/export").text.splitlines()
    assert json.loads(judgment)["source"] == f"{called}:2"


@pytest.mark.parametrize(
    ("error", "told", "in_chinese"),
    [
        (
            ProjectError("database {folder}/heed.db", "the disk is full; nothing acknowledged is lost.", "Repeat it."),
            "the database: the disk is full; nothing acknowledged is lost. Go on with the import when that is mended.",
            "数据库：磁盘已满；已确认的内容没有丢失。解决之后，请继续导入。",
        ),
        (
            ProjectError("database {folder}/heed.db", "it cannot be opened: {folder} is missing.", "Check the path."),
            "the database: it cannot be opened. Go on with the import when that is mended.",
            None,
        ),
        (DataError("cannot read {folder}/a.jsonl", "no.", "Look."), "cannot read a.jsonl: no. Look.", None),
    ],
)
def test_an_import_that_fails_tells_no_place_of_the_server_and_how_to_go_on(
    site: Site, question: str, monkeypatch: pytest.MonkeyPatch, error: HeedError, told: str, in_chinese: str | None
) -> None:
    parts = (part.format(folder=site.project.folder) for part in (error.what, error.why, error.fix))
    fault = type(error)(*parts)

    def fail(*_: Any) -> None:
        raise fault

    lead = site.client("lea", "lead")
    monkeypatch.setattr(imports, "load_own_prompts", fail)
    asked_for = {"kind": "items", "question_id": question}
    plain = {"content-type": "application/octet-stream"}
    made = lead.post("/api/v1/imports", params=asked_for, content=b'{"prompt": "p"}\n', headers=plain)
    job_id = made.json()["id"]
    end = time.monotonic() + 60
    while (job := lead.get(f"/api/v1/jobs/{job_id}").json())["state"] != "failed" and time.monotonic() < end:
        time.sleep(0.02)
    assert job["error"] == told
    if in_chinese is not None:
        assert line_in_language(told, "zh") == in_chinese


def test_a_file_without_a_name_is_called_a_file(tmp_path: Path) -> None:
    path = tmp_path / "j1.upload"
    with pytest.raises(DataError) as caught, naming(path, ""):
        raise DataError(f"cannot read {path}", "it is a folder.", f"Look at {path.name}.")
    assert str(caught.value) == "cannot read the file: it is a folder. Look at the file."
