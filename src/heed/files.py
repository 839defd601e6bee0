"""Files that are there whole or not at all, and errors of the file system that a person can act on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heed.errors import ProjectError

_REASONS = {
    errno.ENOSPC: ("the disk is full.", "Free some space and repeat the command; it goes on where it stopped."),
    errno.EDQUOT: (
        "the disk quota is used up.",
        "Free some space and repeat the command; it goes on where it stopped.",
    ),
    errno.EROFS: ("the file system is read-only.", "Use a folder that you may write to."),
    errno.EACCES: ("this user may not write there.", "Change its permissions (chmod u+w) or use another folder."),
    errno.EPERM: ("this user may not write there.", "Change its permissions (chmod u+w) or use another folder."),
}


@contextmanager
def file_errors(place: str) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`~heed.errors.ProjectError` about ``place``."""
    try:
        yield
    except OSError as error:
        why, fix = _REASONS.get(
            error.errno or 0,
            (f"{(error.strerror or str(error)).lower()} ({error.filename}).", "Check the path and its permissions."),
        )
        raise ProjectError(place, why, fix) from error


def sync_folder(folder: Path) -> None:
    """Put a folder's own entries on the disk: without it a file just renamed may be gone after a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; a reader, or a crash, sees the old file or the new one and nothing between."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
