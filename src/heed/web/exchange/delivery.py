"""Sending what webhooks are owed: each delivery at least once, with a signature, to the address that was checked.

A receiver checks ``Heed-Signature: t=TIME,v1=HEX``: HEX is the HMAC-SHA256 of ``TIME.BODY`` under the webhook's secret, TIME
the second (Unix time) it was sent. It refuses old times, and knows by ``Heed-Delivery`` what it has seen before.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update

from heed.errors import DataError
from heed.feedback.studio_schema import deliveries, webhooks
from heed.web.exchange.address import Target, resolve

ATTEMPTS = 8
"""The last one is about 15 hours after the first."""

SECONDS_IN_ALL = 20.0
"""For one delivery, from connecting to the end of the answer, however slowly that comes."""

_FIRST_WAIT, _WAIT_FACTOR = timedelta(seconds=10), 4
_CLAIM = timedelta(seconds=60)
_AT_ONCE = 20
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one webhook."""

    id: str
    webhook_id: str
    url: str
    secret: str
    event: str
    payload: dict[str, Any]
    attempts: int
    created: datetime


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: the status of HTTP, and why it counts as failed ("": it does not)."""

    status: int | None
    error: str


def claim_due(connection: Connection, now: datetime) -> list[Delivery]:
    """Deliveries that are due, taken by this process for a minute: no other one sends them meanwhile."""
    due = (
        select(deliveries, webhooks.c.url, webhooks.c.secret)
        .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        .where(deliveries.c.state == "waiting", deliveries.c.next_try <= now, webhooks.c.active)
        .order_by(deliveries.c.next_try)
        .limit(_AT_ONCE)
        .with_for_update(of=deliveries, skip_locked=True)
    )
    rows = connection.execute(due).all()
    for row in rows:
        values = {"attempts": row.attempts + 1, "next_try": now + _CLAIM}
        connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(values))
    return [
        Delivery(row.id, row.webhook_id, row.url, row.secret, row.event, row.payload, row.attempts + 1, row.created)
        for row in rows
    ]


def record(connection: Connection, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
    """Note how an attempt ended, and when the next one is due."""
    values: dict[str, Any] = {"status": outcome.status, "error": outcome.error}
    if not outcome.error:
        values |= {"state": "delivered", "ended": now}
    elif delivery.attempts >= ATTEMPTS:
        values |= {"state": "failed", "ended": now}
    else:
        values["next_try"] = now + _FIRST_WAIT * _WAIT_FACTOR ** (delivery.attempts - 1)
    connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))


def signature(secret: str, sent: int, body: bytes) -> str:
    """Value of the header ``Heed-Signature`` for a body sent at a second of Unix time."""
    mac = hmac.new(secret.encode(), f"{sent}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={sent},v1={mac}"


def send(delivery: Delivery, internal_hosts: Sequence[str], now: datetime) -> Outcome:
    """Try once. Redirects are not followed and count as failed."""
    values = {"id": delivery.id, "event": delivery.event, "created": delivery.created.isoformat()}
    body = json.dumps(values | {"data": delivery.payload}, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "heed",
        "Heed-Event": delivery.event,
        "Heed-Delivery": delivery.id,
        "Heed-Signature": signature(delivery.secret, int(now.timestamp()), body),
        "Connection": "close",
    }
    try:
        status = _post(resolve(delivery.url, internal_hosts), body, headers)
    except DataError as error:
        return Outcome(None, error.why)
    except (OSError, http.client.HTTPException) as error:
        # The kind of fault alone: what a server in between says is not for whoever made the webhook to read.
        return Outcome(None, f"the connection failed ({type(error).__name__})")
    if 200 <= status < 300:
        return Outcome(status, "")
    return Outcome(status, "redirects are not followed" if 300 <= status < 400 else f"the receiver answered {status}")


def _post(target: Target, body: bytes, headers: dict[str, str]) -> int:
    connection = _Connection(target)
    # A socket's own time limit begins anew with every byte: this one does not.
    timer = threading.Timer(SECONDS_IN_ALL, connection.cut)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", target.path, body, {"Host": target.host_header, **headers})
        with connection.getresponse() as response:
            response.read(_LONGEST_ANSWER)
            return response.status
    finally:
        timer.cancel()
        connection.close()


class _Connection(http.client.HTTPConnection):
    """To the address that was checked, under the name that the URL has."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.host, target.port, timeout=SECONDS_IN_ALL)
        self._target = target

    def connect(self) -> None:
        plain = socket.create_connection((self._target.ip, self._target.port), self.timeout)
        self.sock = plain
        if self._target.scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self._target.host)

    def cut(self) -> None:
        """End it from another thread."""
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself


def deliver_due(
    write: Callable[[Callable[[Connection], Any]], Any],
    internal_hosts: Sequence[str],
    clock: Callable[[], datetime],
    stopping: threading.Event,
) -> int:
    """Send everything that is due now, one after the other; how many were tried.

    Args:
        write: does work in a transaction of its own.
        internal_hosts: see :func:`heed.web.exchange.address.resolve`.
        clock: the time (UTC).
        stopping: set when the process is to end; what is claimed by then is due again in a minute.
    """
    tried = 0
    for delivery in write(lambda connection: claim_due(connection, clock())):
        if stopping.is_set():
            break
        write(partial(record, delivery=delivery, outcome=send(delivery, internal_hosts, clock()), now=clock()))
        tried += 1
    return tried
