"""Files that are there whole or not at all, and errors of the file system that a person can act on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from heed.errors import DataError, ProjectError

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
_ENTRIES_SHOWN = 3


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


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """What the block writes takes the place of ``path`` at its end; a reader, or a crash, sees the old file or the new."""
    partial = path.with_name(f".{path.name[:40]}.{os.getpid()}.partial")  # a long name has no room for more
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content``; a reader, or a crash, sees the old file or the new one and nothing between."""
    with _replacing(path) as stream:
        stream.write(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8; a reader, or a crash, sees the old file or the new one and nothing between."""
    write_bytes(path, text.encode("utf-8"))


def copy_file(source: Path, path: Path) -> None:
    """Copy the content of ``source``; a reader, or a crash, sees the old file or the whole copy and nothing between.

    Raises:
        DataError: ``source`` is a pipe or a device, which can be read only once and has been read by now.
    """
    if not source.is_file():
        raise DataError(f"cannot copy {source}", "it is no ordinary file.", "Save it to a file and name that.")
    with source.open("rb") as original, _replacing(path) as copy:
        shutil.copyfileobj(original, copy)


def remove_partial(folder: Path) -> None:
    """Delete what killed processes left of files that they were writing into ``folder``, where no other one is writing."""
    for left in folder.glob(".*.partial"):
        left.unlink()


def ordinary_file(path: Path) -> Path:
    """The ordinary file, there or still to be made, that ``path`` means; links are followed, so that they stay links.

    Raises:
        DataError: it is a folder, a device or a pipe, or lies in no folder or in one that this user may not write to.
    """
    named = f"cannot write {path}"
    with file_errors(named):
        if path.is_dir():
            raise DataError(named, "it is a folder.", f"Name a file in it, such as {path / 'result.jsonl'}.")
        if path.exists() and not path.is_file():
            raise DataError(named, "it is no ordinary file.", "Name a new file, or one to be replaced.")
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise DataError(named, f"there is no folder {target.parent}.", f"Make it: mkdir -p {target.parent}")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise DataError(
                named, f"this user may not write to {target.parent}.", "Change its permissions, or name another place."
            )
    return target


def shown_entries(folder: Path) -> str:
    """What lies in ``folder``, for an error about it: the first names, and how many more there are."""
    names = sorted(entry.name for entry in folder.iterdir())
    more = len(names) - _ENTRIES_SHOWN
    return ", ".join(names[:_ENTRIES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
