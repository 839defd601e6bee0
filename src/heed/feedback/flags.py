"""What raters raised about items, and what became of it. Raising is part of answering (see ``leases``)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from heed.errors import ConflictError, DataError, MissingError
from heed.feedback.studio_schema import flags
from heed.texts import shown, text_fault

LONGEST_RESOLUTION = 2000


def resolve_flag(connection: Connection, flag_id: str, resolution: str, actor: str, now: datetime) -> str:
    """Settle a flag with a word on how; the id of its item.

    Raises:
        MissingError: there is no such flag. ConflictError: it is settled already. DataError: nothing is said.
    """
    resolution = resolution.strip()
    if not resolution or len(resolution) > LONGEST_RESOLUTION or text_fault(resolution):
        raise DataError(
            "the resolution",
            "there is none, or it cannot be kept.",
            f"Say it in 1 to {LONGEST_RESOLUTION:,} characters.",
        )
    row = connection.execute(select(flags.c.item_id).where(flags.c.id == flag_id)).one_or_none()
    if row is None:
        raise MissingError(f"flag {shown(flag_id)}", "there is none with this id.", "Look it up in the list of flags.")
    values = {"resolved": now, "resolved_by": actor, "resolution": resolution}
    done = connection.execute(update(flags).where(flags.c.id == flag_id, flags.c.resolved.is_(None)).values(**values))
    if not done.rowcount:
        raise ConflictError(f"flag {shown(flag_id)}", "somebody has settled it meanwhile.", "Reload the list.")
    return str(row.item_id)
