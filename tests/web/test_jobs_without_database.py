"""Jobs whose database is away for a while: they go on by themselves, and no row is lost or twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from site_of_tests import make_project
from sqlalchemy import func, select

from heed.errors import UnreachableError
from heed.feedback import asked, store
from heed.feedback.forms import default_form
from heed.feedback.kinds import Thumb, completion_id
from heed.feedback.store import CompletionRecord
from heed.feedback.studio_schema import items
from heed.project import Project
from heed.web.call import Studio
from heed.web.desk import Desk
from heed.web.exchange import imports, jobs, service
from heed.web.exchange.service import JobWorker
from heed.web.identity import Identities
from heed.web.security import Address

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ROWS = 110


class Losing(JobWorker):
    """Loses the connection at some of its transactions: before one is stored, or after, when nobody hears that it was."""

    def __init__(self, studio: Studio, is_lost: Callable[[int], bool], stored: bool) -> None:
        super().__init__(studio, timedelta())
        self.written = 0
        self._is_lost, self._stored = is_lost, stored

    def write(self, work: Callable[[Any], Any]) -> Any:
        self.written += 1
        lost = self._is_lost(self.written)
        value = super().write(work) if self._stored or not lost else None
        if lost:
            raise UnreachableError("database x", "the server cannot be reached: connection refused.", "Check it.")
        return value

    def work_through(self) -> None:
        """As its thread does, which looks again whatever went wrong."""
        for _ in range(100):
            try:
                if not self.look():
                    return
            except UnreachableError:
                continue
        pytest.fail("it does not come to an end")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr(service, "_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(imports, "ROWS_AT_ONCE", 20)
    monkeypatch.setattr(imports, "SECONDS_ALONE", 0.0)
    monkeypatch.setattr(imports, "ROWS_ALONE", 20)
    monkeypatch.setattr(store, "ROWS_PER_TRANSACTION", 20)
    make_project(tmp_path / "project")
    with Project(tmp_path / "project") as project:
        desk = Desk(project.store)
        yield Studio(project, desk, Address(), Identities(desk))
        desk.close()


def begin_import(studio: Studio, job_id: str) -> None:
    question = studio.project.store.write(
        lambda c: asked.create_question(c, f"Which? {job_id}", default_form(), "lea", NOW)
    )
    rows = [json.dumps({"prompt": f"{job_id} {n}", "completions": ["x", "y"]}) for n in range(ROWS)]
    JobWorker(studio).folder.uploaded(job_id).write_text("\n".join(rows), encoding="utf-8")
    given = {"format": "lines", "name": "items.jsonl", "question_id": question.id}
    studio.project.store.write(lambda c: jobs.create(c, job_id, "import_items", given, "lea", NOW))


def begin_export(studio: Studio, job_id: str, format: str) -> None:
    studio.project.store.write(
        lambda c: jobs.create(c, job_id, "export_feedback", {"format": format, "excluded": "keep"}, "lea", NOW)
    )


def add_feedback(studio: Studio) -> None:
    (prompt,) = studio.project.store.add_prompts([("p", None, "")])
    ids = [completion_id(prompt, str(n), "import") for n in range(ROWS)]
    studio.project.store.add_completions([CompletionRecord(one, prompt, str(n)) for n, one in enumerate(ids)])
    studio.project.store.add_feedback(
        [Thumb(rater="ann", prompt_id=prompt, completion_ids=(one,), up=True, created=NOW) for one in ids]
    )


def job_of(studio: Studio, job_id: str) -> jobs.Job:
    with studio.project.store.reading() as connection:
        return jobs.get(connection, job_id)


@pytest.mark.parametrize("stored", [False, True])
def test_an_import_goes_on_wherever_the_connection_was_lost(studio: Studio, stored: bool) -> None:
    whole = JobWorker(studio)
    begin_import(studio, "whole")
    assert whole.look()
    counted = Losing(studio, lambda _: False, stored)
    begin_import(studio, "counted")
    counted.work_through()
    assert counted.written > 6
    for number in range(1, counted.written + 1):
        begin_import(studio, f"j{number}")
        Losing(studio, lambda at, number=number: at == number, stored).work_through()  # type: ignore[misc]
        job = job_of(studio, f"j{number}")
        assert (job.state, job.done, job.error) == ("done", ROWS, "")
        assert job.report == job_of(studio, "whole").report
    with studio.project.store.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(items)) == ROWS * (counted.written + 2)


@pytest.mark.parametrize("format", ["heed", "trl"])
@pytest.mark.parametrize("stored", [False, True])
def test_an_export_goes_on_wherever_the_connection_was_lost(studio: Studio, stored: bool, format: str) -> None:
    add_feedback(studio)
    begin_export(studio, "whole", format)
    counted = Losing(studio, lambda _: False, stored)
    counted.work_through()
    whole = counted.folder.finished("whole").read_bytes()
    assert whole.count(b"\n") == ROWS
    assert counted.written > 6
    for number in range(1, counted.written + 1):
        begin_export(studio, f"j{number}", format)
        Losing(studio, lambda at, number=number: at == number, stored).work_through()  # type: ignore[misc]
        assert job_of(studio, f"j{number}").state == "done"
        assert counted.folder.finished(f"j{number}").read_bytes() == whole


def test_a_connection_that_is_lost_again_and_again_is_no_end_while_rows_come_in(studio: Studio) -> None:
    begin_import(studio, "j1")
    losing = Losing(studio, lambda at: at % 3 == 0, False)
    losing.work_through()
    assert losing.written > 3 * (len(service._PAUSES) + 1)
    assert (job_of(studio, "j1").state, job_of(studio, "j1").report["duplicates"]) == ("done", 0)


def test_a_database_that_stays_away_fails_the_job_which_can_go_on_later(studio: Studio) -> None:
    begin_import(studio, "j1")
    away = Losing(studio, lambda at: 3 <= at <= 3 + len(service._PAUSES), False)
    away.work_through()
    job = job_of(studio, "j1")
    assert (job.state, job.done) == ("failed", 0)
    assert "cannot be reached" in job.error
    assert job.error.endswith("Go on with the import when that is mended.")
    studio.project.store.write(lambda c: jobs.resume(c, "j1", "lea", NOW))
    away.work_through()
    assert (job_of(studio, "j1").state, job_of(studio, "j1").report["added"]) == ("done", ROWS)


def test_a_part_of_an_export_that_is_gone_is_not_taken_for_zeros(studio: Studio) -> None:
    add_feedback(studio)
    begin_export(studio, "whole", "heed")
    worker = JobWorker(studio)
    assert worker.look()
    begin_export(studio, "j1", "heed")
    report = job_of(studio, "whole").report
    noted = jobs.jobs.update().where(jobs.jobs.c.id == "j1").values(report=report | {"bytes": 100, "after": 1})
    studio.project.store.write(lambda connection: connection.execute(noted))
    assert worker.look()
    assert job_of(studio, "j1").state == "failed"
    assert "the part that was written is gone" in job_of(studio, "j1").error
