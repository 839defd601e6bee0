"""The audit log: who changed what, as a chain of hashes.

Each entry's hash covers its content and the hash of the entry before it, so an entry that is changed, removed, put between
others or moved shows: every hash from there on no longer fits. What a chain alone cannot show is an end that was cut off,
or a chain that was computed anew from some entry on by somebody who can write to the database. For that the head (how many
entries, and the hash of the last) is written down elsewhere: in ``.heed-audit-head`` in the project folder, which is another
place than the database where that is on a server, and wherever the lead notes it (``heed audit`` prints it). A chain that
is shorter than a head noted before, or has another hash there, was tampered with. A head that is missing where the project
was served before was taken away: none is noted anew until somebody accepts the present end, which is recorded. Nobody can
show that what was never recorded has not happened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Text, cast, func, insert, select

from heed.errors import DataError, ProjectError
from heed.feedback.studio_schema import accounts, audit
from heed.files import file_errors, write_text
from heed.people.audit_rows import Entry, check_is_there, entry_of, is_there, lost_triggers, newest_hash, raw_rows
from heed.people.locks import AUDIT, take_turn
from heed.people.secrets import SECRETS_FILE
from heed.texts import cut

FIRST = "0" * 64
"""What stands as ``previous`` in the first entry."""

HEAD_FILE = ".heed-audit-head"
FIRST_LINK = "invitation.first"
"""What the first start of a server records: the link for the first admin."""

_MOST_FAULTS = 20
_PAGE = 1000
_LONGEST_SUBJECT = 255
_HIDDEN = ("password", "secret", "token", "hash", "cookie")


@dataclass(frozen=True)
class Head:
    """The end of the chain: how many entries there are and the hash of the last one."""

    entries: int
    hash: str


@dataclass(frozen=True)
class Fault:
    """What does not fit, and at which entry (its number; 0 where none is left to point at)."""

    number: int
    reason: str


def record(
    connection: Connection, actor: str, action: str, subject: str, details: Mapping[str, Any], now: datetime
) -> Entry:
    """Append an entry, in the transaction that makes the change itself. Call it last: others wait for this transaction then.

    Raises:
        DataError: a key of ``details`` names a secret, or a value has no JSON form.
    """
    kept = _checked(details)
    take_turn(connection, AUDIT)
    previous = newest_hash(connection) or FIRST
    subject = cut(subject, _LONGEST_SUBJECT)
    values: dict[str, Any] = {
        "created": now.astimezone(UTC),
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": kept,
    }
    digest = _hash(previous=previous, **values)
    done = connection.execute(insert(audit).values(**values, previous=previous, hash=digest).returning(audit.c.number))
    return Entry(done.scalar_one(), now, actor, action, subject, kept, previous, digest)


def entries(
    connection: Connection,
    before: int | None = None,
    limit: int | None = 100,
    action: str | None = None,
    subject: str | None = None,
    actor: str | None = None,
    mentions: str | None = None,
) -> list[Entry]:
    """The newest entries first: those numbered below ``before``, at most ``limit``, that meet every condition given.

    Args:
        mentions: a text that stands in their details, letter by letter.

    Raises:
        ProjectError: there is no log in the database.
    """
    check_is_there(connection)
    query = raw_rows(connection).order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.number < before)
    for column, value in ((audit.c.action, action), (audit.c.subject, subject), (audit.c.actor, actor)):
        if value is not None:
            query = query.where(column == value)
    if mentions is not None:
        query = query.where(cast(audit.c.details, Text).contains(mentions, autoescape=True))
    return [entry_of(row) for row in connection.execute(query)]


def head(connection: Connection) -> Head:
    """The end of the chain as it stands."""
    if not is_there(connection):
        return Head(0, FIRST)
    return Head(connection.scalar(select(func.count()).select_from(audit)) or 0, newest_hash(connection) or FIRST)


def check(connection: Connection, folder: Path) -> tuple[Head, list[Fault]]:
    """The end of the chain, and all that :func:`verify` and :func:`gone` find.

    Args:
        connection: a transaction that reads.
        folder: of the project.

    Raises:
        ProjectError: the file of the noted head holds something else.
    """
    noted = read_head(folder)
    return head(connection), verify(connection, noted) + gone(connection, folder, noted)


def verify(connection: Connection, noted: Head | None = None) -> list[Fault]:
    """Walk the whole chain; the faults found, none where it is whole.

    Args:
        connection: a transaction that reads.
        noted: a head that was written down before; the chain has to pass through it.
    """
    if not is_there(connection):
        return [Fault(0, "its table is gone from the database, or is not the one that heed made")]
    faults: list[Fault] = []
    previous, count, noted_hash = FIRST, 0, FIRST
    for entry in _chain(connection):
        count += 1
        if entry.previous != previous:
            faults.append(
                Fault(entry.number, "it does not follow the entry before it: one was removed, put in or moved")
            )
        if not _holds(entry):
            faults.append(Fault(entry.number, "its content is not what was recorded"))
        previous = entry.hash
        if noted is not None and count == noted.entries:
            noted_hash = entry.hash
    if noted is not None:
        if count < noted.entries:
            faults.append(
                Fault(0, f"there are {count:,} entries, and there were {noted.entries:,}: the end was cut off")
            )
        elif noted_hash != noted.hash:
            faults.append(Fault(0, f"entry {noted.entries:,} has another hash than was noted: the chain was made anew"))
    return faults


def gone(connection: Connection, folder: Path, noted: Head | None) -> list[Fault]:
    """What has vanished as a whole, which no chain can show: the entries by which accounts came to be, the noted head, or
    what makes the database refuse changes.

    Args:
        connection: a transaction that reads.
        folder: of the project.
        noted: what :func:`read_head` gives for it.
    """
    faults = []
    if head(connection).entries == 0 and connection.scalar(select(func.count()).select_from(accounts)):
        faults.append(Fault(0, "there are accounts and not one entry: the log was emptied"))
    if noted is None and _was_served(connection, folder):
        faults.append(Fault(0, f"{HEAD_FILE} is gone, which stands beside the database since the server first ran"))
    if is_there(connection) and (lost := lost_triggers(connection)):
        faults.append(Fault(0, f"the database no longer refuses to change entries: it has lost {', '.join(lost)}"))
    return faults


def _was_served(connection: Connection, folder: Path) -> bool:
    """Whether the project was served before, from when on there is a noted head: there are secrets, or their first link."""
    if (folder / SECRETS_FILE).exists():
        return True
    first = select(audit.c.number).where(audit.c.action == FIRST_LINK).limit(1)
    return is_there(connection) and connection.scalar(first) is not None


# The head that was noted


def note_head(connection: Connection, folder: Path) -> bool:
    """Note the end of the chain in the project folder, before its secrets are made and from then on.

    False, and nothing is noted, where the chain no longer passes through the head that stands there, or where the project
    was served before and none stands there: that is the evidence, which :func:`check` needs.

    Args:
        connection: a transaction that reads.
        folder: of the project.
    """
    # First: a head that another process notes meanwhile comes before the secrets that it makes.
    served = _was_served(connection, folder)
    noted = read_head(folder)
    if not is_there(connection) or (noted is None and served):
        return False
    if noted is not None and noted.entries:
        place = select(audit.c.number).where(audit.c.hash == noted.hash).scalar_subquery()
        # Where no entry has that hash, nothing is below it and the count is 0.
        if connection.scalar(select(func.count()).select_from(audit).where(audit.c.number <= place)) != noted.entries:
            return False
    write_head(folder, head(connection))
    return True


def accept(connection: Connection, folder: Path, actor: str, faults: Sequence[Fault], now: datetime) -> Head:
    """Record that somebody goes on from the present end, knowing of ``faults``; the new end, for :func:`replace_head`.

    Args:
        connection: a transaction that writes.
        folder: of the project.
        actor: who does it.
        faults: what :func:`check` found.
        now: the time.

    Raises:
        ProjectError: there is no log in the database, or the file of the noted head holds something else.
    """
    check_is_there(connection)
    noted, present = read_head(folder), head(connection)
    details = {
        "noted": None if noted is None else f"{noted.entries} {noted.hash}",
        "faults": [f"entry {fault.number}: {fault.reason}" for fault in faults[:_MOST_FAULTS]],
    }
    entry = record(connection, actor, "audit.accept", f"{present.entries} {present.hash}", details, now)
    return Head(present.entries + 1, entry.hash)


def replace_head(folder: Path, current: Head) -> None:
    """Note ``current`` in place of whatever was noted."""
    with file_errors(f"file {folder / HEAD_FILE}"):
        write_text(folder / HEAD_FILE, f"{current.entries} {current.hash}\n")


def write_head(folder: Path, current: Head) -> None:
    """Note ``current``, of a chain that was verified, in the project folder, unless a later head stands there already."""
    noted = read_head(folder)
    if noted is None or noted.entries < current.entries:
        replace_head(folder, current)


def read_head(folder: Path) -> Head | None:
    """The head noted in the project folder, or None.

    Raises:
        ProjectError: the file holds something else.
    """
    file = folder / HEAD_FILE
    with file_errors(f"file {file}"):
        if not file.exists():
            return None
        text = file.read_text(encoding="utf-8", errors="replace")
    count, _, digest = text.strip().partition(" ")
    if not count.isdecimal() or len(digest) != len(FIRST):
        raise ProjectError(
            f"file {file}",
            "it does not hold the head of an audit log.",
            "Restore it from a backup; or delete it, which heed audit verify then tells.",
        )
    return Head(int(count), digest)


def _chain(connection: Connection) -> Iterator[Entry]:
    """All entries in their order, a page at a time."""
    page = raw_rows(connection).order_by(audit.c.number).limit(_PAGE)
    rows = connection.execute(page).all()
    while rows:
        yield from map(entry_of, rows)
        rows = connection.execute(page.where(audit.c.number > rows[-1].number)).all()


def _holds(entry: Entry) -> bool:
    """Whether the content of an entry is what its hash was made of."""
    if not entry.readable or entry.created is None:
        return False
    values = {name: getattr(entry, name) for name in ("actor", "action", "subject", "details", "previous")}
    return _hash(entry.created, **values) == entry.hash


def _hash(created: datetime, **values: Any) -> str:
    content = values | {"created": created.astimezone(UTC).isoformat(timespec="microseconds")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checked(details: Mapping[str, Any]) -> dict[str, Any]:
    named = [key for key in details if any(word in key.lower() for word in _HIDDEN)]
    if named:
        raise DataError(
            f"the audit detail '{named[0]}'", "secrets are not recorded.", "Record what changed, not to what."
        )
    try:
        return json.loads(json.dumps(dict(details), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError("the details of an audit entry", f"they have no JSON form ({error}).", "Record text.") from None
