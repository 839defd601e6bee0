"""What leads and admins do to accounts: role, group, pause, close. Each change stands in the audit log."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from heed.errors import ConflictError, DataError, RefusedError
from heed.feedback import intake, leases
from heed.feedback.records import RaterRecord
from heed.feedback.showings import Rater
from heed.feedback.studio_schema import accounts, invitations
from heed.people import audit
from heed.people.accounts import ROLES, Account, Acting, Role, end_links, get, shut_out
from heed.people.locks import PEOPLE, take_turn
from heed.texts import shown

_LONGEST_REASON = 2000


def may_manage(actor: Acting, role: str) -> bool:
    """Whether ``actor`` may make, change and stop accounts of ``role``: admins all, leads those of raters."""
    return _role_manages(actor.role, role)


def _role_manages(own: str, role: str) -> bool:
    return own == "admin" or (own == "lead" and role == "rater")


def check_may_manage(actor: Acting, role: str) -> None:
    """Raises :class:`~heed.errors.RefusedError` unless :func:`may_manage`."""
    if not may_manage(actor, role):
        raise RefusedError(f"an account of role '{role}'", "yours may not change it.", "Ask an admin.")


def set_role(connection: Connection, account_id: str, role: Role, actor: Acting, now: datetime) -> Account:
    """Give an account another role; admins only.

    Raises:
        RefusedError: ``actor`` is no admin.
        ConflictError: it is the last active admin.
    """
    if actor.role != "admin":
        raise RefusedError("the role of an account", "only an admin may change it.", "Ask one.")
    if role not in ROLES:
        raise DataError(f"role {shown(role)}", "there is no such role.", f"Choose one of {', '.join(ROLES)}.")
    account = _for_change(connection, account_id, actor)
    if role != account.role:
        _check_admin_left(connection, account)
        _set(connection, account_id, role=role)
        audit.record(connection, actor.name, "account.role", account.name, {"from": account.role, "to": role}, now)
        _end_links_made_by(
            connection, account, [other for other in ROLES if not _role_manages(role, other)], actor, now
        )
    return get(connection, account_id)


def set_group(connection: Connection, account_id: str, group: str, actor: Acting, now: datetime) -> Account:
    """Put a rater into a group; empty for none."""
    account = _for_change(connection, account_id, actor)
    if group != account.group:
        intake.add_raters(connection, [RaterRecord(account.name, "human", group)])
        audit.record(connection, actor.name, "account.group", account.name, {"from": account.group, "to": group}, now)
    return get(connection, account_id)


def pause(connection: Connection, account_id: str, reason: str, actor: Acting, now: datetime) -> Account:
    """Let an account only read until it is resumed; its API tokens do nothing meanwhile, and what it held goes to others.

    Raises:
        ConflictError: it is the last active admin, or closed.
        RefusedError: ``actor`` may not.
    """
    return _stop(connection, account_id, "paused", reason, actor, now)


def close(connection: Connection, account_id: str, reason: str, actor: Acting, now: datetime) -> Account:
    """Close an account for good: no password, no sessions, no tokens, no links; what it did stays.

    Raises:
        ConflictError: it is the last active admin.
        RefusedError: ``actor`` may not.
    """
    account = _stop(connection, account_id, "closed", reason, actor, now)
    shut_out(connection, account_id, now)
    _set(connection, account_id, password_hash=None, subject=None)
    end_links(connection, invitations.c.account_id == account_id, now)
    _end_links_made_by(connection, account, ROLES, actor, now)
    return account


def resume(connection: Connection, account_id: str, actor: Acting, now: datetime) -> Account:
    """Let in again who was paused.

    Raises:
        ConflictError: the account is closed.
        RefusedError: ``actor`` may not.
    """
    account = _for_change(connection, account_id, actor)
    if account.state == "paused":
        _set(connection, account_id, state="active", state_reason="")
        audit.record(connection, actor.name, "account.resume", account.name, {}, now)
    return get(connection, account_id)


def _stop(connection: Connection, account_id: str, state: str, reason: str, actor: Acting, now: datetime) -> Account:
    reason = reason.strip()[:_LONGEST_REASON]
    account = _for_change(connection, account_id, actor)
    if account.state != state:
        _check_admin_left(connection, account)
        _set(connection, account_id, state=state, state_reason=reason)
        leases.release(connection, Rater(account.name, account.group), now)
        action = "account.pause" if state == "paused" else "account.close"
        audit.record(connection, actor.name, action, account.name, {"reason": reason}, now)
    return get(connection, account_id)


def _end_links_made_by(
    connection: Connection, account: Account, roles: Collection[Role], actor: Acting, now: datetime
) -> None:
    """End the open links that an account has made to ``roles``, which it may invite to no more: who was to be shut out may
    have kept one."""
    made = (invitations.c.created_by == account.name) & invitations.c.role.in_(roles)
    ended = end_links(connection, made, now)
    if ended:
        audit.record(
            connection, actor.name, "invitation.revoke", account.name, {"made_by": account.name, "ids": ended}, now
        )


def _for_change(connection: Connection, account_id: str, actor: Acting) -> Account:
    take_turn(connection, PEOPLE)
    account = get(connection, account_id)
    check_may_manage(actor, account.role)
    if account.state == "closed":
        raise ConflictError(f"account '{account.name}'", "it is closed.", "Invite the person anew, under another name.")
    return account


def _check_admin_left(connection: Connection, account: Account) -> None:
    if account.role != "admin" or account.state != "active":
        return
    others = (accounts.c.role == "admin") & (accounts.c.state == "active") & (accounts.c.id != account.id)
    if not connection.scalar(select(func.count()).select_from(accounts).where(others)):
        raise ConflictError(
            f"account '{account.name}'", "it is the last active admin.", "Make somebody else an admin first."
        )


def _set(connection: Connection, account_id: str, **values: Any) -> None:
    connection.execute(
        update(accounts).where(accounts.c.id == account_id).values(revision=accounts.c.revision + 1, **values)
    )
