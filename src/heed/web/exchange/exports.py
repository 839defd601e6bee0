"""Export jobs: a file that grows page by page, and goes on where it was cut off."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, get_args

from sqlalchemy import Connection

from heed.errors import DataError
from heed.feedback.answer_files import (
    AnswerFormat,
    answer_pages,
    count_answers,
    encode_answers,
    header_of,
    newest_answer,
)
from heed.feedback.excluded import excluded_raters
from heed.feedback.formats import ExcludedRows, ExportReport, FileFormat, RowWriter
from heed.feedback.store import Store
from heed.feedback.transfer import count_feedback, stored_pages
from heed.files import file_errors, sync_folder
from heed.web.exchange import jobs
from heed.web.exchange.webhooks import announce
from heed.web.exchange.work import Work

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8"}
LINES_TYPE = "application/x-ndjson"

_MOST_REASONS = 50
_LONGEST_QUESTION = 40
_NOTHING_YET: dict[str, Any] = {
    "after": 0,
    "bytes": 0,
    "written": 0,
    "left_out": {},
    "dropped_fields": {},
    "of_excluded": 0,
}


def check_feedback_format(format: str) -> None:
    """See that feedback can be written in a format.

    Raises:
        DataError: it cannot.
    """
    _one_of(format, get_args(FileFormat), "feedback")


def check_answer_format(format: str) -> None:
    """See that answers can be written in a format.

    Raises:
        DataError: they cannot.
    """
    _one_of(format, get_args(AnswerFormat), "answers")


def _one_of(format: str, known: tuple[str, ...], what: str) -> None:
    if format not in known:
        raise DataError(f"format '{format[:40]}'", f"{what} are not written in it.", f"Use {', '.join(known)}.")


Finished = Callable[[dict[str, Any]], None]
"""Told at the end of a stream what came of it, as the report of an export job says it."""


def feedback_bytes(
    store: Store, format: FileFormat, question_id: str | None, excluded_rows: ExcludedRows | None, finished: Finished
) -> Iterator[bytes]:
    """The feedback as a stream of pages, as a whole file of this format; heed's own lines have corrected answers too."""
    writer = RowWriter(format, excluded=_excluded(store), excluded_rows=excluded_rows)
    yield writer.header
    for _, page in stored_pages(store, format == "heed", question_id=question_id):
        yield b"".join(map(writer.encode, page))
    finished(_counts(writer.report))


def _counts(report: ExportReport) -> dict[str, Any]:
    return {
        "written": report.written,
        "left_out": dict(report.left_out.most_common(_MOST_REASONS)),
        "dropped_fields": dict(report.dropped_fields),
        "of_excluded": report.of_excluded,
    }


def _excluded(store: Store) -> set[str]:
    with store.reading() as connection:
        return excluded_raters(connection)


def answers_bytes(store: Store, format: AnswerFormat, question_id: str | None, finished: Finished) -> Iterator[bytes]:
    """All answers of the studio, as a whole file."""
    written = 0
    yield header_of(format)
    for _, page in answer_pages(store, question_id):
        written += len(page)
        yield encode_answers(page, format)
    finished(_counts(ExportReport(written)))


# As a job


def run_export(work: Work) -> None:
    """Write the file of an export job, or what is missing of it.

    Raises:
        HeedError: the disk is full, or what is in the store cannot be read.
    """
    parameters, store = work.job.parameters, work.project.store
    partial, finished = work.folder.partial(work.job.id), work.folder.finished(work.job.id)
    if finished.exists() and not partial.exists():
        os.replace(finished, partial)  # it was whole, and that it is done was not noted
    report: dict[str, Any] = work.job.report or _begun(work)
    if parameters["format"] == "trl":
        # Its rows are of one form, which the first one decides: what was written would have to be known again.
        report = report | _NOTHING_YET
    pages = _answer_pages if work.job.kind == "export_answers" else _feedback_pages
    with file_errors("the exported file"), _opened(partial, report["bytes"]) as file:
        for data, news in pages(store, parameters, report):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            report = report | news | {"bytes": file.tell()}
            work.note(done=report["written"], report=report)
    _finish(work, partial, report)


def _begun(work: Work) -> dict[str, Any]:
    store, parameters = work.project.store, work.job.parameters
    report, question_id = dict(_NOTHING_YET), parameters.get("question_id")
    if work.job.kind == "export_answers":
        report["until"] = newest_answer(store)
        total = count_answers(store, question_id, report["until"])
    else:
        report["until"] = store.newest_feedback()
        # Noted, so that a job that goes on after a change of mind makes one file and not halves of two.
        report["excluded"] = sorted(_excluded(store))
        total = count_feedback(store, parameters["format"] == "heed", report["until"], question_id)
    work.note(total=total, report=report)
    return report


def _opened(path: Path, size: int) -> IO[bytes]:
    """The file as it was when ``size`` bytes of it were noted; what came after them is written again."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    if file.seek(0, os.SEEK_END) < size:
        file.close()
        raise DataError("the export", "the part that was written is gone.", "Begin a new one.")
    file.truncate(size)
    file.seek(size)
    return file


def _answer_pages(
    store: Store, parameters: dict[str, Any], report: dict[str, Any]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    format: AnswerFormat = parameters["format"]
    written = report["written"]
    if not report["bytes"]:
        yield header_of(format), {}
    for after, page in answer_pages(store, parameters.get("question_id"), report["after"], report["until"]):
        written += len(page)
        yield encode_answers(page, format), {"after": after, "written": written}


def _feedback_pages(
    store: Store, parameters: dict[str, Any], report: dict[str, Any]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    format: FileFormat = parameters["format"]
    before = ExportReport(
        report["written"],
        Counter(report["left_out"]),
        Counter(report["dropped_fields"]),
        report.get("of_excluded", 0),
    )
    excluded = report.get("excluded", ())
    writer = RowWriter(format, before, excluded=excluded, excluded_rows=parameters.get("excluded"))
    if not report["bytes"]:
        yield writer.header, {}
    of_question = parameters.get("question_id")
    for after, page in stored_pages(store, format == "heed", report["after"], report["until"], of_question):
        data = b"".join(map(writer.encode, page))
        yield data, _counts(writer.report) | {"after": after}


def _finish(work: Work, partial: Path, report: dict[str, Any]) -> None:
    with file_errors("the exported file"):
        os.replace(partial, work.folder.finished(work.job.id))
        sync_folder(work.folder.folder)

    def end(connection: Connection) -> None:
        now = work.clock()
        jobs.end(connection, work.job.id, work.owner, now, report=report)
        data = {"job_id": work.job.id, "kind": work.job.kind, "rows": report["written"], "actor": work.job.actor}
        announce(connection, "export.finished", data, now)

    work.submit(end)


def file_name(job: jobs.Job) -> str:
    """What a browser is to call the file of a job."""
    what = "answers" if job.kind == "export_answers" else "feedback"
    return name_of(what, job.parameters["format"], job.parameters.get("question", ""), job.created)


def name_of(what: str, format: str, question: str, day: datetime) -> str:
    """The name of a file of feedback or answers: what, how, about which question if not about all, when."""
    safe = re.sub(r"\W+", "-", question).strip("-")[:_LONGEST_QUESTION].rstrip("-")
    ending = "csv" if format == "csv" else "jsonl"
    parts = ["heed", what, format, *filter(None, [safe]), f"{day:%Y-%m-%d}"]
    return f"{'-'.join(parts)}.{ending}"
