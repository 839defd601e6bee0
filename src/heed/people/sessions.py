"""Who is signed in: a random secret in a cookie, and here only its hash. Every sign-in makes a new one; all can be ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from heed.errors import MissingError, SignInError
from heed.feedback.studio_schema import accounts, sessions
from heed.people.accounts import Account, account_of, query
from heed.people.hidden import hash_of, new_id, new_secret
from heed.texts import shown

IDLE = timedelta(days=14)
LONGEST = timedelta(days=60)
SEEN_EVERY = timedelta(minutes=1)
_AGENT = 255


@dataclass(frozen=True)
class OpenSession:
    """A session that holds, and whose it is. ``stale``: :func:`touch` should write down that it was used."""

    id: str
    account: Account
    stale: bool


@dataclass(frozen=True)
class SessionRecord:
    """What a person sees of one of their sessions."""

    id: str
    agent: str
    created: datetime
    seen: datetime
    expires: datetime


def begin(connection: Connection, account_id: str, agent: str, now: datetime) -> str:
    """Begin a session; the secret for the cookie, which is told only here.

    Args:
        connection: a transaction that writes.
        account_id: who signs in.
        agent: the browser as it names itself, for the list of sessions.
        now: the time.

    Raises:
        SignInError: the account is closed, or there is none.
    """
    state = connection.scalar(select(accounts.c.state).where(accounts.c.id == account_id).with_for_update())
    if state not in ("active", "paused"):
        raise SignInError("this account", "it is closed.", "Ask whoever invited you.")
    secret = new_secret()
    printable = "".join(character if character.isprintable() else " " for character in agent)
    connection.execute(
        insert(sessions).values(
            hash=hash_of(secret),
            id=new_id("s"),
            account_id=account_id,
            agent=printable[:_AGENT],
            created=now,
            seen=now,
            expires=now + LONGEST,
        )
    )
    return secret


def find(connection: Connection, secret: str, now: datetime) -> OpenSession | None:
    """The session that ``secret`` opens: not ended, not expired, used in the last fortnight. Reads only.

    The account may be paused: who is paused may read, and sees that and why.
    """
    columns = (sessions.c.id.label("session_id"), sessions.c.seen)
    wanted = (
        (sessions.c.hash == hash_of(secret))
        & sessions.c.revoked.is_(None)
        & (sessions.c.expires > now)
        & (sessions.c.seen > now - IDLE)
        & (accounts.c.state != "closed")
    )
    found = query().add_columns(*columns).join(sessions, sessions.c.account_id == accounts.c.id).where(wanted)
    row = connection.execute(found).one_or_none()
    return None if row is None else OpenSession(row.session_id, account_of(row), now - row.seen >= SEEN_EVERY)


def who(connection: Connection, secret: str, now: datetime) -> Account | None:
    """Whose session ``secret`` opens, or None."""
    found = find(connection, secret, now)
    return None if found is None else found.account


def touch(connection: Connection, session_id: str, now: datetime) -> None:
    """Write down that a session was used. To be called where it is ``stale``: once a minute is enough."""
    wanted = (sessions.c.id == session_id) & (sessions.c.seen < now)
    connection.execute(update(sessions).where(wanted).values(seen=now))


def end(connection: Connection, secret: str, now: datetime) -> None:
    """End the session that ``secret`` opens, if it opens one."""
    wanted = (sessions.c.hash == hash_of(secret)) & sessions.c.revoked.is_(None)
    connection.execute(update(sessions).where(wanted).values(revoked=now))


def end_one(connection: Connection, account_id: str, session_id: str, now: datetime) -> None:
    """End a session of one's own, named by its id.

    Raises:
        MissingError: this account has no such session.
    """
    wanted = (sessions.c.id == session_id) & (sessions.c.account_id == account_id) & sessions.c.revoked.is_(None)
    if not connection.execute(update(sessions).where(wanted).values(revoked=now)).rowcount:
        raise MissingError(f"session {shown(session_id)}", "you have none of this id.", "Reload the list.")


def end_all(connection: Connection, account_id: str, now: datetime, keep_session: str | None = None) -> int:
    """End all sessions of an account but ``keep_session`` (an id); how many those were."""
    wanted = (sessions.c.account_id == account_id) & sessions.c.revoked.is_(None)
    if keep_session is not None:
        wanted &= sessions.c.id != keep_session
    return connection.execute(update(sessions).where(wanted).values(revoked=now)).rowcount


def sessions_of(connection: Connection, account_id: str, now: datetime) -> list[SessionRecord]:
    """The sessions of an account that hold, newest use first."""
    wanted = (
        (sessions.c.account_id == account_id)
        & sessions.c.revoked.is_(None)
        & (sessions.c.expires > now)
        & (sessions.c.seen > now - IDLE)
    )
    rows = connection.execute(select(sessions).where(wanted).order_by(sessions.c.seen.desc(), sessions.c.id))
    return [SessionRecord(row.id, row.agent, row.created, row.seen, row.expires) for row in rows]


def forget(connection: Connection, now: datetime) -> int:
    """Delete sessions that expired or were ended a month ago; how many those were."""
    old = now - timedelta(days=30)
    return connection.execute(delete(sessions).where((sessions.c.expires < old) | (sessions.c.revoked < old))).rowcount
