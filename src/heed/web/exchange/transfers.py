"""Imports and exports over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Query
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from heed.config import ServeSettings
from heed.errors import ConflictError, DataError, MissingError
from heed.feedback import asked
from heed.feedback.formats import ExcludedRows
from heed.people import audit
from heed.texts import cut, rater_name_fault, shown
from heed.web.call import Call, Called
from heed.web.exchange import exports, imports, jobs
from heed.web.exchange.files import ExchangeFolder, Upload
from heed.web.exchange.models import BrokenItem, ExportAsked, ItemsAdded, ItemsGiven, JobList, JobShown

_MEGABYTE = 1 << 20
_PIECE = 1 << 20
_LONGEST_NAME = 120
_KINDS: dict[str, jobs.JobKind] = {"answers": "export_answers", "feedback": "export_feedback"}
_FORMATS = {"answers": "lines", "feedback": "heed"}
Text = Annotated[str, Query(max_length=200)]


def largest_upload(settings: ServeSettings) -> int:
    """A little more than the project allows for a file: the form around it, which is on the disk before the file is looked at."""
    return (settings.import_megabytes + 1) * _MEGABYTE


async def upload(
    call: Called,
    kind: Literal["items", "feedback"],
    format: Text = "auto",
    question_id: Text = "",
    rater: Text = "import",
    name: Text = "",
) -> Response:
    """Take a file of items or feedback, as the body or as the part "file" of a form; reading it goes on by itself."""
    job = await receive(call, kind, {"format": format, "question_id": question_id, "rater": rater, "name": name})
    return JSONResponse(JobShown.of(job).model_dump(mode="json"), 202)


async def receive(call: Call, kind: str, given: dict[str, str]) -> jobs.Job:
    """Put an uploaded file aside and ask for its import."""
    job_kind: jobs.JobKind = "import_items" if kind == "items" else "import_feedback"
    folder = ExchangeFolder(call.project.folder)
    job_id = jobs.new_id()
    path = folder.uploaded(job_id)
    writing = Upload(path, call.project.settings.serve.import_megabytes * _MEGABYTE)
    try:
        given = given | await _save(call, writing)
        parameters = await _checked(call, job_kind, given)
        await run_in_threadpool(writing.keep)
        await run_in_threadpool(imports.check_upload, job_kind, path, parameters["format"], parameters["name"])
        said = json.dumps([parameters, writing.digest()]).encode()
        made = await call.once(
            lambda connection: jobs.create(connection, job_id, job_kind, parameters, call.account.name, call.now).id,
            said,
        )
        if made != job_id:
            writing.discard()  # the same request came before: its job has the file
        call.studio.jobs_asked.set()
        job = await call.read(lambda connection: jobs.get(connection, made))
    except BaseException:
        writing.discard()
        raise
    finally:
        writing.close()
    return job


async def _save(call: Call, writing: Upload) -> dict[str, str]:
    """The body onto the disk; the other parts of a form are returned."""
    given: dict[str, str] = {}
    if not call.request.headers.get("content-type", "").lower().startswith("multipart/"):
        await _save_pieces(writing, call.request.stream())
        return given
    async with call.request.form(max_files=1, max_fields=10) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise DataError("the upload", "it has no part 'file'.", "Choose a file.")
        given = {name: value for name, value in form.items() if isinstance(value, str)}
        given["name"] = file.filename or given.get("name", "")
        await _save_pieces(writing, _pieces(file))
    return given


async def _save_pieces(writing: Upload, pieces: AsyncIterator[bytes]) -> None:
    kept = bytearray()
    async for piece in pieces:
        kept += piece
        if len(kept) >= _PIECE:
            await run_in_threadpool(writing.write, bytes(kept))
            kept.clear()
    await run_in_threadpool(writing.write, bytes(kept))


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE):
        yield piece


async def _checked(call: Call, kind: str, given: dict[str, str]) -> dict[str, str]:
    name = cut("".join(sign for sign in given.get("name", "") if sign.isprintable()), _LONGEST_NAME)
    parameters = {"format": given.get("format") or "auto", "name": name}
    if kind == "import_feedback":
        rater = given.get("rater") or "import"
        if fault := rater_name_fault(rater):
            raise DataError(f"rater {shown(rater)}", f"{fault}.", "Give another name.")
        return parameters | {"rater": rater}
    question_id = given.get("question_id", "")
    await call.read(lambda connection: asked.question(connection, question_id))  # or there is none
    return parameters | {"question_id": question_id}


async def add_items(call: Called, question_id: str, given: ItemsGiven) -> Response:
    """Add up to 1,000 items to a question; what is there already is counted, what is broken named by its place."""

    def work(connection: Connection) -> ItemsAdded:
        rows = imports.parse_items(given.items, f"API, {call.account.name}")
        done = imports.add_item_rows(connection, question_id, rows, call.now)
        broken = [BrokenItem(place=row.line, reason=row.reason) for row in done.broken]
        details = {"added": done.added, "duplicates": done.duplicates, "broken": len(broken)}
        audit.record(connection, call.account.name, "items.add", question_id, details, call.now)
        ignored = imports.passed_over(rows)
        return ItemsAdded(added=done.added, duplicates=done.duplicates, broken=broken, ignored=ignored)

    return await call.reply(work)


async def list_jobs(call: Called) -> JobList:
    """The newest imports and exports."""
    found = await call.read(jobs.recent)
    return JobList(jobs=[JobShown.of(job) for job in found])


async def show_job(call: Called, job_id: str) -> JobShown:
    """One import or export."""
    return JobShown.of(await call.read(lambda connection: jobs.get(connection, job_id)))


async def stop_job(call: Called, job_id: str) -> Response:
    """Let a job rest; what it has done stays done."""
    return await call.reply(lambda connection: JobShown.of(jobs.stop(connection, job_id, call.account.name, call.now)))


async def resume_job(call: Called, job_id: str) -> Response:
    """Let a stopped or failed job go on where it was."""
    shown_job = await call.reply(
        lambda connection: JobShown.of(jobs.resume(connection, job_id, call.account.name, call.now))
    )
    call.studio.jobs_asked.set()
    return shown_job


async def begin_export(call: Called, given: ExportAsked) -> Response:
    """Begin to write an export to a file, to be fetched when it is done."""

    def work(connection: Connection) -> JobShown:
        return JobShown.of(ask_export(connection, call, given))

    begun = await call.reply(work, 202)
    call.studio.jobs_asked.set()
    return begun


def ask_export(connection: Connection, call: Call, given: ExportAsked) -> jobs.Job:
    """A new export job.

    Raises:
        DataError: nothing is written in this format. MissingError: there is no such question.
    """
    parameters = _wanted(connection, given.what, given.format, given.question_id, given.excluded)
    return jobs.create(connection, jobs.new_id(), _KINDS[given.what], parameters, call.account.name, call.now)


def _wanted(
    connection: Connection, what: str, format: str, question_id: str | None, excluded: ExcludedRows | None
) -> dict[str, Any]:
    """The parameters of an export, if there is such a one."""
    parameters: dict[str, Any] = {"format": format}
    if what == "answers":
        exports.check_answer_format(format)
        _check_of_feedback(excluded)
    else:
        exports.check_feedback_format(format)
        parameters |= {"excluded": excluded} if excluded else {}
    if question_id:
        question = asked.question(connection, question_id)
        parameters |= {"question_id": question.id, "question": question.name}
    return parameters


def _check_of_feedback(excluded: ExcludedRows | None) -> None:
    if excluded is not None:
        raise DataError("an export of answers", "it has those of everybody.", "Leave 'excluded' out.")


async def fetch_file(call: Called, job_id: str) -> Response:
    """The file of an export that is done."""
    job = await call.read(lambda connection: jobs.get(connection, job_id))
    if not job.kind.startswith("export"):
        raise MissingError(f"job {job.id}", "an import has no file to fetch.", "Fetch that of an export.")
    if job.state != "done":
        raise ConflictError(f"job {job.id}", f"it is {job.state}.", "Wait until it is done, or let it go on.")
    if job.parameters.get("streamed"):
        raise MissingError(f"job {job.id}", "it was sent while it was made, and no file was kept.", "Export anew.")
    path = ExchangeFolder(call.project.folder).finished(job.id)
    if not path.is_file():
        raise MissingError(f"job {job.id}", "its file has been removed, as all are after a week.", "Export anew.")
    return FileResponse(path, media_type=_media_type(job.parameters["format"]), filename=exports.file_name(job))


async def export_now(
    call: Called,
    what: Literal["feedback", "answers"] = "feedback",
    format: Text = "",
    question_id: Text = "",
    excluded: ExcludedRows | None = None,
) -> Response:
    """Feedback or answers, of one question or of all, as a stream that is made while it is sent.

    The header ``Heed-Job`` names the job under which, when the stream has ended, ``GET /api/v1/jobs/{job_id}`` tells what
    was written and, by reason, what was left out.
    """
    store, about, chosen = call.project.store, question_id or None, format or _FORMATS[what]
    job_id, kind, actor, desk = jobs.new_id(), _KINDS[what], call.account.name, call.desk

    def begin(connection: Connection) -> dict[str, Any]:
        wanted = _wanted(connection, what, chosen, about, excluded)
        jobs.begin_stream(connection, job_id, kind, wanted, actor, call.now)
        return wanted

    parameters = await call.write(begin)

    def finished(report: dict[str, Any]) -> None:
        ended = datetime.now(UTC)
        desk.submit(
            lambda connection: jobs.end_stream(connection, job_id, kind, parameters, actor, call.now, ended, report)
        ).result()

    if what == "answers":
        pages = exports.answers_bytes(store, chosen, about, finished)  # type: ignore[arg-type]
    else:
        pages = exports.feedback_bytes(store, chosen, about, excluded, finished)  # type: ignore[arg-type]
    name = quote(exports.name_of(what, chosen, parameters.get("question", ""), call.now))
    headers = {"content-disposition": f"attachment; filename*=utf-8''{name}", "heed-job": job_id}
    return StreamingResponse(pages, media_type=_media_type(chosen), headers=headers)


def _media_type(format: str) -> str:
    return exports.MEDIA_TYPES.get(format, exports.LINES_TYPE)
