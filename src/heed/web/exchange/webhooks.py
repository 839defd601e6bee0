"""Webhooks: who wants to hear of what, and what is owed to them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from heed.errors import DataError, LimitError, MissingError
from heed.feedback.studio_schema import deliveries, webhooks
from heed.people import audit
from heed.web.exchange.address import check_url

EVENTS = (
    "answer.created",
    "item.completed",
    "question.completed",
    "disagreement.found",
    "flag.raised",
    "person.joined",
    "person.excluded",
    "export.finished",
    "guidelines.changed",
)
TEST_EVENT = "webhook.test"

_MOST = 50


@dataclass(frozen=True)
class Webhook:
    """Somebody who wants to hear of events; the secret is shown once, when it is made."""

    id: str
    url: str
    events: tuple[str, ...]
    active: bool
    created_by: str
    created: datetime


@dataclass(frozen=True)
class DeliveryRecord:
    """What became of one event for one webhook."""

    id: str
    webhook_id: str
    event: str
    state: str
    attempts: int
    status: int | None
    error: str
    created: datetime
    next_try: datetime
    ended: datetime | None


def create(
    connection: Connection, url: str, events: Sequence[str], internal_hosts: Sequence[str], actor: str, now: datetime
) -> tuple[Webhook, str]:
    """Make a webhook; it and its secret, which nobody sees again.

    Raises:
        DataError: the URL cannot be one, or an event is unknown. LimitError: there are enough.
    """
    host = check_url(url, internal_hosts).hostname
    chosen = tuple(dict.fromkeys(events))
    unknown = [event for event in chosen if event not in EVENTS]
    if unknown or not chosen:
        why = f"there is no event '{unknown[0][:40]}'." if unknown else "it names no event."
        raise DataError("the events of the webhook", why, f"Choose from {', '.join(EVENTS)}.")
    if (connection.scalar(select(func.count()).select_from(webhooks)) or 0) >= _MOST:
        raise LimitError("one more webhook", f"there are {_MOST}, which is the most.", "Delete one first.")
    identity, secret = "w" + secrets.token_hex(8), "heed_whs_" + secrets.token_urlsafe(32)
    made = Webhook(identity, url, chosen, True, actor, now)
    connection.execute(
        insert(webhooks).values(
            id=identity, url=url, secret=secret, events=list(chosen), active=True, created_by=actor, created=now
        )
    )
    # The host alone: a path may be a secret of the receiver.
    audit.record(connection, actor, "webhook.create", identity, {"host": host, "events": list(chosen)}, now)
    return made, secret


def all_webhooks(connection: Connection) -> list[Webhook]:
    """All of them, oldest first."""
    return [_webhook(row) for row in connection.execute(select(webhooks).order_by(webhooks.c.number))]


def set_active(connection: Connection, webhook_id: str, active: bool, actor: str, now: datetime) -> Webhook:
    """Stop a webhook for a while, or let it go on; what it is owed waits meanwhile.

    Raises:
        MissingError: there is none of this id.
    """
    done = connection.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(active=active))
    if not done.rowcount:
        raise _missing(webhook_id)
    audit.record(connection, actor, "webhook.resume" if active else "webhook.pause", webhook_id, {}, now)
    return _webhook(connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one())


def remove(connection: Connection, webhook_id: str, actor: str, now: datetime) -> None:
    """Delete a webhook and what it is owed.

    Raises:
        MissingError: there is none of this id.
    """
    connection.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
    if not connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id)).rowcount:
        raise _missing(webhook_id)
    audit.record(connection, actor, "webhook.delete", webhook_id, {}, now)


def announce(connection: Connection, event: str, data: Mapping[str, Any], now: datetime) -> int:
    """Owe an event to everybody who wants to hear of it; to how many that is."""
    wanting = [row.id for row in connection.execute(select(webhooks).where(webhooks.c.active)) if event in row.events]
    for webhook_id in wanting:
        _owe(connection, webhook_id, event, data, now)
    return len(wanting)


def send_test(connection: Connection, webhook_id: str, now: datetime) -> str:
    """Owe a webhook an event that says nothing, to see whether it arrives; the delivery's id.

    Raises:
        MissingError: there is none of this id.
    """
    if connection.scalar(select(webhooks.c.number).where(webhooks.c.id == webhook_id)) is None:
        raise _missing(webhook_id)
    return _owe(connection, webhook_id, TEST_EVENT, {"message": "heed can reach you"}, now)


def recent_deliveries(connection: Connection, webhook_id: str | None = None, limit: int = 50) -> list[DeliveryRecord]:
    """The newest deliveries first, of one webhook or of all."""
    query = select(deliveries).order_by(deliveries.c.number.desc()).limit(limit)
    if webhook_id is not None:
        query = query.where(deliveries.c.webhook_id == webhook_id)
    return [
        DeliveryRecord(
            row.id,
            row.webhook_id,
            row.event,
            row.state,
            row.attempts,
            row.status,
            row.error,
            row.created,
            row.next_try,
            row.ended,
        )
        for row in connection.execute(query)
    ]


def send_again(connection: Connection, delivery_id: str, now: datetime) -> None:
    """Let a delivery be tried anew, whatever became of it.

    Raises:
        MissingError: there is none of this id.
    """
    values = {"state": "waiting", "attempts": 0, "next_try": now, "ended": None}
    if not connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(values)).rowcount:
        raise MissingError(f"delivery {delivery_id[:40]}", "there is none of this id.", "See the list of deliveries.")


def _owe(connection: Connection, webhook_id: str, event: str, data: Mapping[str, Any], now: datetime) -> str:
    identity = "d" + secrets.token_hex(8)
    connection.execute(
        insert(deliveries).values(
            id=identity,
            webhook_id=webhook_id,
            event=event,
            payload=dict(data),
            state="waiting",
            attempts=0,
            next_try=now,
            error="",
            created=now,
        )
    )
    return identity


def _webhook(row: Any) -> Webhook:
    return Webhook(row.id, row.url, tuple(row.events), row.active, row.created_by, row.created)


def _missing(webhook_id: str) -> MissingError:
    return MissingError(f"webhook {webhook_id[:40]}", "there is none of this id.", "See the list of webhooks.")
