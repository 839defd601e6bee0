"""API tokens: what programs sign in with. Shown once, kept as a hash, limited to scopes, always with an end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from heed.errors import DataError, LimitError, MissingError
from heed.feedback.studio_schema import accounts, tokens
from heed.people import audit
from heed.people.accounts import Account, Role, account_of, query
from heed.people.hidden import hash_of, new_id, new_secret
from heed.texts import shown, text_fault

PREFIX = "heed_"
"""How every token begins, so that programs that search for leaked secrets know one."""

SCOPES: dict[Role, tuple[str, ...]] = {
    "rater": ("rate", "read"),
    "lead": ("rate", "read", "manage"),
    "admin": ("rate", "read", "manage"),
}
"""What a token of an account of each role may be for."""

LONGEST_DAYS = 365
MOST_TOKENS = 50
USED_EVERY = timedelta(minutes=1)
_SHOWN = 10
_LONGEST_NAME = 200


@dataclass(frozen=True)
class TokenRecord:
    """What a person sees of one of their tokens."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime
    used: datetime | None


@dataclass(frozen=True)
class MadeToken:
    """A new token: its secret, which is told only now, and what is kept of it."""

    secret: str
    record: TokenRecord


@dataclass(frozen=True)
class OpenToken:
    """A token that holds, whose it is, and what for. ``stale``: :func:`touch` should write down that it was used."""

    id: str
    account: Account
    scopes: frozenset[str]
    stale: bool


def make(
    connection: Connection, account: Account, name: str, scopes: Collection[str], days: float, now: datetime
) -> MadeToken:
    """Make a token.

    Args:
        connection: a transaction that writes.
        account: whose.
        name: what it is for, in the owner's words.
        scopes: among those of the account's role.
        days: how long it holds, up to 365.
        now: the time.

    Raises:
        DataError: no name, no scope or one that the role has not, or no end within a year.
        LimitError: there are too many already.
    """
    name = name.strip()
    fault = text_fault(name) or (None if name and name.isprintable() and len(name) <= _LONGEST_NAME else "it has none")
    if fault:
        raise DataError("the name of the token", f"{fault}.", f"Say what it is for in 1 to {_LONGEST_NAME} characters.")
    allowed = SCOPES[account.role]
    odd = [scope for scope in scopes if scope not in allowed]
    if odd or not scopes:
        why = f"{shown(odd[0])} is none for a {account.role}." if odd else "there are none."
        raise DataError("the scopes of the token", why, f"Choose among {', '.join(allowed)}.")
    if not 0 < days <= LONGEST_DAYS:
        raise DataError(
            "the end of the token", f"{shown(days)} days is no time it may hold.", f"Choose 1 to {LONGEST_DAYS}."
        )
    held = (tokens.c.account_id == account.id) & tokens.c.revoked.is_(None) & (tokens.c.expires > now)
    if (connection.scalar(select(func.count()).select_from(tokens).where(held)) or 0) >= MOST_TOKENS:
        raise LimitError("one more token", f"there are {MOST_TOKENS} already.", "Revoke one that is not used.")
    secret = new_secret(PREFIX)
    kept = TokenRecord(
        new_id("t"),
        name,
        secret[:_SHOWN],
        tuple(scope for scope in allowed if scope in scopes),
        now,
        now + timedelta(days=days),
        None,
    )
    connection.execute(
        insert(tokens).values(
            hash=hash_of(secret),
            id=kept.id,
            account_id=account.id,
            name=kept.name,
            prefix=kept.prefix,
            scopes=list(kept.scopes),
            created=kept.created,
            expires=kept.expires,
        )
    )
    details = {"id": kept.id, "scopes": list(kept.scopes), "expires": kept.expires.isoformat()}
    audit.record(connection, account.name, "token.make", account.name, details, now)
    return MadeToken(secret, kept)


def find(connection: Connection, secret: str, now: datetime) -> OpenToken | None:
    """The token that ``secret`` is, if it holds and its account is active. Reads only.

    Of its scopes it keeps those that the account's role still has.
    """
    if not secret.startswith(PREFIX):
        return None
    columns = (tokens.c.id.label("token_id"), tokens.c.scopes, tokens.c.used)
    wanted = (
        (tokens.c.hash == hash_of(secret))
        & tokens.c.revoked.is_(None)
        & (tokens.c.expires > now)
        & (accounts.c.state == "active")
    )
    found = query().add_columns(*columns).join(tokens, tokens.c.account_id == accounts.c.id).where(wanted)
    row = connection.execute(found).one_or_none()
    if row is None:
        return None
    stale = row.used is None or now - row.used >= USED_EVERY
    account = account_of(row)
    return OpenToken(row.token_id, account, frozenset(row.scopes) & frozenset(SCOPES[account.role]), stale)


def is_paused(connection: Connection, secret: str, now: datetime) -> bool:
    """Whether ``secret`` is a token that would hold if its account were not paused."""
    held = (tokens.c.hash == hash_of(secret)) & tokens.c.revoked.is_(None) & (tokens.c.expires > now)
    paused = select(tokens.c.id).join(accounts, accounts.c.id == tokens.c.account_id)
    return connection.execute(paused.where(held, accounts.c.state == "paused")).first() is not None


def who(connection: Connection, secret: str, now: datetime) -> tuple[Account, frozenset[str]] | None:
    """Whose token ``secret`` is and what for, or None."""
    found = find(connection, secret, now)
    return None if found is None else (found.account, found.scopes)


def touch(connection: Connection, token_id: str, now: datetime) -> None:
    """Write down that a token was used. To be called where it is ``stale``: once a minute is enough."""
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(used=now))


def revoke(connection: Connection, account: Account, token_id: str, now: datetime) -> None:
    """End a token of one's own.

    Raises:
        MissingError: this account has no such token.
    """
    wanted = (tokens.c.id == token_id) & (tokens.c.account_id == account.id) & tokens.c.revoked.is_(None)
    if not connection.execute(update(tokens).where(wanted).values(revoked=now)).rowcount:
        raise MissingError(f"token {shown(token_id)}", "you have none of this id.", "Reload the list.")
    audit.record(connection, account.name, "token.revoke", account.name, {"id": token_id}, now)


def tokens_of(connection: Connection, account_id: str, now: datetime) -> list[TokenRecord]:
    """The tokens of an account that hold, newest first."""
    held = (tokens.c.account_id == account_id) & tokens.c.revoked.is_(None) & (tokens.c.expires > now)
    rows = connection.execute(select(tokens).where(held).order_by(tokens.c.created.desc(), tokens.c.id))
    return [
        TokenRecord(row.id, row.name, row.prefix, tuple(row.scopes), row.created, row.expires, row.used) for row in rows
    ]
