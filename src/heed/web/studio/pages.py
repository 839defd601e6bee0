"""The pages on which raters judge: the item screen, and the choice of a question where there are several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import Query
from sqlalchemy import Connection
from starlette.responses import Response

from heed.errors import MissingError
from heed.feedback import asked, heads
from heed.feedback.asked import Question
from heed.feedback.showings import answered_by
from heed.people.shortcuts import DEFAULT_KEYS
from heed.web.call import Call, Called
from heed.web.permissions import signed_in
from heed.web.rendering import rendered
from heed.web.routing import Route
from heed.web.studio.admission import Admission, admission

QuestionId = Query("", alias="question", max_length=64)


@dataclass(frozen=True)
class _Desk:
    """What a rater may sit down to.

    Attributes:
        questions: all that are not closed.
        admissions: what the rater may do with each, by the question's id.
        answered: how many items of each the rater has answered as work, by the question's id.
    """

    questions: tuple[Question, ...]
    admissions: dict[str, Admission]
    answered: dict[str, int]


async def work(call: Called, question: str = QuestionId, choose: str | None = None) -> Response:
    """The item screen of a question; where there are several and none is named, the choice. Who is paused reads why."""
    if call.account.state != "active":
        return call.redirect("/me")
    desk = await call.read(lambda connection: _desk(connection, call.account.name))
    if question:
        found = next((one for one in desk.questions if one.id == question), None)
        if found is None:
            raise MissingError("this question", "it is closed, or there is none.", "Choose one from the list.")
        return await _item_screen(call, found, desk)
    ready = [one for one in desk.questions if one.state == "open"]
    if len(ready) == 1 and choose is None:
        return await _item_screen(call, ready[0], desk)
    choices = [(one, desk.answered.get(one.id, 0), _first(desk.admissions[one.id])) for one in desk.questions]
    return call.page("studio/choose.html", choices=choices)


def _first(admitted: Admission) -> str:
    """What a rater meets before the work of a question; "" where it is the work."""
    return admitted.needs or ("" if admitted.stage == "work" else admitted.stage)


def _desk(connection: Connection, rater: str) -> _Desk:
    found = tuple(one for one in asked.questions_asked(connection) if one.state != "closed")
    return _Desk(
        found,
        {one.id: admission(connection, rater, heads.head(connection, rater, one.id)) for one in found},
        answered_by(connection, rater),
    )


async def _item_screen(call: Call, question: Question, desk: _Desk) -> Response:
    """The screen, or what comes before it."""
    admitted = desk.admissions[question.id]
    if admitted.needs == "guidelines":
        return call.redirect(f"/guidelines?next={quote(f'/work?question={question.id}', safe='/')}")
    if admitted.needs == "qualification":
        return call.redirect(f"/qualification/{question.id}")
    several = len(desk.questions) > 1
    data: dict[str, Any] = {
        "account": call.account.id,
        "question": question.id,
        "version": question.version,
        "stage": admitted.stage,
        "tested": question.form.qualification is not None,
        "answered": desk.answered.get(question.id, 0),
        "several": several,
        "keys": call.account.keys,
        # As pairs: their order, in which people see them, would be lost in an object.
        "default_keys": list(DEFAULT_KEYS.items()),
    }
    written = question.form.instructions
    return call.page(
        "studio/work.html",
        question=question,
        instructions=await rendered(written, 2, call.text("studio.as_written")) if written.strip() else "",
        several=several,
        data=data,
    )


ROUTES: tuple[Route, ...] = (
    Route("GET", "/work", work, signed_in, "page", "The item screen, or the choice of a question."),
)
