"""What this surface takes and answers, as the API's reference shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from heed.feedback.formats import ExcludedRows
from heed.feedback.kinds import Text
from heed.web.exchange.jobs import Job
from heed.web.exchange.webhooks import DeliveryRecord, Webhook

Short = Annotated[Text, Field(max_length=200)]


class Given(BaseModel):
    """A body of a request: what it names beside its fields is refused."""

    model_config = ConfigDict(extra="forbid")


class JobShown(BaseModel):
    """An import or export; ``report`` counts what has come of it, ``report.named`` lists broken rows by line and reason."""

    id: str
    kind: str
    state: str
    actor: str
    parameters: dict[str, Any]
    done: int
    total: int | None
    report: dict[str, Any]
    error: str
    created: datetime
    ended: datetime | None

    @classmethod
    def of(cls, job: Job) -> JobShown:
        """A job as the API shows it."""
        return cls(**vars(job))


class JobList(BaseModel):
    """The newest jobs first."""

    jobs: list[JobShown]


class ExportAsked(Given):
    """An export to a file: all feedback, or all answers of the studio; with ``question_id`` what one question led to.

    ``excluded`` is for feedback: whether to ``keep`` or ``leave`` what people said who are excluded from training. Without it
    heed's own lines keep it, and the other formats leave it out.
    """

    what: Literal["feedback", "answers"]
    format: Short
    question_id: Short | None = None
    excluded: ExcludedRows | None = None


class ItemsGiven(Given):
    """Items, each with the fields of a line of an items file; see docs/formats.md."""

    items: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1000)]


class BrokenItem(BaseModel):
    """An item that could not be used: its place in the list, from 0, and why."""

    place: int
    reason: str


class ItemsAdded(BaseModel):
    """What became of the items: new, there already, broken, and fields passed over, by name and how often."""

    added: int
    duplicates: int
    broken: list[BrokenItem]
    ignored: dict[str, int] = {}


class WebhookShown(BaseModel):
    """A webhook; its secret is never shown again."""

    id: str
    url: str
    events: list[str]
    active: bool
    created_by: str
    created: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookShown:
        """A webhook as the API shows it."""
        return cls(**vars(webhook) | {"events": list(webhook.events)})


class WebhookMade(WebhookShown):
    """A new webhook, with the secret by which its receiver checks the signature; null where a request is repeated."""

    secret: str | None


class WebhookList(BaseModel):
    """All webhooks, what they may hear of, and whether heed.yaml lets any be sent."""

    webhooks: list[WebhookShown]
    events: list[str]
    enabled: bool


class WebhookAsked(Given):
    """Where to send which events."""

    url: Annotated[Text, Field(max_length=2000)]
    events: Annotated[list[Short], Field(max_length=50)]


class WebhookState(Given):
    """Whether a webhook is to be told."""

    active: bool


class DeliveryShown(BaseModel):
    """One event for one webhook; ``status`` and ``error`` are of the last try."""

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

    @classmethod
    def of(cls, delivery: DeliveryRecord) -> DeliveryShown:
        """A delivery as the API shows it."""
        return cls(**vars(delivery))


class DeliveryList(BaseModel):
    """The newest deliveries first."""

    deliveries: list[DeliveryShown]


class DeliveryAsked(BaseModel):
    """The delivery that is now due."""

    id: str


class Done(BaseModel):
    """It is done."""

    done: Literal[True] = True
