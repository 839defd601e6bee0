"""Webhooks over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from sqlalchemy import Connection
from starlette.responses import Response

from heed.errors import ConflictError
from heed.web.account.replies import reply_with_secret
from heed.web.call import Call, Called
from heed.web.exchange import webhooks
from heed.web.exchange.models import (
    DeliveryAsked,
    DeliveryList,
    DeliveryShown,
    Done,
    WebhookAsked,
    WebhookList,
    WebhookShown,
    WebhookState,
)


def check_enabled(call: Call) -> None:
    """See that heed.yaml lets webhooks be sent.

    Raises:
        ConflictError: it does not.
    """
    if not call.project.settings.serve.webhooks:
        raise ConflictError(
            "webhooks",
            "they are off on this server.",
            "Set serve.webhooks: true in heed.yaml and start heed serve anew.",
        )


async def list_webhooks(call: Called) -> WebhookList:
    """All webhooks, and the events that there are."""
    found = await call.read(webhooks.all_webhooks)
    return WebhookList(
        webhooks=[WebhookShown.of(webhook) for webhook in found],
        events=list(webhooks.EVENTS),
        enabled=call.project.settings.serve.webhooks,
    )


async def make_webhook(call: Called, given: WebhookAsked) -> Response:
    """Make a webhook; the answer holds its secret, which is never shown again."""
    check_enabled(call)
    hosts = call.project.settings.serve.webhook_hosts

    def work(connection: Connection) -> tuple[WebhookShown, str]:
        made, secret = webhooks.create(connection, given.url, given.events, hosts, call.account.name, call.now)
        return WebhookShown.of(made), secret

    return await reply_with_secret(call, work, "secret")


async def change_webhook(call: Called, webhook_id: str, given: WebhookState) -> Response:
    """Pause a webhook, or let it go on."""
    return await call.reply(
        lambda connection: WebhookShown.of(
            webhooks.set_active(connection, webhook_id, given.active, call.account.name, call.now)
        )
    )


async def delete_webhook(call: Called, webhook_id: str) -> Response:
    """Delete a webhook and what it is owed."""

    def work(connection: Connection) -> Done:
        webhooks.remove(connection, webhook_id, call.account.name, call.now)
        return Done()

    return await call.reply(work)


async def test_webhook(call: Called, webhook_id: str) -> Response:
    """Send a webhook an event that says nothing, to see whether it arrives."""
    check_enabled(call)
    return await call.reply(
        lambda connection: DeliveryAsked(id=webhooks.send_test(connection, webhook_id, call.now)), 202
    )


async def list_deliveries(
    call: Called, webhook_id: Annotated[str | None, Query(max_length=200)] = None
) -> DeliveryList:
    """The newest deliveries, of one webhook or of all."""
    found = await call.read(lambda connection: webhooks.recent_deliveries(connection, webhook_id))
    return DeliveryList(deliveries=[DeliveryShown.of(delivery) for delivery in found])


async def deliver_again(call: Called, delivery_id: str) -> Response:
    """Try a delivery anew, whatever became of it."""
    check_enabled(call)

    def work(connection: Connection) -> DeliveryAsked:
        webhooks.send_again(connection, delivery_id, call.now)
        return DeliveryAsked(id=delivery_id)

    return await call.reply(work, 202)
