"""What a rater has typed and not sent yet, kept so that it is there on another machine and after the lease has ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from heed.errors import ConflictError, DataError
from heed.feedback.leases import ended
from heed.feedback.showings import Rater, hold
from heed.feedback.studio_schema import drafts
from heed.texts import json_fault


@dataclass(frozen=True)
class Draft:
    """What was typed, and how often it has been saved."""

    draft: Any
    revision: int


def save_draft(connection: Connection, rater: Rater, showing_id: str, draft: Any, revision: int, now: datetime) -> int:
    """Keep what is typed; the new revision.

    Args:
        draft: any JSON.
        revision: the one that the typing began from; 0 for the first.

    Raises:
        MissingError: it is not the rater's showing. ConflictError: it is answered or skipped, or another machine has saved
            another revision. DataError: it cannot be kept, or not sent again.
    """
    if fault := json_fault(draft):
        raise DataError("this draft", f"{fault}.", "Send plain text and finite numbers.")
    showing = hold(connection, rater, showing_id)
    if showing.state in ("answered", "skipped"):
        raise ended(showing)
    kept = connection.scalar(select(drafts.c.revision).where(drafts.c.showing_id == showing_id)) or 0
    if kept != revision:
        raise ConflictError(
            "this draft",
            f"it was saved elsewhere meanwhile (revision {kept}, not {revision}).",
            "Load the newest one, or send this one on top of it.",
        )
    row = {"draft": draft, "revision": kept + 1, "updated": now}
    if kept:
        connection.execute(update(drafts).where(drafts.c.showing_id == showing_id).values(**row))
    else:
        connection.execute(insert(drafts), row | {"showing_id": showing_id})
    return kept + 1


def drafts_of(connection: Connection, showing_ids: list[str]) -> dict[str, Draft]:
    """The drafts of showings, by the showing's id, where there are any. The caller has seen whose they are."""
    if not showing_ids:
        return {}
    query = select(drafts.c.showing_id, drafts.c.draft, drafts.c.revision).where(drafts.c.showing_id.in_(showing_ids))
    return {row.showing_id: Draft(row.draft, row.revision) for row in connection.execute(query)}
