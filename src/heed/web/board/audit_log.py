"""The audit log: who changed what, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import HTMLResponse, JSONResponse

from heed.feedback import asked
from heed.people import audit
from heed.statistics import Record
from heed.web.board.common import PAGE_SIZE, Before, Choice, Limit, board_page
from heed.web.board.items import as_json
from heed.web.board.words import Words
from heed.web.call import Call, Called
from heed.web.language import catalogue


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


class AuditWords:
    """Says entries of the log in the reader's language. The page has it as ``told``."""

    def __init__(self, call: Call, say: Words) -> None:
        self._texts = catalogue(call.language)
        self._say = say

    @property
    def actions(self) -> list[tuple[str, str]]:
        """(code, words) of every kind of entry, by their words."""
        start = "board.action."
        found = [(key.removeprefix(start), text) for key, text in self._texts.items() if key.startswith(start)]
        return sorted(found, key=lambda one: one[1])

    def subject(self, subject: str) -> str:
        """What an entry is about: a question by its name."""
        return self._say.question(subject)

    def details(self, details: Mapping[str, Any]) -> list[tuple[str, str | datetime]]:
        """What an entry says beside, in words; what is empty is left out."""
        given = {key: value for key, value in details.items() if value not in (None, "", [], {})}
        return [
            (self._texts.get(f"board.audit_key.{key}", key), self._value(key, value)) for key, value in given.items()
        ]

    def _value(self, key: str, value: Any) -> str | datetime:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return self._say.text("answer.between").join(value)
        if not isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        if key == "expires":
            with suppress(ValueError):
                return datetime.fromisoformat(value)
        if key in ("question", "question_id"):
            return self._say.question(value)
        rooms = {"role": ("role_name",), "state": ("question_state",), "purpose": ("purpose",)}.get(key, ())
        return next(
            (self._texts[f"board.{room}.{value}"] for room in rooms if f"board.{room}.{value}" in self._texts), value
        )


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
    say = Words(call, await call.read(asked.questions_asked))
    return await board_page(
        call,
        "audit",
        "audit",
        say=say,
        told=AuditWords(call, say),
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
