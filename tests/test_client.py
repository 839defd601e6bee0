"""The Python client against a real server on a real port, through a network that fails."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import func, select

from heed import client as client_module
from heed.client import Client
from heed.config import ProjectSettings
from heed.errors import (
    ConfigError,
    ConflictError,
    DataError,
    MissingError,
    ProjectError,
    RefusedError,
    SignInError,
)
from heed.feedback import asked
from heed.feedback.forms import check_answer, default_form, parse_form, to_item_order
from heed.feedback.studio_schema import answers, items
from heed.people import accounts, guidelines, tokens
from heed.project import Project
from heed.web.app import create_app

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


@dataclass
class Served:
    """A server on a port of this machine."""

    project: Project
    url: str
    question: str
    lose: list[str]

    def token(self, name: str, role: Any, *scopes: Any) -> str:
        def work(connection: Any) -> str:
            account = accounts.find(connection, name) or accounts.create_account(connection, name, role, "", NOW)
            return tokens.make(connection, account, "t", list(scopes), 30, datetime.now(UTC)).secret

        return self.project.store.write(work)

    def client(self, name: str = "lea", role: Any = "lead", *scopes: Any, **options: Any) -> Client:
        return Client(self.url, self.token(name, role, *(scopes or ("rate", "read", "manage"))), **options)

    def count(self, table: Any) -> int:
        with self.project.store.reading() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


class Network:
    """Between server and client: loses requests before they arrive, or answers after they were done."""

    def __init__(self, app: Any, lose: list[str]) -> None:
        self._app, self._lose = app, lose

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not self._lose:
            await self._app(scope, receive, send)
            return
        how = self._lose.pop(0)

        async def nowhere(message: Any) -> None:
            """What the server says is lost."""

        if how == "answer":
            await self._app(scope, receive, nowhere)
        if how == "busy":
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"<h1>busy</h1>"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        raise ConnectionError("the line is cut")  # in the midst of the answer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("client") / "project") as made:
        yield made


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """A new project with one question, and its server."""
    lose: list[str] = []
    with Project.create(folder, ProjectSettings(name="p", model="m")) as project, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        question = project.store.write(lambda c: asked.create_question(c, "Which?", default_form(), "lea", NOW)).id
        server = uvicorn.Server(uvicorn.Config(Network(create_app(project), lose), log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Served(project, f"http://127.0.0.1:{sock.getsockname()[1]}", question, lose)
        server.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_FIRST_WAIT", 0.001)


def pairs(start: int, number: int) -> Iterator[dict[str, Any]]:
    return ({"prompt": f"p{k}", "completions": [f"x{k}", f"y{k}"]} for k in range(start, start + number))


def test_a_rater_can_do_everything_by_program(served: Served) -> None:
    with served.client() as lead, served.client("rob", "rater", "rate") as rater:
        lead.add_items(served.question, pairs(0, 4))
        (question,) = rater.questions()
        assert (question["id"], question["name"]) == (served.question, "Which?")
        first = rater.next(served.question)
        assert first is not None
        assert rater.next(served.question) == first
        assert [field["kind"] for field in first.form["fields"]] == ["comparison"]
        assert len(first.completions) == 2
        assert rater.answer(first, {"better": {"choice": "left", "strength": 3}}, seconds=2.5, note="n") is None
        second = rater.next(served.question)
        assert second is not None
        assert second.id != first.id
        rater.flag(second, "odd")
        rater.skip(second, "not mine")
        assert rater.undo(served.question).id == first.id
        rater.answer(first, {"better": {"choice": "tie", "strength": None}})
        with pytest.raises(ConflictError):
            rater.answer(first, {"better": {"choice": "left", "strength": 1}})
        with pytest.raises(DataError, match="better"):
            rater.answer(rater.next(served.question) or "", {"better": {"choice": "best"}})


def test_what_a_showing_holds_is_told_by_name(served: Served) -> None:
    with served.client() as lead, served.client("rio", "rater", "rate") as rater:
        lead.add_items(served.question, pairs(20, 2))
        first = rater.next(served.question)
        assert first is not None
        assert (first.reopened, first.answer, first.draft) == (False, None, None)
        draft = {"better": {"choice": "right"}}
        rater.send("PUT", f"/api/v1/showings/{first.id}/draft", {"draft": draft, "revision": 0})
        again = rater.next(served.question)
        assert again is not None
        assert again.draft == {"draft": draft, "revision": 1}
        said = {"better": {"choice": "right", "strength": 1}}
        rater.answer(first, said)
        reopened = rater.undo(served.question)
        assert (reopened.reopened, reopened.answer) == (True, said)


def test_the_example_of_the_documents_judges_what_there_is(served: Served, tmp_path: Path) -> None:
    examples = api_examples()
    judged = examples.judge_all(served.url, served.token("exa", "lead", "rate", "read", "manage"), "Which?", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    own = [row for row in rows if row["rater"] == "exa"]
    assert judged == len(own) > 0
    (parcel,) = [row for row in own if row["external_id"] == "parcel-1"]
    assert parcel["answer"] == {"better": {"choice": "a", "strength": None}}
    assert len((tmp_path / "feedback.jsonl").read_text().splitlines()) >= judged


@pytest.mark.parametrize("kind", ["comparison", "rating", "ranking", "thumb", "edit", "demonstration", "critique"])
def test_the_answers_of_the_documents_are_taken_and_kept_as_they_say(kind: str) -> None:
    (example,) = [one for one in api_examples().ANSWERS if one.kind == kind]
    name = example.field["name"]
    form = parse_form({"title": "T", "fields": [example.field]})
    sent = check_answer(form, {name: example.sent}, len(example.shown_order))
    assert sent == {name: example.sent}
    assert to_item_order(form, sent, example.shown_order) == {name: example.kept}


def api_examples() -> Any:
    """docs/api_examples.py."""
    path = Path(__file__).parents[1] / "docs" / "api_examples.py"
    spec = importlib.util.spec_from_file_location("api_examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["api_examples"] = module
    spec.loader.exec_module(module)
    return module


def test_an_answer_whose_receipt_was_lost_is_there_once(served: Served) -> None:
    with served.client() as lead, served.client("ria", "rater", "rate") as rater:
        lead.add_items(served.question, pairs(10, 2))
        showing = rater.next(served.question)
        assert showing is not None
        before = served.count(answers)
        served.lose[:] = ["answer", "request", "busy"]
        rater.answer(showing, {"better": {"choice": "right", "strength": 1}})
        assert served.lose == []
        assert served.count(answers) == before + 1


def test_items_go_in_once_whatever_is_lost_and_broken_ones_are_named(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_ITEMS_AT_ONCE", 10)
    before = served.count(items)
    rows = [*pairs(100, 25), {"prompt": ""}, *pairs(100, 1)]
    told: list[int] = []
    served.lose[:] = ["answer", "request", "busy"]
    rows[3]["metadata"] = {}
    with served.client() as lead:
        done = lead.add_items(served.question, iter(rows), told.append)
    assert dict(done.ignored) == {"metadata": 1}
    assert (done.added, done.duplicates, [place for place, _ in done.broken]) == (25, 1, [25])
    assert told == [10, 20, 27]
    assert served.count(items) == before + 25


def test_items_go_on_where_they_were_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_ITEMS_AT_ONCE", 10)
    rows = list(pairs(200, 30))
    told: list[int] = []

    def some() -> Iterator[dict[str, Any]]:
        yield from rows[:15]
        raise KeyboardInterrupt

    with served.client() as lead:
        with pytest.raises(KeyboardInterrupt):
            lead.add_items(served.question, some(), told.append)
        done = lead.add_items(served.question, iter(rows), told.append, skip=told[-1])
    assert (done.added, done.duplicates, told) == (20, 0, [10, 20, 30])


def test_files_go_in_and_out(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs(300, 5)) + "{no\n")
    with served.client() as lead:
        job = lead.import_file(file, "items", served.question)
        assert (job["report"]["added"], job["report"]["broken"]) == (5, 1)
        done = lead.export(tmp_path / "out.jsonl", "answers")
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert done.size == (tmp_path / "out.jsonl").stat().st_size
        assert len(rows) == done.written == served.count(answers)
        assert done.left_out == {}
        assert lead.people()
        assert lead.overview()
        assert lead.get("/api/v1/jobs")["jobs"]


def test_what_an_export_leaves_out_is_told_with_the_reason(served: Served, tmp_path: Path) -> None:
    with served.client() as lead, served.client("roz", "rater", "rate") as rater:
        lead.add_items(served.question, pairs(400, 2))
        showing = rater.next(served.question)
        assert showing is not None
        rater.answer(showing, {"better": {"choice": "left", "strength": 1}})
        whole = lead.export(tmp_path / "whole", format="csv")
        with pytest.warns(UserWarning, match=r"0 rows written, \d+ left out: .*plain text, not a conversation"):
            nothing = lead.export(tmp_path / "nothing", format="hh")
    assert whole.written > 0
    assert whole.left_out == {}
    assert (nothing.size, nothing.written, (tmp_path / "nothing").read_bytes()) == (0, 0, b"")
    assert sum(nothing.left_out.values()) == whole.written
    assert any("a prompt that is plain text" in reason for reason in nothing.left_out)


def test_the_example_of_the_documents_works_on_a_new_project(tmp_path: Path) -> None:
    values = {"title": "Which?", "fields": [{"kind": "comparison", "name": "nicer", "label": "Nicer?", "tie": False}]}
    with serving(tmp_path / "project") as new:
        new.project.store.write(lambda c: asked.create_question(c, "Nicer?", parse_form(values), "lea", NOW))
        new.project.store.write(lambda c: guidelines.save(c, "Be *kind*.", "", "lea", 0, NOW))
        token = new.token("eva", "lead", "rate", "read", "manage")
        with Client(new.url, token) as studio, pytest.raises(RefusedError, match="guidelines"):
            studio.next(new.question)
        assert api_examples().judge_all(new.url, token, "Nicer?", tmp_path) == 1
        with Client(new.url, token) as studio:
            assert studio.guidelines()["acknowledged"] is True
    (row,) = (json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines())
    assert (row["rater"], row["external_id"], row["answer"]["nicer"]["strength"]) == ("eva", "parcel-1", None)
    assert row["answer"]["nicer"]["choice"] == "a"


def test_an_export_that_fails_leaves_the_old_file(served: Served, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with served.client() as lead, pytest.raises(DataError):
        lead.export(tmp_path / "out", "answers", "trl")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "old")]


def test_errors_are_heeds_own(served: Served) -> None:
    with served.client() as lead, served.client("rex", "rater", "rate") as rater:
        with pytest.raises(MissingError):
            lead.job("j0")
        with pytest.raises(RefusedError):
            rater.people()
        with pytest.raises(DataError, match="what"):
            lead.send("POST", "/api/v1/exports", {"what": "events", "format": "heed"})
    with Client(served.url, "heed_nobody") as nobody, pytest.raises(SignInError):
        nobody.questions()


def test_a_server_that_is_not_there_or_not_heeds_is_named(served: Served) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(url, "t", tries=2) as nowhere, pytest.raises(ProjectError, match="cannot be reached"):
        nowhere.questions()
    served.lose[:] = ["busy"]
    with served.client(tries=1) as lead, pytest.raises(ProjectError, match="not one of heed"):
        lead.questions()


@pytest.mark.parametrize("url", ["http://feedback.example.org", "ftp://x", "feedback.example.org", "http://"])
def test_a_token_is_not_sent_readable(url: str) -> None:
    with pytest.raises(ConfigError):
        Client(url, "t")
    if url == "http://feedback.example.org":
        Client(url, "t", insecure=True).close()
