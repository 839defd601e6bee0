"""The rows of the audit log as the database holds them, whoever wrote them: what was tampered with must not end its readers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, LargeBinary, Select, Text, cast, inspect, select, text
from sqlalchemy.exc import NoSuchTableError

from heed.errors import ProjectError
from heed.feedback.studio_schema import audit

_TRIGGERS = {
    "sqlite": ("audit_no_update", "audit_no_delete", "audit_no_replace"),
    "postgresql": ("audit_no_update", "audit_no_truncate"),
}
_REFUSING = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit' "
    "AND sql LIKE '%RAISE(ABORT%'",
    "postgresql": "SELECT tgname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
    "WHERE tgrelid = CAST('audit' AS regclass) AND tgenabled IN ('O', 'A') AND prosrc LIKE '%RAISE EXCEPTION%'",
}


@dataclass(frozen=True)
class Entry:
    """One change: ``actor`` did ``action`` (such as "account.pause") to ``subject``.

    Where ``readable`` is False, what stands in its row is not what heed writes: the moment is None, or the details are
    empty, or a text has its odd bytes spelled out.
    """

    number: int
    created: datetime | None
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    previous: str
    hash: str
    readable: bool = True


def raw_rows(connection: Connection) -> Select[Any]:
    """All columns of the log for :func:`entry_of`, as bytes or text: drivers give up at values that are not of their type."""
    kind = LargeBinary() if connection.dialect.name == "sqlite" else Text()
    return select(audit.c.number, *(cast(one, kind).label(one.name) for one in audit.c if one is not audit.c.number))


def entry_of(row: Any) -> Entry:
    """The entry in a row of :func:`raw_rows`, which may hold anything."""
    texts, whole = {}, True
    for name in ("created", "actor", "action", "subject", "details", "previous", "hash"):
        texts[name], fits = _text(getattr(row, name))
        whole = whole and fits
    created, details = _moment(texts.pop("created")), _details(texts.pop("details"))
    readable = whole and created is not None and details is not None
    return Entry(number=row.number, created=created, details=details or {}, readable=readable, **texts)


def newest_hash(connection: Connection) -> str | None:
    """The hash of the last entry, or None where there is none."""
    row = connection.execute(raw_rows(connection).order_by(audit.c.number.desc()).limit(1)).first()
    return None if row is None else _text(row.hash)[0]


def is_there(connection: Connection) -> bool:
    """Whether the table of the log stands in the database, with the columns that heed made."""
    try:
        columns = {one["name"] for one in inspect(connection).get_columns(audit.name)}
    except NoSuchTableError:
        return False
    return columns.issuperset(audit.c.keys())


def check_is_there(connection: Connection) -> None:
    """See that there is a log at all.

    Raises:
        ProjectError: there is none.
    """
    if not is_there(connection):
        raise ProjectError(
            "the audit log",
            "its table is gone from the database, or is not the one that heed made.",
            "Restore the database from a backup.",
        )


def lost_triggers(connection: Connection) -> list[str]:
    """Names of the triggers by which the database refuses to change entries, of those that do so no longer."""
    dialect = connection.dialect.name
    refusing = set(connection.execute(text(_REFUSING[dialect])).scalars())
    return [name for name in _TRIGGERS[dialect] if name not in refusing]


def _text(value: Any) -> tuple[str, bool]:
    """What a column of text holds, and whether that is text."""
    if isinstance(value, str):
        return value, True
    if not isinstance(value, bytes):
        return "", False
    try:
        return value.decode("utf-8"), True
    except UnicodeDecodeError:
        return value.decode("utf-8", errors="backslashreplace"), False


def _moment(written: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(written)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _details(written: str) -> dict[str, Any] | None:
    try:
        details = json.loads(written)
        # Pages and programs are told of it: it has to be such JSON as can be sent.
        json.dumps(details, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return details if isinstance(details, dict) else None
