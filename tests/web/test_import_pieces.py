"""How an import shares the database: large transactions while nobody works, small ones as soon as somebody does."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from heed.config import ProjectSettings
from heed.errors import DataError
from heed.feedback import asked
from heed.feedback.forms import default_form
from heed.feedback.item_files import read_items
from heed.feedback.studio_schema import items
from heed.project import Project
from heed.web.exchange import imports, jobs
from heed.web.exchange.files import ExchangeFolder
from heed.web.exchange.work import StoppingError, Work

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ROWS = 1800


class Import:
    """A job of ``ROWS`` rows, one of which is broken, and how far it was after each of its transactions."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.requests = 0
        self.done: list[int] = []
        self.before: Callable[[int], None] = lambda _: None
        question = project.store.write(lambda c: asked.create_question(c, "Which?", default_form(), "lea", NOW)).id
        folder = ExchangeFolder(project.folder)
        lines = [json.dumps({"prompt": f"p{n}", "completions": ["x", "y"]}) for n in range(ROWS)]
        lines[1234] = "{"
        folder.uploaded("j1").write_text("\n".join(lines), encoding="utf-8")
        given = {"format": "lines", "name": "items.jsonl", "question_id": question}
        project.store.write(lambda c: jobs.create(c, "j1", "import_items", given, "lea", NOW))
        job = project.store.write(lambda c: jobs.claim(c, "me", NOW))
        assert job is not None
        stopping = threading.Event()
        self.work = Work(job, project, folder, "me", self.submit, lambda: NOW, stopping, lambda: self.requests)

    def submit(self, work: Callable[[Connection], Any]) -> Any:
        """As the desk does it."""
        self.before(len(self.done))
        value = self.project.store.write(work)
        self.done.append(self.job().done)
        return value

    def job(self) -> jobs.Job:
        with self.project.store.reading() as connection:
            return jobs.get(connection, "j1")

    def check(self) -> None:
        """Every row is there once, and the broken one is named by its line."""
        job = self.job()
        assert (job.state, job.done, job.report["added"], job.report["duplicates"]) == ("done", ROWS, ROWS - 1, 0)
        assert [line for line, _ in job.report["named"]] == [1235]
        with self.project.store.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(items)) == ROWS - 1


@pytest.fixture
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Import]:
    monkeypatch.setattr(
        imports, "SECONDS_READING", 1000.0
    )  # pieces are as large as asked for, however slow the machine
    with Project.create(tmp_path / "project", ProjectSettings(name="kind replies", model="base")) as project:
        yield Import(project)


def test_while_nobody_works_many_pieces_are_one_transaction(importing: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "SECONDS_ALONE", 1000.0)
    imports.run_import(importing.work)
    importing.check()
    assert importing.done == [imports.ROWS_AT_ONCE, ROWS, ROWS]  # a small one first, all the others, the end


def test_a_request_ends_the_transaction_after_the_piece_in_hand(
    importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "SECONDS_ALONE", 1000.0)

    def arrive(number: int) -> None:
        importing.requests += number in (1, 2)

    importing.before = arrive
    imports.run_import(importing.work)
    importing.check()
    small = imports.ROWS_AT_ONCE
    # The piece that a request came in, of twice the first one's size; the small one that another came in; a small one in
    # peace, and all the others.
    assert importing.done == [small, 3 * small, 4 * small, 5 * small, ROWS, ROWS]


def test_a_transaction_ends_after_its_time_though_nobody_works(
    importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "SECONDS_ALONE", 0.0)
    imports.run_import(importing.work)
    importing.check()
    assert importing.done == [100, 300, 700, 1200, 1700, ROWS, ROWS]


def test_a_transaction_that_is_done_twice_adds_every_row_once(
    importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "SECONDS_ALONE", 1000.0)
    inner = importing.work.submit

    class AgainError(Exception):
        """The first try is taken back."""

    def submit(work: Callable[[Connection], Any]) -> Any:
        def fail(connection: Connection) -> None:
            work(connection)
            raise AgainError

        with pytest.raises(AgainError):
            importing.project.store.write(fail)
        return inner(work)

    importing.work.submit = submit
    imports.run_import(importing.work)
    importing.check()


def test_of_a_file_that_is_slow_to_read_nothing_is_read_while_others_wait_and_the_job_can_be_let_go_after_each_row(
    importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "SECONDS_ALONE", 1000.0)
    monkeypatch.setattr(imports, "SECONDS_READING", -1.0)

    def stop(number: int) -> None:
        if number == 2:
            importing.work.stopping.set()

    importing.before = stop
    with pytest.raises(StoppingError):
        imports.run_import(importing.work)
    assert importing.done == [1, 2, 3]


def test_a_job_that_was_stopped_lets_go_while_it_reads_what_is_in_already(
    importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_ROWS_PASSED_OVER", 100)
    read = 0

    def counted(*given: Any) -> Iterator[Any]:
        nonlocal read
        for row in read_items(*given):
            read += 1
            yield row

    monkeypatch.setattr(imports, "read_items", counted)
    importing.work.job = dataclasses.replace(importing.job(), done=1000)
    importing.project.store.write(lambda c: jobs.stop(c, "j1", "lea", NOW))
    with pytest.raises(jobs.JobLostError):
        imports.run_import(importing.work)
    assert read == 100


def test_rows_before_a_fault_of_the_file_go_in(importing: Import) -> None:
    path = importing.work.folder.uploaded("j1")
    path.write_text(path.read_text() + "\n" * 300_000)
    with pytest.raises(DataError, match="blank lines"):
        imports.run_import(importing.work)
    job = importing.job()
    assert (job.done, job.report["added"], job.report["broken"]) == (ROWS, ROWS - 1, 1)


def test_a_process_that_is_to_end_lets_go_after_the_piece_in_hand(
    importing: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "SECONDS_ALONE", 1000.0)

    def stop(number: int) -> None:
        if number == 1:
            importing.work.stopping.set()

    importing.before = stop
    with pytest.raises(StoppingError):
        imports.run_import(importing.work)
    assert importing.done == [100, 300]
    importing.work.stopping.clear()
    importing.work.job = importing.job()
    imports.run_import(importing.work)
    importing.check()
