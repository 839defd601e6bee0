"""The routes of this surface."""

from __future__ import annotations

from heed.web.exchange import hooks, page, reference, transfers
from heed.web.exchange import models as m
from heed.web.permissions import administers, leads, signed_in
from heed.web.routing import Route

_API = "/api/v1"

ROUTES: tuple[Route, ...] = (
    Route("GET", f"{_API}/openapi.json", reference.openapi, signed_in, "file", "This API, as OpenAPI", "read"),
    # Files and jobs
    Route(
        "POST",
        f"{_API}/imports",
        transfers.upload,
        leads,
        summary="Upload a file of items or feedback",
        scope="manage",
        model=m.JobShown,
        status=202,
        body_limit=transfers.largest_upload,
    ),
    Route(
        "POST",
        f"{_API}/questions/{{question_id}}/items",
        transfers.add_items,
        leads,
        summary="Add items to a question",
        scope="manage",
        model=m.ItemsAdded,
        body_limit=8 << 20,
    ),
    Route(
        "POST",
        f"{_API}/exports",
        transfers.begin_export,
        leads,
        summary="Begin an export to a file",
        scope="manage",
        model=m.JobShown,
        status=202,
    ),
    Route("GET", f"{_API}/export", transfers.export_now, leads, "file", "Export as a stream", "read"),
    Route(
        "GET", f"{_API}/jobs", transfers.list_jobs, leads, summary="Imports and exports", scope="read", model=m.JobList
    ),
    Route(
        "GET",
        f"{_API}/jobs/{{job_id}}",
        transfers.show_job,
        leads,
        summary="One import or export",
        scope="read",
        model=m.JobShown,
    ),
    Route(
        "POST",
        f"{_API}/jobs/{{job_id}}/stop",
        transfers.stop_job,
        leads,
        summary="Stop an import or export",
        scope="manage",
        model=m.JobShown,
    ),
    Route(
        "POST",
        f"{_API}/jobs/{{job_id}}/resume",
        transfers.resume_job,
        leads,
        summary="Go on with an import or export that was stopped or failed",
        scope="manage",
        model=m.JobShown,
    ),
    Route("GET", f"{_API}/jobs/{{job_id}}/file", transfers.fetch_file, leads, "file", "File of an export", "read"),
    # Webhooks
    Route("GET", f"{_API}/webhooks", hooks.list_webhooks, leads, summary="Webhooks", scope="read", model=m.WebhookList),
    Route(
        "POST",
        f"{_API}/webhooks",
        hooks.make_webhook,
        administers,
        summary="Make a webhook",
        scope="manage",
        model=m.WebhookMade,
        status=201,
    ),
    Route(
        "PATCH",
        f"{_API}/webhooks/{{webhook_id}}",
        hooks.change_webhook,
        administers,
        summary="Pause or resume a webhook",
        scope="manage",
        model=m.WebhookShown,
    ),
    Route(
        "DELETE",
        f"{_API}/webhooks/{{webhook_id}}",
        hooks.delete_webhook,
        administers,
        summary="Delete a webhook",
        scope="manage",
        model=m.Done,
    ),
    Route(
        "POST",
        f"{_API}/webhooks/{{webhook_id}}/test",
        hooks.test_webhook,
        administers,
        summary="Try a webhook",
        scope="manage",
        model=m.DeliveryAsked,
        status=202,
    ),
    Route(
        "GET",
        f"{_API}/deliveries",
        hooks.list_deliveries,
        leads,
        summary="What was sent to webhooks",
        scope="read",
        model=m.DeliveryList,
    ),
    Route(
        "POST",
        f"{_API}/deliveries/{{delivery_id}}/again",
        hooks.deliver_again,
        administers,
        summary="Send a delivery again",
        scope="manage",
        model=m.DeliveryAsked,
        status=202,
    ),
    # The page and its forms
    Route("GET", page.PLACE, page.show, leads, "page", "Imports, exports and webhooks"),
    Route("GET", f"{page.PLACE}/jobs", page.show_jobs, leads, "page", "The table of jobs alone"),
    Route(
        "POST",
        f"{page.PLACE}/items",
        page.import_items,
        leads,
        "page",
        "Upload items",
        body_limit=transfers.largest_upload,
    ),
    Route(
        "POST",
        f"{page.PLACE}/feedback",
        page.import_feedback,
        leads,
        "page",
        "Upload feedback",
        body_limit=transfers.largest_upload,
    ),
    Route("POST", f"{page.PLACE}/exports", page.export, leads, "page", "Begin an export"),
    Route("POST", f"{page.PLACE}/jobs/{{job_id}}", page.change_job, leads, "page", "Stop or resume a job"),
    Route("POST", f"{page.PLACE}/webhooks", page.make_webhook, administers, "page", "Make a webhook"),
    Route(
        "POST", f"{page.PLACE}/webhooks/{{webhook_id}}", page.change_webhook, administers, "page", "Change a webhook"
    ),
)
