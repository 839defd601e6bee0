"""The server's way to the database: off the event loop, and on SQLite many requests to one transaction.

SQLite lets one transaction write at a time and syncs the disk at its end. One thread therefore writes for all requests: it
takes what has come in meanwhile, does each piece of work inside its own savepoint, commits once and only then lets the
requests answer. What is acknowledged is on the disk, an error of one request leaves the others alone, and the cost of the
disk is shared. PostgreSQL does this by itself: there each request has a transaction of its own.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heed.feedback import database
from heed.feedback.store import Store

T = TypeVar("T")

_READERS = 4
_POSTGRES_WRITERS = 4
_PIECES_PER_TRANSACTION = 64
"""Above the number of raters who answer in the time of a commit; an import's pieces never wait behind more."""

Work = Callable[[Connection], T]


class Desk:
    """Reads and writes a store for the server.

    Args:
        store: of the project; the desk does not close it.

    Attributes:
        requests: pieces of work that requests have asked for so far (count); what threads submit is not among them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.requests = 0
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="heed-read")
        self._queue: queue.SimpleQueue[tuple[Work[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._writers: ThreadPoolExecutor | None = None
        if store.engine.dialect.name == "sqlite":
            self._writer = threading.Thread(target=self._write_for_all, name="heed-write", daemon=True)
            self._writer.start()
        else:
            self._writers = ThreadPoolExecutor(_POSTGRES_WRITERS, thread_name_prefix="heed-write")

    async def read(self, work: Work[T]) -> T:
        """Do ``work`` in a transaction that only reads."""
        return await asyncio.wrap_future(self._readers.submit(self._read, work))

    async def write(self, work: Work[T]) -> T:
        """Do ``work`` in a transaction; what it wrote is on the disk when this returns.

        The work may be done twice (see ``Store.write``), so it must not keep anything outside the database.
        """
        self.requests += 1
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Work[T]) -> Future[T]:
        """As :meth:`write`, for threads: the result comes with the future."""
        if self._writers is not None:
            return self._writers.submit(self.store.write, work)
        result: Future[T] = Future()
        self._queue.put((work, result))
        return result

    def close(self) -> None:
        """Finish what has been asked for, and stop the threads."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
        if self._writers is not None:
            self._writers.shutdown()
        self._readers.shutdown()

    def _read(self, work: Work[T]) -> T:
        with self.store.reading() as connection:
            return work(connection)

    def _write_for_all(self) -> None:
        while True:
            pieces = self._next_pieces()
            live = [piece for piece in pieces if piece is not None and piece[1].set_running_or_notify_cancel()]
            if len(live) == 1:
                self._write_one(*live[0])
            elif live:
                self._write_together(live)
            if None in pieces:
                return

    def _next_pieces(self) -> list[tuple[Work[Any], Future[Any]] | None]:
        pieces = [self._queue.get()]
        while pieces[-1] is not None and len(pieces) < _PIECES_PER_TRANSACTION:
            try:
                pieces.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return pieces

    def _write_one(self, work: Work[Any], result: Future[Any]) -> None:
        try:
            result.set_result(self.store.write(work))
        except BaseException as error:  # noqa: BLE001  whatever it is belongs to the request that asked
            result.set_exception(error)

    def _write_together(self, pieces: list[tuple[Work[Any], Future[Any]]]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], BaseException]] = []
        try:
            with database.writing(self.store.engine) as connection:
                for work, result in pieces:
                    try:
                        done.append((result, _in_savepoint(connection, work)))
                    except _TransactionLostError as lost:
                        raise lost.cause from None
                    except Exception as error:  # noqa: BLE001  as above
                        failed.append((result, error))
        except BaseException as fault:  # noqa: BLE001  the whole transaction failed: nobody's work is stored
            failed = [(result, fault) for _, result in pieces]
            done = []
        for result, value in done:
            result.set_result(value)
        for result, reason in failed:
            result.set_exception(reason)


class _TransactionLostError(Exception):
    """SQLite has taken back the whole transaction because of ``cause``, and with it the work of everybody in it."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


def _in_savepoint(connection: Connection, work: Work[T]) -> T:
    for last in (False, True):
        database.execute_plain(connection, "SAVEPOINT piece")
        try:
            value = work(connection)
        except BaseException as error:
            if not database.is_open(connection):
                # A savepoint set now would quietly begin another transaction.
                raise _TransactionLostError(error) from None
            database.execute_plain(connection, "ROLLBACK TO piece")
            database.execute_plain(connection, "RELEASE piece")
            if last or not isinstance(error, IntegrityError):
                raise
        else:
            database.execute_plain(connection, "RELEASE piece")
            return value
    raise AssertionError("unreachable: the second turn returns or raises")
