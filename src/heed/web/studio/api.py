"""The raters' API: what to judge next, and what they say of it.

A rater is sent a showing's id, the form, and the texts in shown order; nothing that tells one purpose from another, but for
training items, which explain themselves.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from starlette.responses import JSONResponse, Response

from heed.feedback import answers, asked, drafts, forms, heads, leases, queue
from heed.feedback.census import Census
from heed.feedback.drafts import Draft
from heed.feedback.forms import Form
from heed.feedback.heads import Head
from heed.feedback.showings import Rater, Showing, answered_by, form_of, showing_of
from heed.feedback.studio_schema import items
from heed.people import qualification
from heed.web import markup
from heed.web.call import Call, Called
from heed.web.permissions import rates
from heed.web.rendering import beside_the_loop
from heed.web.routing import Route
from heed.web.studio import models as m
from heed.web.studio.admission import admission, admitted, check_still_active, known_progress
from heed.web.studio.content import CONTENTS, Gathered, takes_long

AHEAD = 3
"""Items that a rater holds: the one on the screen and two after it, with which one can go on without a network."""
_RAW_TEXT_FOR = {"edit", "critique"}
_ALL_RIGHT = 1 - 1e-9

_chance = random.SystemRandom()
# Questions have random ids: one serves all servers of one process.
_census = Census()


@dataclass(frozen=True)
class _Shown:
    """A showing with all that is sent of it but the texts."""

    showing: Showing
    form: Form
    draft: Draft | None
    answer: dict[str, Any] | None
    confidence: float | None
    note: str


@dataclass(frozen=True)
class _Found:
    """What a transaction found to show; ``texts`` are what is to be rendered, ``place`` and ``of`` as in the answer."""

    shown: tuple[_Shown, ...]
    texts: Gathered
    answered: int
    reason: str | None = None
    place: int | None = None
    of: int | None = None


async def claim(call: Called, question: str) -> Response:
    """What the caller is to judge now and next; asked again, the same. Extends the leases."""
    rater = rater_of(call)

    def work(connection: Connection) -> _Found:
        head = heads.head_in_turn(connection, rater, question)
        check_still_active(connection, rater.name)
        stage = admitted(connection, rater.name, head)
        if stage != "work":
            item = qualification.next_item(connection, rater.name, question) if stage == "qualification" else None
            showing = queue.claim_known(connection, rater, question, stage, call.now, _chance, item, head=head)
            if showing is not None:
                done, of = known_progress(connection, rater.name, question, stage)
                return _found(connection, (showing,), 0, (done + 1, of))
        claimed = _claim_all(connection, rater, head, call.now)
        if isinstance(claimed, queue.Nothing):
            return _Found((), {}, claimed.answered, claimed.reason)
        return _found(connection, claimed.showings, claimed.answered)

    found = await call.write(work)
    nothing = None if found.reason is None else {"reason": found.reason, "answered": found.answered}
    return JSONResponse({"showings": await _all_sent(found), "nothing": nothing})


def _claim_all(connection: Connection, rater: Rater, head: Head, now: datetime) -> queue.Claimed | queue.Nothing:
    """As many as a rater may hold: who sits down gets them at once, everybody else one for each that was answered."""
    question = head.question_id
    claimed = queue.claim(connection, rater, question, now, _chance, AHEAD, _census, head=head)
    held = 0
    while (
        isinstance(claimed, queue.Claimed)
        and held < (held := sum(not one.reopened for one in claimed.showings)) < AHEAD
    ):
        claimed = queue.claim(connection, rater, question, now, _chance, AHEAD, _census, head=head, waits=False)
    return claimed


async def answer(call: Called, showing: str, given: m.AnswerGiven) -> Response:
    """Store an answer, once: the same again is answered alike. Only training items say what was right."""
    rater = rater_of(call)

    def work(connection: Connection) -> dict[str, Any]:
        receipt = answers.answer(
            connection,
            rater,
            showing,
            given.answer,
            given.confidence,
            given.seconds,
            given.active_seconds,
            given.note,
            call.now,
        )
        feedback = None
        if receipt.purpose == "training":
            feedback = _explained(connection, showing_of(connection, rater, showing), receipt.correct)
        elif receipt.purpose == "qualification":
            question = showing_of(connection, rater, showing).question_id
            qualification.finish(connection, rater.name, question, call.now)
        return {"accepted": True, "feedback": feedback}

    return await call.reply(work)


def _explained(connection: Connection, showing: Showing, correct: float | None) -> dict[str, Any]:
    query = select(items.c.expected, items.c.explanation).where(items.c.id == showing.item_id)
    item = connection.execute(query).one()
    form = form_of(connection, showing)
    asked_for = {field.name for field in form.fields}
    known = {name: value for name, value in (item.expected or {}).items() if name in asked_for}
    return {
        "correct": correct is not None and correct >= _ALL_RIGHT,
        "explanation_html": str(markup.render(item.explanation)) if item.explanation else "",
        "expected": forms.to_shown_order(form, known, showing.shown_order) if known else None,
    }


async def renew(call: Called, showing: str, given: m.RenewalGiven) -> Response:
    """Hold an item longer because the rater is at it."""
    rater = rater_of(call)

    def work(connection: Connection) -> dict[str, Any]:
        expires = leases.renew(connection, rater, showing, given.active_seconds, call.now)
        check_still_active(connection, rater.name)
        return {"expires": _iso(expires)}

    return await call.reply(work)


async def save_draft(call: Called, showing: str, given: m.DraftGiven) -> Response:
    """Keep what is typed so far; another machine's newer draft is not overwritten (409)."""
    rater = rater_of(call)

    def work(connection: Connection) -> dict[str, Any]:
        kept = drafts.save_draft(connection, rater, showing, given.draft, given.revision, call.now)
        return {"revision": kept}

    return await call.reply(work)


async def skip(call: Called, showing: str, given: m.SkipGiven) -> Response:
    """Leave an item to others."""
    rater = rater_of(call)

    def work(connection: Connection) -> dict[str, Any]:
        leases.skip(connection, rater, showing, given.reason, call.now)
        return {"done": True}

    return await call.reply(work)


async def flag(call: Called, showing: str, given: m.FlagGiven) -> Response:
    """Tell the lead that something is wrong with an item."""
    rater = rater_of(call)

    def work(connection: Connection) -> dict[str, Any]:
        leases.flag(connection, rater, showing, given.note, call.now)
        return {"done": True}

    return await call.reply(work)


async def undo(call: Called, question: str) -> Response:
    """Open the caller's newest answer for a change; once more, the one before. It stands until another is sent."""
    rater = rater_of(call)

    def work(connection: Connection) -> str:
        reopened = leases.undo(connection, rater, question, call.now).id
        check_still_active(connection, rater.name)
        return reopened

    reopened = await call.once(work)
    found = await call.read(lambda connection: _found(connection, (showing_of(connection, rater, reopened),), 0))
    return JSONResponse({"showing": (await _all_sent(found))[0]})


async def list_questions(call: Called) -> Response:
    """The questions that are asked, and what the caller has to do before each."""
    name = call.account.name

    def work(connection: Connection) -> dict[str, Any]:
        answered = answered_by(connection, name)
        shown = [
            {
                "id": one.id,
                "name": one.name,
                "title": one.form.title,
                "state": one.state,
                "answered": answered.get(one.id, 0),
                "needs": admission(connection, name, heads.head(connection, name, one.id)).needs,
            }
            for one in asked.questions_asked(connection)
            if one.state != "closed"
        ]
        return {"questions": shown}

    return JSONResponse(await call.read(work))


def rater_of(call: Call) -> Rater:
    """The caller as a rater."""
    return Rater(call.account.name, call.account.group)


def _found(
    connection: Connection,
    held: tuple[Showing, ...],
    answered: int,
    at: tuple[int | None, int | None] = (None, None),
) -> _Found:
    kept = drafts.drafts_of(connection, [showing.id for showing in held if showing.drafted])
    shown = []
    for showing in held:
        form = form_of(connection, showing)
        before = answers.standing_answer(connection, showing) if showing.reopened else None
        wire = None if before is None else forms.to_shown_order(form, before.answer, showing.shown_order)
        confidence, note = (None, "") if before is None else (before.confidence, before.note)
        shown.append(_Shown(showing, form, kept.get(showing.id), wire, confidence, note))
    texts = CONTENTS.gather(connection, held, [one.form.reading == "plain" for one in shown])
    return _Found(tuple(shown), texts, answered, None, *at)


async def _all_sent(found: _Found) -> list[dict[str, Any]]:
    def make() -> list[dict[str, Any]]:
        return [_sent(one, found) for one in found.shown]

    return await beside_the_loop(make) if takes_long(found.texts) else make()


def _sent(one: _Shown, found: _Found) -> dict[str, Any]:
    showing, form = one.showing, one.form
    plain = form.reading == "plain"
    with_text = plain or any(field.kind in _RAW_TEXT_FOR for field in form.fields)
    ids = [showing.completion_ids[place] for place in showing.shown_order]
    turns = CONTENTS.turns(showing.prompt_id, found.texts)
    texts = CONTENTS.completions(ids, turns, plain, found.texts)
    return {
        "id": showing.id,
        "expires": _iso(showing.expires),
        "form_version": showing.form_version,
        "form": _form_sent(showing.question_id, showing.form_version, form),
        "prompt": [{"role": turn.role, "html": turn.html, "dir": "auto"} for turn in turns],
        "completions": [{"html": read.html, "text": read.text if with_text else None, "dir": "auto"} for read in texts],
        "draft": None if one.draft is None else {"draft": one.draft.draft, "revision": one.draft.revision},
        "training": showing.purpose == "training",
        "reopened": showing.reopened,
        "answer": one.answer,
        "confidence": one.confidence,
        "note": one.note,
        "progress": {"answered": found.answered, "place": found.place, "of": found.of},
    }


_FORMS_SENT: dict[tuple[str, int], dict[str, Any]] = {}


def _form_sent(question_id: str, version: int, form: Form) -> dict[str, Any]:
    """What of a form is the rater's to know: not how often items with a known answer come."""
    key = (question_id, version)
    if key not in _FORMS_SENT:
        if len(_FORMS_SENT) >= 256:
            _FORMS_SENT.clear()
        public = {"title", "instructions", "fields", "ask_confidence", "reading", "lease_minutes"}
        _FORMS_SENT[key] = form.model_dump(mode="json", include=public)
    return _FORMS_SENT[key]


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


_SHOWING = "/api/v1/showings/{showing}"
_QUESTION = "/api/v1/questions/{question}"

API_ROUTES: tuple[Route, ...] = (
    Route("GET", "/api/v1/questions", list_questions, rates, "api", "Questions to answer", "rate", m.QuestionList),
    Route("POST", f"{_QUESTION}/showings", claim, rates, "api", "What to judge next", "rate", m.ShowingList),
    Route("POST", f"{_QUESTION}/undo", undo, rates, "api", "Change the newest answer", "rate", m.Reopened),
    Route("POST", f"{_SHOWING}/answer", answer, rates, "api", "Answer an item", "rate", m.Accepted),
    Route("POST", f"{_SHOWING}/renew", renew, rates, "api", "Hold an item longer", "rate", m.Renewed),
    Route("PUT", f"{_SHOWING}/draft", save_draft, rates, "api", "Keep what is typed", "rate", m.DraftKept),
    Route("POST", f"{_SHOWING}/skip", skip, rates, "api", "Leave an item to others", "rate", m.Done),
    Route("POST", f"{_SHOWING}/flag", flag, rates, "api", "Tell the lead about an item", "rate", m.Done),
)
