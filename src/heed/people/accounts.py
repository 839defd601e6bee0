"""Accounts: who may sign in, with which role, and what they set for themselves.

An account is a rater of kind "human" that may sign in. People sign in by name; two names that differ only in case or in
compatibility forms (NFKC) are the same name. Accounts are never deleted, because what they did stays: they are closed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from sqlalchemy import ColumnElement, Connection, Select, insert, select, update

from heed.errors import ConflictError, DataError, MissingError
from heed.feedback import intake
from heed.feedback.records import RaterRecord
from heed.feedback.schema import raters
from heed.feedback.studio_schema import accounts, invitations, sessions, tokens
from heed.people import audit
from heed.people.hidden import new_id
from heed.people.passwords import HashedPassword
from heed.people.shortcuts import checked_keys
from heed.texts import rater_name_fault, shown, text_fault

Role = Literal["rater", "lead", "admin"]
ROLES: tuple[Role, ...] = ("rater", "lead", "admin")
LANGUAGES = ("en", "zh")
THEMES = ("auto", "light", "dark")

_LONGEST_KEY = 255


class Acting(Protocol):
    """Whoever does something: an account, or the machine's owner at the terminal."""

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str: ...


@dataclass(frozen=True)
class Operator:
    """Whoever may run commands in the project folder; no account can take the name."""

    name: str = "heed"
    role: str = "admin"


OPERATOR = Operator()


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in, without anything secret."""

    id: str
    name: str
    role: Role
    state: Literal["active", "paused", "closed"]
    language: str
    theme: str
    keys: dict[str, Any]
    revision: int
    group: str
    state_reason: str
    has_password: bool
    created: datetime


def name_key(name: str) -> str:
    """What two names that are the same to people have in common."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(folded.split())


# Finding


def query() -> Select[Any]:
    """All columns that :func:`account_of` needs, to be narrowed or joined further."""
    return select(accounts, raters.c.group_name).join(raters, raters.c.name == accounts.c.name)


def account_of(row: Any) -> Account:
    """The account in a row of :func:`query`."""
    return Account(
        id=row.id,
        name=row.name,
        role=row.role,
        state=row.state,
        language=row.language,
        theme=row.theme,
        keys=row.keys,
        revision=row.revision,
        group=row.group_name,
        state_reason=row.state_reason,
        has_password=row.password_hash is not None,
        created=row.created,
    )


def find(connection: Connection, name: str) -> Account | None:
    """The account of this name, whatever its case, or None."""
    row = connection.execute(query().where(accounts.c.name_key == name_key(name))).one_or_none()
    return None if row is None else account_of(row)


def find_subject(connection: Connection, subject: str) -> Account | None:
    """The account of somebody who signs in elsewhere, by issuer and subject there, or None."""
    row = connection.execute(query().where(accounts.c.subject == subject)).one_or_none()
    return None if row is None else account_of(row)


def get(connection: Connection, account_id: str) -> Account:
    """The account with this id.

    Raises:
        MissingError: there is none.
    """
    row = connection.execute(query().where(accounts.c.id == account_id)).one_or_none()
    if row is None:
        raise MissingError(
            f"account {shown(account_id)}", "there is none with this id.", "Look it up in the list of people."
        )
    return account_of(row)


def everybody(connection: Connection) -> list[Account]:
    """All accounts in the order in which they were made."""
    return [account_of(row) for row in connection.execute(query().order_by(accounts.c.number))]


def stored_password(connection: Connection, name: str) -> tuple[str, str] | None:
    """(id, password hash) of an account that is not closed and has a password, or None."""
    if text_fault(name):
        return None
    wanted = (accounts.c.name_key == name_key(name)) & (accounts.c.state != "closed")
    row = connection.execute(select(accounts.c.id, accounts.c.password_hash).where(wanted)).one_or_none()
    return None if row is None or row.password_hash is None else (row.id, row.password_hash)


# Making


def create_account(
    connection: Connection,
    name: str,
    role: Role,
    group: str,
    now: datetime,
    password: HashedPassword | None = None,
    subject: str | None = None,
    language: str = "en",
    known_rater: bool = False,
    reserved: Collection[str] = (),
) -> Account:
    """Make an account and the rater it is.

    Args:
        connection: a transaction that writes.
        name: how it is called everywhere; it never changes.
        role: "rater", "lead" or "admin".
        group: the group of raters; empty for none.
        now: the time.
        password: None for who signs in elsewhere.
        subject: who that is there, as issuer and subject.
        language: "en" or "zh".
        known_rater: whether it may be a person who has judged before (``heed ask``, an import) and takes that name on.
        reserved: further names that nobody may take, such as those of simulated raters in ``heed.yaml``.

    Raises:
        DataError: the name cannot be one, or is reserved.
        ConflictError: the name is taken.
    """
    name = check_name(connection, name, known_rater, reserved)
    if role not in ROLES:
        raise DataError(f"role {shown(role)}", "there is no such role.", f"Choose one of {', '.join(ROLES)}.")
    intake.add_raters(connection, [RaterRecord(name, "human", group)])
    account_id = new_id("u")
    connection.execute(
        insert(accounts).values(
            id=account_id,
            name=name,
            name_key=name_key(name),
            role=role,
            state="active",
            state_reason="",
            password_hash=None if password is None else password.text,
            subject=subject,
            language=language if language in LANGUAGES else LANGUAGES[0],
            theme=THEMES[0],
            keys={},
            revision=1,
            created=now,
        )
    )
    return get(connection, account_id)


def check_name(connection: Connection, name: str, known_rater: bool = False, reserved: Collection[str] = ()) -> str:
    """The name as it is kept, if a new account may have it.

    Raises:
        DataError: it cannot be a name, or is reserved.
        ConflictError: it is taken, or differs from one that is by case only.
    """
    name = unicodedata.normalize("NFC", name).strip()
    key = name_key(name)
    fault = (
        rater_name_fault(name)
        or ("it is too long" if len(key) > _LONGEST_KEY else None)
        or (None if key else "it is empty")
    )
    if fault:
        raise DataError(f"the name {shown(name)}", f"{fault}.", "Choose another name.")
    if key in {name_key(other) for other in (OPERATOR.name, *reserved)}:
        raise DataError(f"the name {shown(name)}", "it is reserved.", "Choose another name.")
    kinds = {row.name: row.kind for row in connection.execute(select(raters.c.name, raters.c.kind))}
    same = [other for other in kinds if name_key(other) == key]
    own = known_rater and same == [name] and kinds[name] == "human"
    taken = connection.scalar(select(accounts.c.id).where(accounts.c.name_key == key))
    if taken or (same and not own):
        raise ConflictError(f"the name {shown(name)}", "it is taken.", "Choose another name.")
    return name


# What a person sets


def set_preferences(
    connection: Connection,
    account_id: str,
    revision: int | None = None,
    language: str | None = None,
    theme: str | None = None,
    keys: Mapping[str, Any] | None = None,
) -> Account:
    """Change what is given and leave the rest.

    Args:
        connection: a transaction that writes.
        account_id: whose.
        revision: the revision that was changed; None to change whatever stands.
        language: "en" or "zh".
        theme: "auto", "light" or "dark".
        keys: see :func:`heed.people.shortcuts.checked_keys`.

    Raises:
        ConflictError: another window changed it meanwhile.
        DataError: no such language or theme, or keys that cannot be.
    """
    for what, value, known in (("language", language, LANGUAGES), ("theme", theme, THEMES)):
        if value is not None and value not in known:
            raise DataError(
                f"{what} {shown(value)}", "there is none of this name.", f"Choose one of {', '.join(known)}."
            )
    given = {"language": language, "theme": theme, "keys": None if keys is None else checked_keys(keys)}
    changes = {name: value for name, value in given.items() if value is not None}
    table = accounts
    wanted = table.c.id == account_id
    if revision is not None:
        wanted &= table.c.revision == revision
    done = connection.execute(update(table).where(wanted).values(revision=table.c.revision + 1, **changes))
    account = get(connection, account_id)
    if not done.rowcount:
        raise ConflictError(
            "your settings", "they were changed in another window.", "Reload the page and change them again."
        )
    return account


def change_password(
    connection: Connection, account_id: str, password: HashedPassword, now: datetime, keep_session: str | None = None
) -> None:
    """Set a password; all sessions but ``keep_session`` (an id), all tokens and links to set one end, for whoever else may have them."""
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(password_hash=password.text))
    shut_out(connection, account_id, now, keep_session)
    end_links(connection, invitations.c.account_id == account_id, now)
    account = get(connection, account_id)
    audit.record(connection, account.name, "account.credentials", account.name, {}, now)


def state_now(connection: Connection, name: str) -> str:
    """State of the account of this name as it is now, whatever was known when the request came in; "closed" for none."""
    return connection.scalar(select(accounts.c.state).where(accounts.c.name == name)) or "closed"


def shut_out(connection: Connection, account_id: str, now: datetime, keep_session: str | None = None) -> None:
    """End all sessions but ``keep_session`` (an id), and all tokens."""
    ended = (sessions.c.account_id == account_id) & sessions.c.revoked.is_(None)
    if keep_session is not None:
        ended &= sessions.c.id != keep_session
    connection.execute(update(sessions).where(ended).values(revoked=now))
    connection.execute(
        update(tokens).where((tokens.c.account_id == account_id) & tokens.c.revoked.is_(None)).values(revoked=now)
    )


def end_links(connection: Connection, condition: ColumnElement[bool], now: datetime) -> list[str]:
    """End the links that nobody has taken and for which ``condition`` holds; their ids."""
    still = condition & invitations.c.used.is_(None) & invitations.c.revoked.is_(None)
    ended = list(connection.scalars(select(invitations.c.id).where(still).order_by(invitations.c.id)))
    if ended:
        connection.execute(update(invitations).where(still).values(revoked=now))
    return ended
