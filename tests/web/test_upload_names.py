"""What is wrong with an uploaded file is said of it by its own name, never by where the server has put it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from site_of_tests import Site

from heed.errors import DataError
from heed.feedback import asked
from heed.feedback.forms import default_form
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


def test_a_file_without_a_name_is_called_a_file(tmp_path: Path) -> None:
    path = tmp_path / "j1.upload"
    with pytest.raises(DataError) as caught, naming(path, ""):
        raise DataError(f"cannot read {path}", "it is a folder.", f"Look at {path.name}.")
    assert str(caught.value) == "cannot read the file: it is a folder. Look at the file."
