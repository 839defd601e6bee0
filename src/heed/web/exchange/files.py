"""The folder ``exchange`` of a project: files on their way in or out. Only the server's own user may look into it.

No name that came from outside is used here: a file is called by its job.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from heed.errors import DataError
from heed.files import file_errors

FOLDER = "exchange"
_DAYS_KEPT = 7


class ExchangeFolder:
    """The files of a project's imports and exports.

    Args:
        project: the folder of the project.
    """

    def __init__(self, project: Path) -> None:
        self.folder = project / FOLDER
        with file_errors(f"folder {self.folder}"):
            self.folder.mkdir(mode=0o700, exist_ok=True)

    def uploaded(self, job_id: str) -> Path:
        """What was uploaded for an import."""
        return self.folder / f"{job_id}.upload"

    def partial(self, job_id: str) -> Path:
        """What there is of an export that is under way."""
        return self.folder / f"{job_id}.partial"

    def finished(self, job_id: str) -> Path:
        """An export."""
        return self.folder / f"{job_id}.export"

    def remove(self, job_id: str) -> None:
        """Everything of a job."""
        for path in (self.uploaded(job_id), self.partial(job_id), self.finished(job_id)):
            path.unlink(missing_ok=True)

    def remove_old(self) -> None:
        """What nobody fetched, went on with or has touched for a week."""
        oldest = time.time() - _DAYS_KEPT * 24 * 3600
        for path in self.folder.iterdir():
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, name: str) -> Iterator[None]:
    """Let errors about an uploaded file call it by the name that it had where it came from, and tell no path of the server.

    Args:
        path: where it was put.
        name: what it was called; "" where that is not known.
    """
    try:
        yield
    except DataError as error:
        parts = (error.what, error.why, error.fix)
        known = name or "the file"
        raise DataError(*(part.replace(str(path), known).replace(path.name, known) for part in parts)) from error


class Upload:
    """A file that comes in pieces, for its owner's eyes only; gone again unless it was kept.

    Args:
        path: where to.
        limit: most bytes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._file: IO[bytes] = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._kept = False
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add a piece.

        Raises:
            DataError: it is too much. ProjectError: the disk is full.
        """
        self.size += len(data)
        if self.size > self._limit:
            raise DataError(
                "the file",
                f"it is larger than {self._limit:,} bytes.",
                "Compress it (.gz), send it in parts, or raise serve.import_megabytes in heed.yaml.",
            )
        with file_errors("the uploaded file"):
            self._file.write(data)
        self._hash.update(data)

    def digest(self) -> str:
        """SHA-256 of what was written."""
        return self._hash.hexdigest()

    def keep(self) -> None:
        """See the whole of it onto the disk."""
        with file_errors("the uploaded file"):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._kept = True

    def discard(self) -> None:
        """Do not keep it after all."""
        self._kept = False

    def close(self) -> None:
        """Close it, and remove it where it is not to be kept."""
        self._file.close()
        if not self._kept:
            self._path.unlink(missing_ok=True)
