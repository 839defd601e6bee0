"""The audit log: who changed what, and whether it is whole."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.responses import HTMLResponse, JSONResponse

from heed.people import audit
from heed.statistics import Record
from heed.web.board.common import PAGE_SIZE, Before, Choice, Limit, board_page
from heed.web.board.items import as_json
from heed.web.call import Call, Called


class AuditEntries(Record):
    """Entries, the newest first; ``next`` is the ``before`` of the page that follows."""

    entries: tuple[dict[str, Any], ...]
    next: int | None


class AuditFault(Record):
    """What does not fit, and at which entry; 0 where none is left to point at."""

    number: int
    reason: str


class AuditCheck(Record):
    """Whether the chain of entries is whole."""

    whole: bool
    entries: int
    hash: str
    faults: tuple[AuditFault, ...]


async def check_log(call: Call) -> AuditCheck:
    """Walk the whole chain, and look for what has vanished."""
    head, faults = await call.read(lambda connection: audit.check(connection, call.project.folder))
    found = tuple(AuditFault(number=fault.number, reason=fault.reason) for fault in faults)
    return AuditCheck(whole=not found, entries=head.entries, hash=head.hash, faults=found)


async def audit_page(
    call: Called,
    actor: Choice = None,
    action: Choice = None,
    subject: Choice = None,
    before: Before = None,
    verify: Annotated[bool, Query()] = False,
) -> HTMLResponse:
    """Entries, the newest first, and on demand whether the log is whole."""
    found = await call.read(lambda connection: audit.entries(connection, before, PAGE_SIZE + 1, action, subject, actor))
    return await board_page(
        call,
        "audit",
        "audit",
        found=found[:PAGE_SIZE],
        older=found[PAGE_SIZE - 1].number if len(found) > PAGE_SIZE else None,
        before=before,
        wanted={"actor": actor, "action": action, "subject": subject},
        checked=await check_log(call) if verify else None,
    )


async def audit_entries(
    call: Called,
    actor: Choice = None,
    action: Choice = None,
    subject: Choice = None,
    before: Before = None,
    limit: Limit = PAGE_SIZE,
) -> JSONResponse:
    """Entries of the audit log, the newest first."""
    found = await call.read(lambda connection: audit.entries(connection, before, limit, action, subject, actor))
    following = found[-1].number if len(found) == limit else None
    made = AuditEntries(entries=tuple(as_json(one) for one in found), next=following)
    return JSONResponse(made.model_dump(mode="json"))


async def audit_check(call: Called) -> JSONResponse:
    """Walk the whole chain of hashes and say what does not fit."""
    return JSONResponse((await check_log(call)).model_dump(mode="json"))
