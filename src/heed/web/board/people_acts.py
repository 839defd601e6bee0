"""What leads and admins do about people, by plain forms. Each is in the audit log."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Form
from pydantic import AfterValidator, Field
from starlette.responses import HTMLResponse, Response

from heed.feedback.kinds import Text
from heed.people import exclusions, invitations, managing, qualification
from heed.people.accounts import Role
from heed.statistics import Record
from heed.web.board.common import Body, board_page, numbers, storable
from heed.web.board.words import address_of_person
from heed.web.call import Call, Called

Id = Annotated[str, Form(max_length=17), AfterValidator(storable)]
Name = Annotated[str, Form(max_length=255), AfterValidator(storable)]
Reason = Annotated[str, Form(max_length=2000), AfterValidator(storable)]


def _back(call: Call, name: str, done: str) -> Response:
    return call.redirect(address_of_person(name, done=done))


async def pause(call: Called, account: Id, reason: Reason = "") -> Response:
    """Let somebody in no more for now."""
    changed = await call.write(lambda c: managing.pause(c, account, reason, call.account, call.now))
    return _back(call, changed.name, "paused")


async def resume(call: Called, account: Id) -> Response:
    """Let somebody in again."""
    changed = await call.write(lambda c: managing.resume(c, account, call.account, call.now))
    return _back(call, changed.name, "resumed")


async def group(call: Called, account: Id, group: Name = "") -> Response:
    """Put somebody into a group."""
    changed = await call.write(lambda c: managing.set_group(c, account, group.strip(), call.account, call.now))
    return _back(call, changed.name, "group")


async def role(call: Called, account: Id, role: Annotated[Role, Form()]) -> Response:
    """Give somebody another role."""
    changed = await call.write(lambda c: managing.set_role(c, account, role, call.account, call.now))
    return _back(call, changed.name, "role")


async def exclude(call: Called, name: Name, reason: Reason = "") -> Response:
    """Leave somebody's judgments out of training."""
    await call.write(lambda c: exclusions.exclude(c, name, reason, call.account.name, call.now))
    return _back(call, name, "excluded")


async def include(call: Called, name: Name, reason: Reason = "") -> Response:
    """Learn from somebody's judgments again."""
    await call.write(lambda c: exclusions.include(c, name, reason, call.account.name, call.now))
    return _back(call, name, "included")


async def grant(call: Called, name: Name, question: Id) -> Response:
    """Let somebody work without the test of a question, or in spite of it."""
    await call.write(lambda c: qualification.grant(c, name, question, call.account, call.now))
    return _back(call, name, "granted")


async def invite(
    call: Called,
    role: Annotated[Role, Form()] = "rater",
    group: Name = "",
    name: Name = "",
    note: Reason = "",
    days: Annotated[float, Form(gt=0, le=invitations.LONGEST_DAYS)] = invitations.DAYS,
) -> HTMLResponse:
    """Make an invitation and show its link, this once."""
    secret = await call.write(
        lambda c: invitations.invite(
            c, role, group.strip(), name.strip() or None, note, call.account, call.now, days=days
        )
    )
    return await _link(call, secret, "invited", name.strip())


async def revoke(call: Called, invitation: Id) -> Response:
    """Let nobody in by an invitation any more."""
    await call.write(lambda c: invitations.revoke(c, invitation, call.account, call.now))
    return call.redirect("/board/people?done=revoked")


async def reset(call: Called, account: Id, name: Name = "") -> HTMLResponse:
    """Make a link by which somebody sets a new password, and show it, this once."""
    secret = await call.write(lambda c: invitations.reset_link(c, account, call.account, call.now))
    return await _link(call, secret, "reset", name)


async def _link(call: Call, secret: str, kind: Literal["invited", "reset"], name: str) -> HTMLResponse:
    address = f"{call.base_url}/invitation/{secret}"
    return await board_page(call, "link", "people", address=address, kind=kind, whom=name)


# The same as JSON


class ExclusionBody(Body):
    """Why somebody is left out of training, or taken in again."""

    name: Text = Field(min_length=1, max_length=255)
    excluded: bool
    reason: Text = Field(min_length=1, max_length=2000)


class ExclusionState(Record):
    """Whether somebody is left out of training now."""

    name: str
    excluded: bool


async def decide(call: Called, body: ExclusionBody) -> Response:
    """Leave somebody's judgments out of training, or take them in again; both with a reason, and reversible."""
    act: Any = exclusions.exclude if body.excluded else exclusions.include

    def work(connection: Any) -> ExclusionState:
        act(connection, body.name, body.reason, call.account.name, call.now)
        return ExclusionState(name=body.name, excluded=body.excluded)

    done = await call.reply(work)
    await numbers(call, fresh=True)
    return done
