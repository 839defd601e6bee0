"""Links that let somebody in once: to make an account, or to set a new password. Single use, expiring, kept as a hash."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from heed.errors import ConflictError, DataError, MissingError
from heed.feedback.studio_schema import accounts, invitations
from heed.people import audit
from heed.people.accounts import (
    OPERATOR,
    ROLES,
    Account,
    Acting,
    Role,
    change_password,
    check_name,
    create_account,
    end_links,
    get,
)
from heed.people.hidden import hash_of, new_id, new_secret
from heed.people.locks import PEOPLE, take_turn
from heed.people.managing import check_may_manage
from heed.people.passwords import HashedPassword
from heed.texts import name_fault, shown, text_fault

DAYS = 7.0
LONGEST_DAYS = 90.0
RESET_DAYS = 1.0
FIRST_DAYS = 1.0
_LONGEST_NOTE = 2000
_LONGEST_EMAIL = 255


@dataclass(frozen=True)
class Invitation:
    """A link that somebody may open, without its secret.

    ``name`` is the name that the guest takes; None where the guest chooses. ``account_id`` is set where the link sets the
    password of an account that is there. ``email`` lets whoever signs in elsewhere with it take the invitation.
    """

    id: str
    role: Role
    group: str
    name: str | None
    account_id: str | None
    email: str | None
    first: bool
    note: str
    created_by: str
    created: datetime
    expires: datetime
    used: datetime | None
    used_by: str | None
    revoked: datetime | None


def invite(
    connection: Connection,
    role: Role,
    group: str,
    name: str | None,
    note: str,
    actor: Acting,
    now: datetime,
    days: float = DAYS,
    email: str | None = None,
) -> str:
    """Make an invitation; the secret of its link, which is told only here.

    Args:
        connection: a transaction that writes.
        role: of the account that it makes; leads invite raters, admins everybody.
        group: the group of raters; empty for none.
        name: a name that the guest takes, which may be that of a person who has judged before; None for their choice.
        note: for the list of invitations: who is meant.
        actor: who invites.
        now: the time.
        days: how long the link holds, up to 90.
        email: the address of somebody who may take it by signing in elsewhere (OIDC).

    Raises:
        DataError: no such role, a name, group or address that cannot be, or no end within 90 days.
        ConflictError: the name has an account already.
        RefusedError: ``actor`` may not invite to this role.
    """
    if role not in ROLES:
        raise DataError(f"role {shown(role)}", "there is no such role.", f"Choose one of {', '.join(ROLES)}.")
    check_may_manage(actor, role)
    if group and (fault := name_fault(group)):
        raise DataError(f"the group {shown(group)}", f"{fault}.", "Name it otherwise.")
    if name is not None:
        name = check_name(connection, name, known_rater=True)
    if email is not None:
        email = checked_email(email)
    secret, kept = _insert(connection, role, group, actor, now, days, name=name, note=note, email=email)
    details = {"id": kept, "role": role, "group": group, "name": name, "email": email}
    audit.record(connection, actor.name, "invitation.make", name or email or kept, details, now)
    return secret


def reset_link(connection: Connection, account_id: str, actor: Acting, now: datetime, days: float = RESET_DAYS) -> str:
    """Make a link by which the owner of an account sets a new password; earlier ones of it end.

    Raises:
        RefusedError: ``actor`` may not manage this account: such a link would let them in.
        ConflictError: the account is closed.
    """
    account = get(connection, account_id)
    check_may_manage(actor, account.role)
    if account.state == "closed":
        raise ConflictError(f"account '{account.name}'", "it is closed.", "Invite the person anew, under another name.")
    end_links(connection, invitations.c.account_id == account_id, now)
    secret, kept = _insert(
        connection, account.role, account.group, actor, now, days, name=account.name, account_id=account_id
    )
    audit.record(connection, actor.name, "invitation.reset", account.name, {"id": kept}, now)
    return secret


def first_invitation(connection: Connection, now: datetime) -> str | None:
    """A link for the first admin, while there is no account of an admin; None from then on. Earlier such links end."""
    take_turn(connection, PEOPLE)
    if _admins(connection):
        return None
    end_links(connection, invitations.c.first, now)
    secret, kept = _insert(connection, "admin", "", OPERATOR, now, FIRST_DAYS, first=True)
    audit.record(connection, OPERATOR.name, audit.FIRST_LINK, kept, {"id": kept}, now)
    return secret


def look_up(connection: Connection, secret: str, now: datetime) -> Invitation | None:
    """The invitation that ``secret`` opens, if it can still be taken. Reads only."""
    wanted = (invitations.c.hash == hash_of(secret)) & _open(now)
    row = connection.execute(select(invitations).where(wanted)).one_or_none()
    return None if row is None else _invitation(row)


def for_email(connection: Connection, email: str, now: datetime) -> Invitation | None:
    """The newest invitation that whoever has proved to own ``email`` may take."""
    wanted = (invitations.c.email == email.strip().lower()) & _open(now)
    newest = select(invitations).where(wanted).order_by(invitations.c.created.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else _invitation(row)


def accept(
    connection: Connection,
    secret: str,
    name: str | None,
    password: HashedPassword,
    now: datetime,
    language: str = "en",
    reserved: Collection[str] = (),
) -> Account:
    """Take an invitation: make the account, or set the password of the one that the link is for. Only one can take it.

    Args:
        connection: a transaction that writes.
        secret: of the link.
        name: as the guest chose; left aside where the invitation fixes it.
        password: see :func:`heed.people.passwords.hash_password`; hashed before the transaction, which others wait for.
        now: the time.
        language: "en" or "zh".
        reserved: further names that nobody may take, such as those of simulated raters.

    Raises:
        MissingError: used, expired, revoked, or never there: which of these is not told.
        DataError: the name cannot be one.
        ConflictError: the name is taken, or the account closed.
    """
    invitation = look_up(connection, secret, now)
    if invitation is None:
        raise unusable()
    return _take(connection, invitation, name, password, None, now, language, reserved)


def accept_elsewhere(
    connection: Connection, invitation: Invitation, name: str, subject: str, now: datetime, language: str = "en"
) -> Account:
    """Take an invitation as somebody whom another place has signed in (OIDC); ``subject`` is issuer and subject there.

    Raises:
        MissingError, DataError, ConflictError: as for :func:`accept`.
    """
    if invitation.account_id is not None or invitation.first:
        raise unusable()
    return _take(connection, invitation, name, None, subject, now, language, ())


def invitations_made(connection: Connection, now: datetime, still_open: bool = True) -> list[Invitation]:
    """Invitations, newest first: those that can still be taken, or all that ever were."""
    listed = select(invitations).order_by(invitations.c.created.desc(), invitations.c.id)
    if still_open:
        listed = listed.where(_open(now))
    return [_invitation(row) for row in connection.execute(listed)]


def revoke(connection: Connection, invitation_id: str, actor: Acting, now: datetime) -> None:
    """End an invitation that nobody has taken.

    Raises:
        MissingError: there is no open one of this id.
        RefusedError: ``actor`` may not invite to its role.
    """
    row = connection.execute(select(invitations).where((invitations.c.id == invitation_id) & _open(now))).one_or_none()
    if row is None:
        raise MissingError(f"invitation {shown(invitation_id)}", "no open one has this id.", "Reload the list.")
    check_may_manage(actor, row.role)
    end_links(connection, invitations.c.id == invitation_id, now)
    audit.record(connection, actor.name, "invitation.revoke", row.name or row.id, {"id": row.id}, now)


def checked_email(email: str) -> str:
    """The address in small letters.

    Raises:
        DataError: it is none.
    """
    email = email.strip().lower()
    before, sign, domain = email.rpartition("@")
    if not (before and sign and domain) or len(email) > _LONGEST_EMAIL or " " in email or not email.isprintable():
        raise DataError(f"the address {shown(email)}", "it is no e-mail address.", "Write it as name@example.org.")
    return email


def unusable() -> MissingError:
    """What everybody hears whose link does not open anything, whatever the reason."""
    return MissingError(
        "this link", "it was used, has expired, or never was one.", "Ask whoever sent it for a new one."
    )


def _take(
    connection: Connection,
    invitation: Invitation,
    name: str | None,
    password: HashedPassword | None,
    subject: str | None,
    now: datetime,
    language: str,
    reserved: Collection[str],
) -> Account:
    if invitation.first:
        take_turn(connection, PEOPLE)
        if _admins(connection):
            raise unusable()
    # Of two that take it at once, the second waits here for the first and then finds the condition no longer true.
    wanted = (invitations.c.id == invitation.id) & _open(now)
    if not connection.execute(update(invitations).where(wanted).values(used=now)).rowcount:
        raise unusable()
    if invitation.account_id is not None:
        account = get(connection, invitation.account_id)
        if account.state == "closed" or password is None:
            raise unusable()
        change_password(connection, account.id, password, now)
    else:
        fixed = invitation.name is not None
        account = create_account(
            connection,
            invitation.name or name or "",
            invitation.role,
            invitation.group,
            now,
            password,
            subject,
            language,
            known_rater=fixed,
            reserved=() if fixed else reserved,
        )
        details = {"id": invitation.id, "role": account.role, "group": account.group, "by": invitation.created_by}
        audit.record(connection, account.name, "account.make", account.name, details, now)
    connection.execute(update(invitations).where(invitations.c.id == invitation.id).values(used_by=account.name))
    return account


def _insert(
    connection: Connection,
    role: Role,
    group: str,
    actor: Acting,
    now: datetime,
    days: float,
    name: str | None = None,
    account_id: str | None = None,
    email: str | None = None,
    note: str = "",
    first: bool = False,
) -> tuple[str, str]:
    if not 0 < days <= LONGEST_DAYS:
        raise DataError(
            "the end of the invitation",
            f"{shown(days)} days is no time it may hold.",
            f"Choose up to {LONGEST_DAYS:.0f}.",
        )
    if len(note) > _LONGEST_NOTE or (text_fault(note)):
        raise DataError("the note", f"it has more than {_LONGEST_NOTE:,} characters or an odd one.", "Shorten it.")
    secret, kept = new_secret(), new_id("i")
    connection.execute(
        insert(invitations).values(
            hash=hash_of(secret),
            id=kept,
            role=role,
            group_name=group,
            name=name,
            account_id=account_id,
            email=email,
            first=first,
            note=note,
            created_by=actor.name,
            created=now,
            expires=now + timedelta(days=days),
        )
    )
    return secret, kept


def _open(now: datetime) -> ColumnElement[bool]:
    table = invitations.c
    return table.used.is_(None) & table.revoked.is_(None) & (table.expires > now)


def _admins(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(accounts).where(accounts.c.role == "admin")) or 0


def _invitation(row: object) -> Invitation:
    values = {name: getattr(row, name) for name in Invitation.__dataclass_fields__ if name != "group"}
    return Invitation(group=row.group_name, **values)  # type: ignore[attr-defined]
