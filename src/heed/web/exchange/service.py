"""Works beside the requests: jobs one after the other, and webhooks."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heed.errors import HeedError, ProjectError, UnreachableError
from heed.web.call import Studio
from heed.web.errors import told
from heed.web.exchange import jobs
from heed.web.exchange.files import ExchangeFolder
from heed.web.exchange.jobs import Job, JobLostError
from heed.web.exchange.work import StoppingError, Work

_log = logging.getLogger("heed.web.exchange")

_LOOK_SECONDS = 1.0
_CLEAN_SECONDS = 3600.0
_JOIN_SECONDS = 30.0
_BEAT_SECONDS = jobs.SILENT.total_seconds() / 4
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0)
"""Seconds that a job waits for a database that cannot be reached, one after the other: longer than one takes to start anew."""


@asynccontextmanager
async def exchange_service(studio: Studio) -> AsyncIterator[None]:
    """Run jobs, and webhooks where heed.yaml allows them, until the server ends."""
    workers: list[_Worker] = [JobWorker(studio)]
    if studio.project.settings.serve.webhooks:
        workers.append(WebhookWorker(studio))
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            await asyncio.to_thread(worker.finish)


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class _Worker:
    """A thread that looks for something to do, does it and looks again, whatever goes wrong meanwhile.

    Args:
        studio: of the server.
        asked: set to have it look at once.
    """

    name = "heed-worker"

    def __init__(self, studio: Studio, asked: threading.Event | None = None) -> None:
        self.studio = studio
        self.stopping = threading.Event()
        self._asked = asked or threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Have it let go as soon as it can."""
        self.stopping.set()
        self._asked.set()

    def finish(self) -> None:
        """Wait until it has let go, after :meth:`stop`."""
        self._thread.join(_JOIN_SECONDS)

    def write(self, work: Callable[[Any], Any]) -> Any:
        """Do ``work`` in a transaction, in turn with the requests."""
        return self.studio.desk.submit(work).result()

    def look(self) -> bool:
        """Do what there is to do; whether there may be more at once."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self.stopping.is_set():
            self._asked.clear()  # before it looks: what is asked for meanwhile sets it again
            try:
                more = self.look()
            except HeedError as error:  # the database is away for a while: that passes, or who runs the server mends it
                _log.warning("%s: %s", self.name, error)
                more = False
            except Exception:  # noqa: BLE001  a fault of one look must not end all that come after it
                _log.exception("%s", self.name)
                more = False
            if not more and not self.stopping.is_set():  # which may have been set before the clearing
                self._asked.wait(_LOOK_SECONDS)


class JobWorker(_Worker):
    """Works on the jobs of a project.

    Args:
        studio: of the server.
        silent: after how long without a word another process's job is taken over.
    """

    name = "heed-jobs"

    def __init__(self, studio: Studio, silent: timedelta = jobs.SILENT) -> None:
        super().__init__(studio, studio.jobs_asked)
        self.owner = jobs.owner_name()
        self.folder = ExchangeFolder(studio.project.folder)
        self._silent = silent
        self._cleaned = -_CLEAN_SECONDS

    def look(self) -> bool:
        """Do one job, if there is one."""
        if time.monotonic() - self._cleaned > _CLEAN_SECONDS:
            self.folder.remove_old()
            self.write(jobs.take_from_dead)
            self._cleaned = time.monotonic()
        # Reading first: an idle server writes nothing.
        with self.studio.project.store.reading() as connection:
            if not jobs.any_free(connection, utc_now(), self._silent):
                return False
        job = self.write(lambda connection: jobs.claim(connection, self.owner, utc_now(), self._silent))
        if job is not None:
            self._do(job)
        return job is not None

    def _do(self, job: Job) -> None:
        desk = self.studio.desk
        work = Work(
            job, self.studio.project, self.folder, self.owner, self.write, utc_now, self.stopping, lambda: desk.requests
        )
        ended = threading.Event()
        threading.Thread(target=_beat, args=(work, ended), name="heed-heartbeat", daemon=True).start()
        try:
            self._go_through(work)
        except JobLostError:
            return
        except StoppingError:
            self.write(lambda connection: jobs.give_back(connection, self.owner))
        except HeedError as error:
            self._fail(job, _told(error, job, self.studio.project.folder))
        except Exception:  # noqa: BLE001  it stands in the log, and the job says so
            number = secrets.token_hex(4)
            _log.exception("fault %s in job %s", number, job.id)
            self._fail(job, f"something went wrong inside (fault {number}).")
        finally:
            ended.set()

    def _go_through(self, work: Work) -> None:
        """Do a job. Where the database cannot be reached, it goes on behind the last rows noted there when it can be again.

        Raises:
            UnreachableError: it could not, after all of ``_PAUSES`` without a row more.
        """
        # What reads and writes files is loaded with the first job: the start of a server does not wait for it.
        from heed.web.exchange.exports import run_export
        from heed.web.exchange.imports import run_import

        run = run_import if work.job.kind.startswith("import") else run_export
        furthest, tries = _how_far(work.job), 0
        while True:
            try:
                if tries:
                    work = self._as_noted(work)
                if _how_far(work.job) > furthest:
                    furthest, tries = _how_far(work.job), 0
                run(work)
                return
            except UnreachableError as error:
                if tries == len(_PAUSES):
                    raise
                pause, tries = _PAUSES[tries], tries + 1
                _log.warning("job %s waits %g s and goes on: %s", work.job.id, pause, error)
                if self.stopping.wait(pause):
                    raise StoppingError from None

    def _as_noted(self, work: Work) -> Work:
        with self.studio.project.store.reading() as connection:
            return replace(work, job=jobs.as_noted(connection, work.job.id, self.owner))

    def _fail(self, job: Job, why: str) -> None:
        try:
            self.write(lambda connection: jobs.end(connection, job.id, self.owner, utc_now(), error=why))
        except JobLostError:
            return


def _how_far(job: Job) -> int:
    """What grows as a job goes on: rows that are done, and row numbers of an export that leaves all of a page out."""
    return job.done + int(job.report.get("after", 0))


def _told(error: HeedError, job: Job, folder: Path) -> str:
    """Why a job has failed, as the people of the project may read it: without places of the server."""
    said = told(error)
    if isinstance(said, ProjectError):
        fix = "Go on with the import when that is mended."
        if job.kind.startswith("export"):
            fix = "Go on with the export when that is mended."
        said = ProjectError(said.what, said.why, fix)
    return str(said).replace(f"{folder}{os.sep}", "").replace(str(folder), "the project's folder")


def _beat(work: Work, ended: threading.Event) -> None:
    """Say that the job is in hands, however long one of its steps takes."""
    while not ended.wait(_BEAT_SECONDS):
        try:
            work.note()
        except UnreachableError:
            continue  # its own thread tries again, and needs a beat then
        except (JobLostError, StoppingError, HeedError):
            return  # its own thread learns the same, and knows what to do


class WebhookWorker(_Worker):
    """Tells webhooks what has happened."""

    name = "heed-webhooks"

    def look(self) -> bool:
        """Owe what is new, send what is due."""
        from heed.web.exchange import events
        from heed.web.exchange.delivery import deliver_due

        hosts = self.studio.project.settings.serve.webhook_hosts
        with self.studio.project.store.reading() as connection:
            if not events.anything_new(connection, utc_now()):
                return False
        seen = self.write(lambda connection: events.collect(connection, utc_now()))
        sent = deliver_due(self.write, hosts, utc_now, self.stopping)
        return bool(seen or sent)
