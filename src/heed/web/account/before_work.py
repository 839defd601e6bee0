"""What comes before the work: guidelines to be acknowledged, and the test of a question. Pages and API."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Form, Query
from sqlalchemy import Connection
from starlette.responses import Response

from heed.feedback import asked
from heed.feedback.asked import Question
from heed.people import guidelines, qualification
from heed.people.qualification import Marked, Standing
from heed.web.account import looking_back
from heed.web.account.models import Acknowledged, Given, Granted, GuidelinesShown, StandingShown
from heed.web.call import Call, Called
from heed.web.rendering import rendered
from heed.web.security import safe_target
from heed.web.studio.content import Gathered
from heed.web.values import Whole


class AcknowledgedForm(Given):
    """The form below the guidelines."""

    version: Whole
    next: Annotated[str, Form(max_length=2000)] = "/work"


# Guidelines


def _shown(connection: Connection, call: Call) -> GuidelinesShown:
    newest = guidelines.current(connection)
    if newest is None:
        return GuidelinesShown(version=0, text="", note="", created=None, acknowledged=True)
    read = guidelines.acknowledged_version(connection, call.account.name) >= newest.version
    return GuidelinesShown(
        version=newest.version, text=newest.text, note=newest.note, created=newest.created, acknowledged=read
    )


async def current_guidelines(call: Called) -> GuidelinesShown:
    """The newest guidelines."""
    return await call.read(lambda connection: _shown(connection, call))


async def acknowledge(call: Called, given: Acknowledged) -> Response:
    """Say that one has read the newest guidelines and will go by them."""

    def work(connection: Connection) -> GuidelinesShown:
        guidelines.acknowledge(connection, call.account.name, given.version, call.now)
        return _shown(connection, call)

    return await call.reply(work)


async def guidelines_page(call: Called, next: Annotated[str, Query(max_length=2000)] = "/work") -> Response:
    """The guidelines, what changed since the last ones, and the button to acknowledge them."""

    def look(connection: Connection) -> tuple[GuidelinesShown, list[guidelines.Guideline], int]:
        read = guidelines.acknowledged_version(connection, call.account.name)
        return _shown(connection, call), guidelines.versions(connection), read

    shown, versions, read = await call.read(look)
    return call.page(
        "account/guidelines.html",
        guidelines=shown,
        text=await rendered(shown.text, 2, call.text("studio.as_written")),
        versions=versions,
        read=read,
        target=safe_target(next),
    )


async def acknowledge_form(call: Called, form: Annotated[AcknowledgedForm, Form()]) -> Response:
    """The same by the page's form; on to where the rater was going."""
    await call.write(lambda connection: guidelines.acknowledge(connection, call.account.name, form.version, call.now))
    return call.redirect(safe_target(form.next))


# The test


async def standing(call: Called, question_id: str) -> StandingShown:
    """How one stands with the test of a question."""
    return StandingShown.of(
        await call.read(lambda connection: qualification.state_of(connection, call.account.name, question_id))
    )


async def begin_attempt(call: Called, question_id: str) -> Response:
    """Begin an attempt at the test, or return to the one that runs."""
    return await call.reply(
        lambda connection: StandingShown.of(qualification.begin(connection, call.account.name, question_id, call.now)),
        201,
    )


async def grant(call: Called, question_id: str, given: Granted) -> Response:
    """Let a rater work without the test."""
    return await call.reply(
        lambda connection: StandingShown.of(
            qualification.grant(connection, given.rater, question_id, call.account, call.now)
        )
    )


async def qualification_page(call: Called, question_id: str) -> Response:
    """The test of a question: what it is, how one stands, and after its end what was right."""

    def look(connection: Connection) -> tuple[Question, Standing, list[Marked], Gathered]:
        found = asked.question(connection, question_id)
        stands = qualification.state_of(connection, call.account.name, question_id)
        marked = qualification.explanations(connection, call.account.name, question_id)
        return found, stands, marked, looking_back.gather(connection, marked)

    found, stands, marked, texts = await call.read(look)
    return call.page(
        "account/qualification.html",
        question=found,
        standing=stands,
        marked=await looking_back.looked_back_at(call, marked, texts),
        work=f"/work?question={quote(question_id)}",
    )


async def begin_attempt_form(call: Called, question_id: str) -> Response:
    """The same by the page's form; on to the first item."""
    await call.write(lambda connection: qualification.begin(connection, call.account.name, question_id, call.now))
    return call.redirect(f"/work?question={quote(question_id)}")
