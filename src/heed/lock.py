"""One writing process at a time on a place: a lock of the operating system, which dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import time
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from heed.errors import ProjectError
from heed.files import file_errors

_PATIENCE_SECONDS = 0.5
"""A reader that asks who holds the lock holds it for an instant itself; a writer waits that out before it gives up."""

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


@dataclass(frozen=True)
class LockOwner:
    """The process that holds a lock: its id, host, start of the holding (UTC), and a token unique to this holding."""

    pid: int
    host: str
    since: str
    token: str


class FileLock:
    """A lock on the file at ``path``, taken as often as wanted by this object and given up as often.

    Args:
        path: the file; made where it is missing, in a folder that is there.
        place: what is locked, as errors call it: "project /home/ann/mine".
        instead: what to do where this very process holds the lock by another object.
    """

    def __init__(self, path: Path, place: str, instead: str) -> None:
        self.path, self.place, self.instead = path, place, instead
        self._descriptor: int | None = None
        self._depth = 0
        self._owner: LockOwner | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._owner is not None

    def acquire(self) -> LockOwner:
        """Take the lock, or take it once more.

        Raises:
            ProjectError: another process has it (named by its id), or the file cannot be written.
        """
        if self._owner is not None:
            self._depth += 1
            return self._owner
        descriptor = self._lock_file()
        owner = LockOwner(
            os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), uuid4().hex
        )
        try:
            with file_errors(self.place):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(vars(owner)).encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._owner, self._depth = descriptor, owner, 1
        _held.add(self)
        return owner

    def release(self, remove: bool = False) -> None:
        """Give up one taking; the last one frees the lock.

        Args:
            remove: with the last taking delete the file too. Whoever waits for it then locks a new one.
        """
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
            try:
                if remove:
                    with file_errors(self.place):
                        self.path.unlink(missing_ok=True)
            finally:
                self._let_go()

    def owner(self) -> LockOwner | None:
        """Who holds the lock now; None if nobody does, whatever a process that died left in the file."""
        if self._owner is not None:
            return self._owner
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_owner(descriptor)
        finally:
            os.close(descriptor)
        return None

    def _lock_file(self) -> int:
        """A descriptor of the file, locked."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with file_errors(self.place):
                # Never through a link, which may lead out of the place, and never waiting for a pipe's other end.
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ProjectError(self.place, f"{self.path} is no ordinary file.", "Delete it.")
                with file_errors(self.place):
                    self._wait_for(descriptor, deadline)
                    if _lies_at(descriptor, self.path):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            # Its holder deleted it on giving it up: the lock of a file without a name keeps nobody out.
            os.close(descriptor)

    def _wait_for(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._taken(_read_owner(descriptor)) from None
                time.sleep(0.02)

    def _taken(self, owner: LockOwner) -> ProjectError:
        if owner.pid == os.getpid() and owner.host == socket.gethostname():
            return ProjectError(self.place, "this very process is writing to it already.", self.instead)
        if owner.pid == 0:
            return ProjectError(self.place, "another process has just begun to write to it.", "Wait for it to end.")
        return ProjectError(
            self.place,
            f"process {owner.pid} on {owner.host} has been writing to it since {owner.since}.",
            f"Wait for it to end, or stop it with: kill -INT {owner.pid}",
        )

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._owner, self._depth = None, None, 0
        _held.discard(self)


def _lies_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read_owner(descriptor: int) -> LockOwner:
    try:
        return LockOwner(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        # Read between its taking and its writing.
        return LockOwner(0, "an unknown host", "just now", "")


def _forget_in_child() -> None:
    # A forked worker shares its parent's lock: kept open there, it would outlive a parent that was killed.
    for lock in list(_held):
        lock._let_go()


os.register_at_fork(after_in_child=_forget_in_child)
