"""The questions: how far each is, and an editor that shows an item as raters will see it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Form as FromForm
from fastapi import Query
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, JSONResponse, Response

from heed.errors import ConflictError, DataError
from heed.feedback import asked, explorer, forms
from heed.feedback.asked import Question, QuestionState
from heed.feedback.explorer import ItemFilter
from heed.feedback.kinds import Text
from heed.feedback.selectors import selector_names
from heed.people import audit
from heed.statistics import Record
from heed.texts import text_fault
from heed.web.board import preview, question_form
from heed.web.board.common import Body, Done, ItemId, board_page, numbers
from heed.web.board.question_form import Definition
from heed.web.call import Call, Called
from heed.web.errors import status_of
from heed.web.rendering import beside_the_loop
from heed.web.values import LARGEST

_NEW = "new"
LONGEST_NOTE = 2000
"""Characters."""


class QuestionShown(Record):
    """A question in its newest version."""

    id: str
    name: str
    state: str
    version: int
    form: dict[str, Any]
    note: str
    author: str


class QuestionList(Record):
    """All questions, the oldest first."""

    questions: tuple[QuestionShown, ...]


class VersionShown(Record):
    """One version of a question."""

    version: int
    form: dict[str, Any]
    note: str
    author: str
    created: str


class VersionList(Record):
    """All versions of a question, the oldest first."""

    versions: tuple[VersionShown, ...]


class NewQuestion(Body):
    """A question to ask, at once unless it is to be paused until somebody opens it."""

    name: Text = Field(min_length=1, max_length=200)
    form: dict[str, Any]
    state: Literal["open", "paused"] = "open"


class ChangedQuestion(Body):
    """Another version of a question; ``version`` is the one that it began from, and another one since is a conflict."""

    form: dict[str, Any]
    name: Text | None = Field(None, min_length=1, max_length=200, description="another name; left out: it stays")
    note: Text = ""
    version: int = Field(ge=1, le=LARGEST)


class StateOfQuestion(Body):
    """Whether items are handed out: open, paused for now, or closed."""

    state: Literal["open", "paused", "closed"]


def _shown(question: Question) -> QuestionShown:
    form = question_form.definition_of(question.form)
    return QuestionShown(
        id=question.id,
        name=question.name,
        state=question.state,
        version=question.version,
        form=form,
        note=question.note,
        author=question.author,
    )


# Changing, for the API and the pages alike


def _create(
    call: Call, connection: Connection, name: str, definition: Definition, state: QuestionState
) -> QuestionShown:
    form, who = forms.parse_form(definition), call.account.name
    made = asked.create_question(connection, name, form, who, call.now, state=state)
    details = {"name": made.name, "version": made.version, "state": made.state}
    audit.record(connection, call.account.name, "question.create", made.id, details, call.now)
    return _shown(made)


def _save(
    call: Call,
    connection: Connection,
    question_id: str,
    definition: Definition,
    note: str,
    version: int,
    name: str | None,
) -> QuestionShown:
    if len(note) > LONGEST_NOTE or (fault := text_fault(note)):
        why = f"it has more than {LONGEST_NOTE:,} characters" if len(note) > LONGEST_NOTE else fault
        raise DataError("the note", f"{why}.", "Correct it.")
    form, who = forms.parse_form(definition), call.account.name
    before = asked.question(connection, question_id).name
    saved = asked.save_question(connection, question_id, form, note, who, version, call.now, name)
    if saved.name != before:
        audit.record(connection, who, "question.rename", question_id, {"from": before, "to": saved.name}, call.now)
    if saved.version != version:
        details = {"version": saved.version, "note": note}
        audit.record(connection, who, "question.save", question_id, details, call.now)
    return _shown(saved)


def _set_state(call: Call, connection: Connection, question_id: str, state: QuestionState) -> QuestionShown:
    asked.set_state(connection, question_id, state)
    audit.record(connection, call.account.name, "question.state", question_id, {"state": state}, call.now)
    return _shown(asked.question(connection, question_id))


async def questions(call: Called) -> JSONResponse:
    """All questions in their newest versions."""
    found = await call.read(asked.questions_asked)
    return JSONResponse(QuestionList(questions=tuple(_shown(one) for one in found)).model_dump(mode="json"))


async def question(call: Called, question_id: ItemId) -> JSONResponse:
    """One question in its newest version."""
    found = await call.read(lambda connection: asked.question(connection, question_id))
    return JSONResponse(_shown(found).model_dump(mode="json"))


async def versions(call: Called, question_id: ItemId) -> JSONResponse:
    """All versions of a question."""

    def work(connection: Connection) -> VersionList:
        asked.question(connection, question_id)
        return VersionList(
            versions=tuple(
                VersionShown(
                    version=one.version,
                    form=question_form.definition_of(one.form),
                    note=one.note,
                    author=one.author,
                    created=one.created.isoformat(),
                )
                for one in asked.versions(connection, question_id)
            )
        )

    return JSONResponse((await call.read(work)).model_dump(mode="json"))


async def create(call: Called, body: NewQuestion) -> Response:
    """Ask a new question."""
    return await call.reply(lambda connection: _create(call, connection, body.name, body.form, body.state), 201)


async def save(call: Called, question_id: ItemId, body: ChangedQuestion) -> Response:
    """Save another version of a question."""
    return await call.reply(
        lambda connection: _save(call, connection, question_id, body.form, body.note, body.version, body.name)
    )


async def set_state(call: Called, question_id: ItemId, body: StateOfQuestion) -> Response:
    """Open, pause or close a question."""
    return await call.reply(lambda connection: _set_state(call, connection, question_id, body.state))


# Pages


async def questions_page(call: Called, done: Done = None) -> HTMLResponse:
    """All questions and how far each is."""
    counted = await numbers(call, fresh=done is not None)
    found = await call.read(asked.questions_asked)
    progress = {one.id: one for one in counted.overview.questions}
    return await board_page(call, "questions", "questions", found=found, progress=progress, done=done)


async def state_by_form(call: Called, question_id: ItemId, state: Annotated[QuestionState, FromForm()]) -> Response:
    """Open, pause or close a question, and go back to the list."""
    await call.write(lambda connection: _set_state(call, connection, question_id, state))
    return call.redirect("/board/questions?done=state")


async def new_page(call: Called) -> HTMLResponse:
    """The editor with a question to begin with."""
    form = question_form.definition_of(forms.default_form())
    form["title"], form["fields"][0]["label"] = call.text("board.default.title"), call.text("board.default.label")
    return await _editor(call, None, form, "", "", 0)


async def question_page(
    call: Called, question_id: ItemId, version: Annotated[int | None, Query(ge=1, le=LARGEST)] = None, done: Done = None
) -> HTMLResponse:
    """The editor with the newest version of a question, or with an older one to be taken up again."""
    found, form = await call.read(
        lambda connection: (
            (question := asked.question(connection, question_id)),
            asked.form_of(connection, question_id, version or question.version),
        )
    )
    definition, old = question_form.definition_of(form), version if version != found.version else None
    return await _editor(call, found, definition, found.name, "", found.version, old=old, done=done)


async def edit(call: Called, question_id: ItemId) -> Response:
    """Do what a button of the editor says: change the fields, look at it, or save."""
    given = await call.request.form()
    button = str(given.get("do", "preview"))
    definition = question_form.read_definition(given)
    note = str(given.get("note", ""))
    version = int(text) if (text := str(given.get("version", ""))).isdecimal() and len(text) < 10 else 0
    found = None
    if question_id != _NEW:
        found = await call.read(lambda connection: asked.question(connection, question_id))
    name = str(given.get("question_name", found.name if found else "")).strip()
    state: QuestionState = "open" if given.get("state") == "open" else "paused"
    if button == "save":
        try:
            if found is None:
                made = await call.write(lambda connection: _create(call, connection, name, definition, state))
                done = f"made_{made.state}"
            else:
                made = await call.write(
                    lambda connection: _save(call, connection, question_id, definition, note, version, name)
                )
                done = "renamed" if made.version == version and name != found.name else "saved"
            return call.redirect(f"/board/questions/{made.id}?done={done}")
        except (DataError, ConflictError) as error:
            return await _editor(call, found, definition, name, note, version, error=error, state=state)
    place = question_form.apply(definition, button, lambda kind: call.text(f"board.label.{kind}"))
    return await _editor(call, found, definition, name, note, version, place=place, state=state)


async def _editor(
    call: Call,
    found: Question | None,
    definition: Definition,
    name: str,
    note: str,
    version: int,
    error: DataError | ConflictError | None = None,
    place: int | None = None,
    old: int | None = None,
    done: str | None = None,
    state: QuestionState = "paused",
) -> HTMLResponse:
    """The editor; ``version`` is the one that was edited, and a newer one is shown as what there is to be merged.

    ``old`` is the version that is in it where that is not the newest.
    """
    stale = isinstance(error, ConflictError) and found is not None and version != found.version
    fault = None if stale else error
    form = None
    try:
        form = forms.parse_form(definition)
    except DataError as wrong:
        fault = fault or wrong
    history, sample, merge = await call.read(lambda connection: _around(connection, found, version))
    status = 200 if error is None else status_of(error)[0]
    return await board_page(
        call,
        "question",
        "questions",
        status,
        question=found,
        definition=definition,
        question_name=name,
        note=note,
        version=version,
        state=state,
        kinds=question_form.KINDS,
        selectors=selector_names(),
        fault=fault,
        conflict=stale,
        merge=merge,
        history=history,
        old=next((one for one in history if one.version == old), None),
        focus_on=place,
        sample=form and await beside_the_loop(lambda: preview.showing_of(call, form, sample)),
        instructions=await preview.instructions_of(call, definition),
        done=done,
    )


def _around(
    connection: Connection, found: Question | None, version: int
) -> tuple[list[asked.QuestionVersion], explorer.ItemDetail | None, list[tuple[str, Any, Any]]]:
    """Versions, an item to show, and what changed since ``version``."""
    if found is None:
        return [], None, []
    newest = explorer.find_items(connection, ItemFilter(question=found.id), limit=1)
    sample = explorer.item_detail(connection, newest[0].id) if newest else None
    history = list(reversed(asked.versions(connection, found.id)))
    merge: list[tuple[str, Any, Any]] = []
    if version != found.version and any(one.version == version for one in history):
        begun = question_form.definition_of(asked.form_of(connection, found.id, version))
        merge = question_form.differences(begun, question_form.definition_of(found.form))
    return history, sample, merge
