"""Imports and exports as rows of the table ``jobs``: who asked, how far it is, what came of it.

A job belongs to the process that writes its heartbeat. Where that stops, another process takes the job over and goes on
behind the rows that are done: these are counted in the transaction that does them.
"""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from heed.errors import ConflictError, MissingError
from heed.feedback.studio_schema import jobs
from heed.people import audit

JobKind = Literal["import_items", "import_feedback", "export_feedback", "export_answers"]
JobState = Literal["waiting", "running", "done", "failed", "stopped"]

SILENT = timedelta(seconds=20)
"""A job whose process has said nothing for so long is taken over."""


class JobLostError(Exception):
    """The job was stopped, or another process has taken it over: this one has to let go."""


@dataclass(frozen=True)
class Job:
    """One import or export.

    Attributes:
        id: of the job.
        kind: what it does.
        state: how it stands.
        actor: who asked for it.
        parameters: of what and how.
        done: rows behind which it goes on.
        total: rows there are in all; None while that is not known.
        report: what has come of it so far.
        error: why it failed.
        created: when it was asked for (UTC).
        ended: when it ended (UTC).
    """

    id: str
    kind: JobKind
    state: JobState
    actor: str
    parameters: dict[str, Any]
    done: int
    total: int | None
    report: dict[str, Any]
    error: str
    created: datetime
    ended: datetime | None


def new_id() -> str:
    """The id of a job to be, under which its file can be put aside before there is a job."""
    return "j" + secrets.token_hex(8)


def create(
    connection: Connection,
    job_id: str,
    kind: JobKind,
    parameters: Mapping[str, Any],
    actor: str,
    now: datetime,
    total: int | None = None,
) -> Job:
    """Ask for a job; some process begins with it at once."""
    connection.execute(
        insert(jobs).values(
            id=job_id,
            kind=kind,
            state="waiting",
            actor=actor,
            parameters=dict(parameters),
            done=0,
            total=total,
            report={},
            error="",
            owner="",
            heartbeat=now,
            created=now,
        )
    )
    audit.record(connection, actor, f"{kind}.begin", job_id, dict(parameters), now)
    return get(connection, job_id)


def begin_stream(
    connection: Connection, job_id: str, kind: JobKind, parameters: Mapping[str, Any], actor: str, now: datetime
) -> None:
    """Note that an export is sent while it is made. It is no job yet: nothing is left of it where it is cut off."""
    audit.record(connection, actor, f"{kind}.begin", job_id, _streamed(parameters), now)


def end_stream(
    connection: Connection,
    job_id: str,
    kind: JobKind,
    parameters: Mapping[str, Any],
    actor: str,
    begun: datetime,
    now: datetime,
    report: Mapping[str, Any],
) -> None:
    """Keep what came of an export that was sent while it was made, as a job that is done and has no file."""
    connection.execute(
        insert(jobs).values(
            id=job_id,
            kind=kind,
            state="done",
            actor=actor,
            parameters=_streamed(parameters),
            done=report["written"],
            total=None,
            report=dict(report),
            error="",
            owner="",
            heartbeat=now,
            created=begun,
            ended=now,
        )
    )


def _streamed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {**parameters, "streamed": True}


def get(connection: Connection, job_id: str) -> Job:
    """The job of this id.

    Raises:
        MissingError: there is none.
    """
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise MissingError(f"job {job_id[:40]}", "there is none of this id.", "See the list of imports and exports.")
    return _job(row)


def recent(connection: Connection, limit: int = 50) -> list[Job]:
    """The newest jobs first."""
    return [_job(row) for row in connection.execute(select(jobs).order_by(jobs.c.number.desc()).limit(limit))]


def stop(connection: Connection, job_id: str, actor: str, now: datetime) -> Job:
    """Let a job rest; what it has done stays done.

    Raises:
        MissingError: there is none. ConflictError: it has ended.
    """
    job = get(connection, job_id)
    live = and_(jobs.c.id == job_id, jobs.c.state.in_(("waiting", "running")))
    if not connection.execute(update(jobs).where(live).values(state="stopped", owner="", ended=now)).rowcount:
        raise ConflictError(f"job {job_id}", f"it is {job.state} already.", "Look at it again.")
    audit.record(connection, actor, f"{job.kind}.stop", job_id, {"done": job.done}, now)
    return get(connection, job_id)


def resume(connection: Connection, job_id: str, actor: str, now: datetime) -> Job:
    """Let a stopped or failed job go on where it was.

    Raises:
        MissingError: there is none. ConflictError: it is under way, or done.
    """
    job = get(connection, job_id)
    resting = and_(jobs.c.id == job_id, jobs.c.state.in_(("stopped", "failed")))
    values = {"state": "waiting", "owner": "", "error": "", "ended": None}
    if not connection.execute(update(jobs).where(resting).values(values)).rowcount:
        raise ConflictError(f"job {job_id}", f"it is {job.state}.", "Only what was stopped or has failed can go on.")
    audit.record(connection, actor, f"{job.kind}.resume", job_id, {"done": job.done}, now)
    return get(connection, job_id)


# For the process that works on it


def any_free(connection: Connection, now: datetime, silent: timedelta = SILENT) -> bool:
    """Whether there is a job that nobody works on."""
    return connection.scalar(select(jobs.c.id).where(_free(now, silent)).limit(1)) is not None


def claim(connection: Connection, owner: str, now: datetime, silent: timedelta = SILENT) -> Job | None:
    """Take the oldest job that nobody works on, if there is one.

    Args:
        connection: a transaction that writes.
        owner: a name that only this process has.
        now: the time (UTC).
        silent: after how long without a word its process counts as gone.
    """
    free = select(jobs.c.id).where(_free(now, silent)).order_by(jobs.c.number).limit(1)
    job_id = connection.scalar(free.with_for_update(skip_locked=True))
    if job_id is None:
        return None
    values = {"state": "running", "owner": owner, "heartbeat": now}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
    return get(connection, job_id)


def _free(now: datetime, silent: timedelta) -> ColumnElement[bool]:
    return or_(jobs.c.state == "waiting", and_(jobs.c.state == "running", jobs.c.heartbeat < now - silent))


def take_from_dead(connection: Connection) -> None:
    """Free the jobs of processes of this machine that are no more, without waiting until they have been silent for long."""
    for row in connection.execute(select(jobs.c.id, jobs.c.owner).where(jobs.c.state == "running")).all():
        if _is_dead(row.owner):
            mine = and_(jobs.c.id == row.id, jobs.c.owner == row.owner, jobs.c.state == "running")
            connection.execute(update(jobs).where(mine).values(state="waiting", owner=""))


def owner_name() -> str:
    """A name for this process that no other one has: machine, process id, chance."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(8)}"


def _machine() -> str:
    return f"{uuid.getnode():012x}"


def _is_dead(owner: str) -> bool:
    machine, _, rest = owner.partition("-")
    process = rest.partition("-")[0]
    if machine != _machine() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # somebody else's process has the number now
    return False


def advance(connection: Connection, job_id: str, owner: str, now: datetime, **values: Any) -> None:
    """Note how far a job is (``done``, ``total``, ``report``), in the transaction that does it.

    Raises:
        JobLostError: it is no longer this process's.
    """
    mine = and_(jobs.c.id == job_id, jobs.c.state == "running", jobs.c.owner == owner)
    if not connection.execute(update(jobs).where(mine).values(heartbeat=now, **values)).rowcount:
        raise JobLostError(job_id)


def as_noted(connection: Connection, job_id: str, owner: str) -> Job:
    """A job as it stands, to go on with where the last transaction got lost, whether that was stored or not.

    Raises:
        JobLostError: it is no longer this process's.
    """
    mine = and_(jobs.c.id == job_id, jobs.c.state == "running", jobs.c.owner == owner)
    row = connection.execute(select(jobs).where(mine)).first()
    if row is None:
        raise JobLostError(job_id)
    return _job(row)


def end(connection: Connection, job_id: str, owner: str, now: datetime, error: str = "", **values: Any) -> None:
    """Note that a job is done, or why it failed.

    Raises:
        JobLostError: it is no longer this process's.
    """
    advance(connection, job_id, owner, now, state="failed" if error else "done", error=error, ended=now, **values)


def give_back(connection: Connection, owner: str) -> None:
    """Let other processes go on at once with what this one, which is about to end, has begun."""
    mine = and_(jobs.c.state == "running", jobs.c.owner == owner)
    connection.execute(update(jobs).where(mine).values(state="waiting", owner=""))


def _job(row: Any) -> Job:
    return Job(
        row.id,
        row.kind,
        row.state,
        row.actor,
        row.parameters,
        row.done,
        row.total,
        row.report,
        row.error,
        row.created,
        row.ended,
    )
