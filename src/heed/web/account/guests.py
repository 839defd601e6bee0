"""Links that let somebody in once: to make an account, or to set a new password."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Form, Path
from sqlalchemy import Connection
from starlette.responses import Response

from heed.errors import ConflictError, DataError, MissingError
from heed.people import accounts, invitations, limits
from heed.people.invitations import Invitation
from heed.people.limits import INVITATION_ADDRESS, bucket_name
from heed.people.passwords import LONGEST_BYTES, SHORTEST, HashedPassword, hash_password, password_fault
from heed.web.account.entry import begin_session
from heed.web.account.known_browser import remember
from heed.web.account.models import Given, Name, Password
from heed.web.account.replies import set_session
from heed.web.call import Call, Called

Secret = Annotated[str, Path(max_length=200)]


class Accepted(Given):
    """The form of an invitation."""

    name: Name = ""
    password: Password


async def invitation_page(call: Called, secret: Secret) -> Response:
    """The page of an invitation or of a link to set a password."""
    found = await _found(call, secret)
    return _unusable(call) if found is None else _page(call, found)


async def accept(call: Called, secret: Secret, form: Annotated[Accepted, Form()]) -> Response:
    """Take an invitation, or set a new password; whoever did is signed in."""
    found = await _found(call, secret)
    if found is None:
        return _unusable(call)
    name = found.name or form.name
    if fault := password_fault(form.password, name):
        return _page(call, found, 422, password_error=fault, name=form.name)
    password = await asyncio.to_thread(hash_password, form.password, name)
    try:
        session, account_id = await call.write(lambda connection: _take(connection, call, secret, name, password))
    except MissingError:
        return _unusable(call)
    except ConflictError:
        return _page(call, found, 409, name_error="taken", name=form.name)
    except DataError:
        return _page(call, found, 422, name_error="odd", name=form.name)
    response = call.redirect("/")
    set_session(call, response, session)
    await remember(call, response, (account_id, password.text))
    return response


def _take(connection: Connection, call: Call, secret: str, name: str, password: HashedPassword) -> tuple[str, str]:
    """The secret of a new session, and the id of the account that it is of."""
    settings = call.project.settings.raters
    simulated = [rater.name for rater in (*settings.simulated, *settings.held_out)]
    account = invitations.accept(connection, secret, name, password, call.now, call.language, simulated)
    return begin_session(connection, call, account.id), account.id


async def _found(call: Call, secret: str) -> Invitation | None:
    """The invitation; None where the link opens nothing. Such tries are counted, and refused where there are too many.

    Raises:
        LimitError: too many links from this address opened nothing.
    """

    def look_up(connection: Connection) -> Invitation | None:
        found = invitations.look_up(connection, secret, call.now)
        if found is not None and found.account_id is not None:
            return None if accounts.get(connection, found.account_id).state == "closed" else found
        return found

    found = await call.read(look_up)
    if found is None:
        limit, bucket = INVITATION_ADDRESS, bucket_name("invitation address", call.client)
        await call.write(lambda connection: limits.take(connection, bucket, limit.capacity, limit.per_second, call.now))
    return found


def _page(
    call: Call, found: Invitation, status: int = 200, name_error: str = "", password_error: str = "", name: str = ""
) -> Response:
    return call.page(
        "account/invitation.html",
        status,
        invitation=found,
        name=name,
        name_error=name_error,
        password_error=password_error,
        shortest=SHORTEST,
        longest=LONGEST_BYTES,
    )


def _unusable(call: Call) -> Response:
    return call.page("account/no_invitation.html", 404)
