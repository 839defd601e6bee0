"""What a job may use while it is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from heed.project import Project
from heed.web.exchange import jobs
from heed.web.exchange.files import ExchangeFolder
from heed.web.exchange.jobs import Job


class StoppingError(Exception):
    """The process is to end; the job waits for the next one."""


@dataclass
class Work:
    """One job in the hands of one process.

    Attributes:
        job: as it was when it was taken.
        project: whose.
        folder: where its file lies.
        owner: name of this process.
        submit: does work in a transaction, in turn with everybody else's, and returns when it is on the disk.
        clock: the time (UTC).
        stopping: set when the process is to end.
        requests: how often requests have asked for a transaction so far (count): whether anybody waits.
    """

    job: Job
    project: Project
    folder: ExchangeFolder
    owner: str
    submit: Callable[[Callable[[Connection], Any]], Any]
    clock: Callable[[], datetime]
    stopping: threading.Event
    requests: Callable[[], int]

    def step(self, work: Callable[[Connection], dict[str, Any]]) -> dict[str, Any]:
        """Do ``work`` and note what it returns (``done``, ``total``, ``report``) in the job, in one transaction.

        Raises:
            JobLostError: the job is no longer ours; nothing was done. StoppingError: the process is to end.
        """
        if self.stopping.is_set():
            raise StoppingError

        def both(connection: Connection) -> dict[str, Any]:
            values = work(connection)
            jobs.advance(connection, self.job.id, self.owner, self.clock(), **values)
            return values

        values: dict[str, Any] = self.submit(both)
        return values

    def note(self, **values: Any) -> None:
        """Note how far the job is."""
        self.step(lambda connection: values)
