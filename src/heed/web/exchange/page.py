"""The page of imports, exports and webhooks, and its forms, which work without scripts too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import Connection
from starlette.responses import Response

from heed.errors import DataError, LimitError
from heed.feedback import asked
from heed.feedback.formats import ExcludedRows
from heed.web.board.common import frame_values
from heed.web.call import Call, Called
from heed.web.errors import status_of
from heed.web.exchange import jobs, transfers, webhooks
from heed.web.exchange.hooks import check_enabled
from heed.web.exchange.jobs import Job
from heed.web.exchange.models import ExportAsked
from heed.web.exchange.webhooks import DeliveryRecord, Webhook
from heed.web.permissions import administers

PLACE = "/board/exchange"
ITEM_FORMATS = ("auto", "lines", "csv")
FEEDBACK_FORMATS = ("auto", "heed", "trl", "hh", "csv")
LINES_OF_A_REASON = 5
EXPORTS = ("feedback.heed", "feedback.csv", "feedback.trl", "feedback.hh", "answers.lines", "answers.csv")


FIELDS_BESIDE = ("rater", "shown_order", "seconds", "confidence", "supersedes", "strength", "created")
"""What an export may have no place for, by names that have words."""


@dataclass(frozen=True)
class _Seen:
    questions: list[asked.Question]
    jobs: list[Job]
    webhooks: list[Webhook]
    deliveries: list[DeliveryRecord]


def _look(connection: Connection) -> _Seen:
    return _Seen(
        asked.questions_asked(connection),
        jobs.recent(connection),
        webhooks.all_webhooks(connection),
        webhooks.recent_deliveries(connection, limit=20),
    )


@dataclass(frozen=True)
class Reason:
    """Why rows of an import could not be used.

    Attributes:
        text: why.
        count: of how many rows that are named.
        lines: the first of them.
    """

    text: str
    count: int
    lines: tuple[int, ...]


def reasons_of(named: Sequence[tuple[int, str]]) -> list[Reason]:
    """Broken rows, given by line and reason, by reason; that of the first line comes first."""
    lines: dict[str, list[int]] = {}
    for line, why in named:
        lines.setdefault(why, []).append(line)
    return [Reason(why, len(found), tuple(found[:LINES_OF_A_REASON])) for why, found in lines.items()]


async def show(call: Called) -> Response:
    """Imports, exports and webhooks."""
    return await _page(call, {})


async def _page(call: Call, more: dict[str, Any], status: int = 200) -> Response:
    seen = await call.read(_look)
    names = {question.id: question.name for question in seen.questions}
    hosts = {webhook.id: urlsplit(webhook.url).hostname or "" for webhook in seen.webhooks}
    values = {
        "questions": seen.questions,
        "question_names": names,
        "jobs": seen.jobs,
        "webhooks": seen.webhooks,
        "webhook_hosts": hosts,
        "deliveries": seen.deliveries,
        "events": webhooks.EVENTS,
        "webhooks_on": call.project.settings.serve.webhooks,
        "may_manage_webhooks": administers(call.caller),
        "item_formats": ITEM_FORMATS,
        "feedback_formats": FEEDBACK_FORMATS,
        "exports": EXPORTS,
        "reasons_of": reasons_of,
        "fields_beside": FIELDS_BESIDE,
        "secret": "",
        "webhook_fault": None,
        "webhook_url": "",
        "webhook_events": (),
    }
    return call.page("exchange/exchange.html", status, **await frame_values(call, "exchange") | values | more)


async def show_jobs(call: Called) -> Response:
    """The table of jobs alone, for the page's script."""
    seen = await call.read(_look)
    names = {question.id: question.name for question in seen.questions}
    values = {"question_names": names, "reasons_of": reasons_of, "fields_beside": FIELDS_BESIDE}
    return call.page("exchange/jobs.html", jobs=seen.jobs, **values)


async def import_items(call: Called) -> Response:
    """Upload items by the form."""
    await transfers.receive(call, "items", {})
    return call.redirect(PLACE)


async def import_feedback(call: Called) -> Response:
    """Upload feedback by the form."""
    await transfers.receive(call, "feedback", {})
    return call.redirect(PLACE)


async def export(call: Called) -> Response:
    """Begin an export by the form."""
    form = await call.request.form()
    what, _, format = str(form.get("what", "")).partition(".")
    if f"{what}.{format}" not in EXPORTS:
        raise DataError("the export", "nothing of this kind is written.", "Choose one of the list.")
    question_id = str(form.get("question_id", ""))
    chosen: Literal["answers", "feedback"] = "answers" if what == "answers" else "feedback"
    wish = str(form.get("excluded", "")) if chosen == "feedback" else ""
    excluded: ExcludedRows | None = "keep" if wish == "keep" else "leave" if wish == "leave" else None
    given = ExportAsked(what=chosen, format=format, question_id=question_id[:200] or None, excluded=excluded)
    await call.write(lambda connection: transfers.ask_export(connection, call, given))
    call.studio.jobs_asked.set()
    return call.redirect(PLACE)


async def change_job(call: Called, job_id: str) -> Response:
    """Stop a job, or let it go on."""
    form = await call.request.form()
    change = {"stop": jobs.stop, "resume": jobs.resume}.get(str(form.get("do", "")))
    if change is None:
        raise DataError("this form", "it says neither stop nor resume.", "Use the buttons of the page.")
    await call.write(lambda connection: change(connection, job_id, call.account.name, call.now))
    call.studio.jobs_asked.set()
    return call.redirect(PLACE)


async def make_webhook(call: Called) -> Response:
    """Make a webhook by the form; the page that answers shows its secret, once."""
    check_enabled(call)
    form = await call.request.form()
    url, events = str(form.get("url", "")).strip(), [str(event) for event in form.getlist("events")]
    hosts = call.project.settings.serve.webhook_hosts
    try:
        _, secret = await call.write(
            lambda connection: webhooks.create(connection, url, events, hosts, call.account.name, call.now)
        )
    except (DataError, LimitError) as fault:
        typed = {"webhook_fault": fault, "webhook_url": url[:2000], "webhook_events": events}
        return await _page(call, typed, status_of(fault)[0])
    return await _page(call, {"secret": secret}, 201)


async def change_webhook(call: Called, webhook_id: str) -> Response:
    """Pause, resume, try or delete a webhook."""
    form = await call.request.form()
    do, actor, now = str(form.get("do", "")), call.account.name, call.now

    def work(connection: Connection) -> None:
        if do in ("pause", "resume"):
            webhooks.set_active(connection, webhook_id, do == "resume", actor, now)
        elif do == "delete":
            webhooks.remove(connection, webhook_id, actor, now)
        elif do == "test":
            check_enabled(call)
            webhooks.send_test(connection, webhook_id, now)
        else:
            raise DataError("this form", "it says nothing that can be done.", "Use the buttons of the page.")

    await call.write(work)
    return call.redirect(f"{PLACE}#webhooks")
