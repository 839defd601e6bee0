"""What raters are to go by: markdown in versions, each with a note of what changed, acknowledged by each rater."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from heed.errors import ConflictError, DataError
from heed.feedback.studio_schema import accounts, acknowledgements, guidelines
from heed.people import audit
from heed.texts import text_fault

LONGEST_TEXT = 200_000
_LONGEST_NOTE = 2000


@dataclass(frozen=True)
class Guideline:
    """One version: markdown, and what changed since the one before."""

    version: int
    text: str
    note: str
    author: str
    created: datetime


def save(connection: Connection, text: str, note: str, author: str, expected_version: int, now: datetime) -> Guideline:
    """Add a version.

    Args:
        connection: a transaction that writes.
        text: markdown.
        note: what changed; the first version may do without.
        author: who wrote it.
        expected_version: the version that was edited; 0 where there was none.
        now: the time.

    Raises:
        ConflictError: somebody saved another version meanwhile.
        DataError: empty or overlong, no note, or nothing changed.
    """
    for what, value, longest in (("guidelines", text, LONGEST_TEXT), ("note", note, _LONGEST_NOTE)):
        if (fault := text_fault(value)) or len(value) > longest:
            raise DataError(f"the {what}", f"{fault or f'they have more than {longest:,} characters'}.", "Change them.")
    if not text.strip():
        raise DataError("the guidelines", "they are empty.", "Write what raters are to go by.")
    newest = current(connection)
    version = 0 if newest is None else newest.version
    if version != expected_version:
        raise ConflictError(
            "the guidelines",
            f"version {version} has been saved meanwhile.",
            "Reload them and put your change in again.",
        )
    if newest is not None and newest.text == text:
        raise DataError("the guidelines", "nothing was changed.", "Change them, or leave them as they are.")
    if newest is not None and not note.strip():
        raise DataError("what changed", "nothing is said of it.", "Say it in a line: raters see it.")
    saved = Guideline(version + 1, text, note.strip(), author, now)
    connection.execute(
        insert(guidelines).values(version=saved.version, text=text, note=saved.note, author=author, created=now)
    )
    details = {"version": saved.version, "note": saved.note}
    audit.record(connection, author, "guidelines.save", f"version {saved.version}", details, now)
    return saved


def current(connection: Connection) -> Guideline | None:
    """The newest version, or None while there is none."""
    row = connection.execute(select(guidelines).order_by(guidelines.c.version.desc()).limit(1)).one_or_none()
    return None if row is None else _guideline(row)


def current_version(connection: Connection) -> int:
    """The number of the newest version; 0 while there is none."""
    return connection.scalar(select(func.max(guidelines.c.version))) or 0


def versions(connection: Connection) -> list[Guideline]:
    """All versions, newest first: the change log."""
    return [_guideline(row) for row in connection.execute(select(guidelines).order_by(guidelines.c.version.desc()))]


def acknowledge(connection: Connection, rater: str, version: int, now: datetime) -> None:
    """Keep that ``rater`` has read a version and will go by it. Saying so again changes nothing.

    Raises:
        ConflictError: it is not the newest version.
    """
    newest = current_version(connection)
    if not newest or version != newest:
        raise ConflictError(
            f"version {version} of the guidelines", f"the newest is {newest}.", "Reload and read that one."
        )
    if acknowledged_version(connection, rater) < version:
        connection.execute(insert(acknowledgements).values(rater=rater, version=version, created=now))


def acknowledged_version(connection: Connection, rater: str) -> int:
    """The newest version that ``rater`` has acknowledged; 0 for none."""
    wanted = acknowledgements.c.rater == rater
    return connection.scalar(select(func.max(acknowledgements.c.version)).where(wanted)) or 0


def needs_acknowledgement(connection: Connection, rater: str) -> bool:
    """Whether there is a version that ``rater`` has yet to read before going on."""
    return acknowledged_version(connection, rater) < current_version(connection)


def missing(connection: Connection) -> list[str]:
    """Active raters who have not acknowledged the newest version, by name."""
    done = select(acknowledgements.c.rater).where(acknowledgements.c.version == current_version(connection))
    wanted = (accounts.c.state == "active") & (accounts.c.role == "rater") & accounts.c.name.not_in(done)
    if not current_version(connection):
        return []
    return list(connection.scalars(select(accounts.c.name).where(wanted).order_by(accounts.c.name)))


def _guideline(row: Any) -> Guideline:
    return Guideline(row.version, row.text, row.note, row.author, row.created)
