"""Others over HTTP: accounts and invitations, for leads and admins."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.responses import Response

from heed.people import accounts, invitations, managing
from heed.web.account.models import (
    Done,
    InvitationAsked,
    InvitationList,
    InvitationShown,
    LinkMade,
    PersonChanged,
    PersonList,
    PersonShown,
    Why,
)
from heed.web.account.replies import invitation_link, reply_with_secret
from heed.web.call import Called


async def people(call: Called) -> PersonList:
    """All accounts."""
    found = await call.read(accounts.everybody)
    return PersonList(people=[PersonShown.of(account) for account in found])


async def change_person(call: Called, account_id: str, given: PersonChanged) -> Response:
    """Change the role (admins only) or the group of an account."""

    def work(connection: Connection) -> PersonShown:
        account = accounts.get(connection, account_id)
        if given.role is not None:
            account = managing.set_role(connection, account_id, given.role, call.account, call.now)
        if given.group is not None:
            account = managing.set_group(connection, account_id, given.group, call.account, call.now)
        return PersonShown.of(account)

    return await call.reply(work)


async def pause_person(call: Called, account_id: str, given: Why) -> Response:
    """Let an account only read until it is resumed."""
    return await call.reply(
        lambda connection: PersonShown.of(managing.pause(connection, account_id, given.reason, call.account, call.now))
    )


async def resume_person(call: Called, account_id: str) -> Response:
    """Let in again who was paused."""
    return await call.reply(
        lambda connection: PersonShown.of(managing.resume(connection, account_id, call.account, call.now))
    )


async def close_person(call: Called, account_id: str, given: Why) -> Response:
    """Close an account for good; what it did stays."""
    return await call.reply(
        lambda connection: PersonShown.of(managing.close(connection, account_id, given.reason, call.account, call.now))
    )


async def make_reset_link(call: Called, account_id: str) -> Response:
    """Make a link by which the owner of an account sets a new password; the answer holds it, this once."""

    def work(connection: Connection) -> tuple[LinkMade, str]:
        secret = invitations.reset_link(connection, account_id, call.account, call.now)
        return LinkMade(), invitation_link(call, secret)

    return await reply_with_secret(call, work, "link")


async def list_invitations(call: Called) -> InvitationList:
    """Invitations that can still be taken."""
    found = await call.read(lambda connection: invitations.invitations_made(connection, call.now))
    return InvitationList(invitations=[InvitationShown.of(invitation) for invitation in found])


async def invite(call: Called, given: InvitationAsked) -> Response:
    """Invite somebody; the answer holds the link, this once."""

    def work(connection: Connection) -> tuple[LinkMade, str]:
        secret = invitations.invite(
            connection,
            given.role,
            given.group,
            given.name,
            given.note,
            call.account,
            call.now,
            given.days,
            given.email,
        )
        return LinkMade(), invitation_link(call, secret)

    return await reply_with_secret(call, work, "link")


async def revoke_invitation(call: Called, invitation_id: str) -> Response:
    """End an invitation that nobody has taken."""

    def work(connection: Connection) -> Done:
        invitations.revoke(connection, invitation_id, call.account, call.now)
        return Done()

    return await call.reply(work)
