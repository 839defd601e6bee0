"""What runs leave behind, kept by the hash of its content under ``artifacts/<first two digits>/<hash>/``."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from heed.errors import ProjectError
from heed.files import file_errors, sync_folder

_BYTES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Artifact:
    """A file or a folder kept by content.

    Attributes:
        hash: 64 hex digits (see :func:`tree_hash`).
        file: the file's name; "" for a folder.
        bytes: size of all files (bytes).
    """

    hash: str
    file: str
    bytes: int


def tree_hash(files: dict[str, Path], progress: Callable[[int], None] = lambda size: None) -> str:
    """SHA-256 over the sorted lines ``<SHA-256 of a file>  <its relative path>``: what ``sha256sum`` prints for them.

    Args:
        files: files by their relative paths.
        progress: called with the size of each piece that has been read (bytes).
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        content = hashlib.sha256()
        with files[name].open("rb") as stream:
            while piece := stream.read(_BYTES_AT_ONCE):
                content.update(piece)
                progress(len(piece))
        digest.update(f"{content.hexdigest()}  {name}\n".encode())
    return digest.hexdigest()


def files_of(path: Path) -> dict[str, Path]:
    """The files at or below ``path`` by their relative POSIX paths; links to files count as the files.

    Raises:
        ProjectError: nothing is there, the folder is empty, or something in it is no plain file.
    """
    if path.is_file():
        return {path.name: path.resolve()}
    files: dict[str, Path] = {}
    for folder, _, names in os.walk(path):
        for name in names:
            entry = Path(folder, name)
            if not entry.is_file():
                raise ProjectError(f"artifact {path}", f"{entry} is no plain file.", "Remove it.")
            files[entry.relative_to(path).as_posix()] = entry.resolve()
    if not files:
        raise ProjectError(f"artifact {path}", "there is no file.", "Name what the run has written.")
    return files


class ArtifactFolder:
    """The artifacts of a project.

    Args:
        root: the folder ``artifacts/``.
        own: the folder of the runs: what lies there was written by heed, once, and is linked in without a second copy
            where the file system can; everything else is copied.
    """

    def __init__(self, root: Path, own: Path) -> None:
        self.root, self._own = root, own.resolve()

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact lies."""
        return self._folder(artifact.hash) / artifact.file

    def add(self, path: Path) -> Artifact:
        """Keep the file or folder at ``path``; what is kept already is not kept twice. The project must be locked.

        Raises:
            ProjectError: nothing is there, or it cannot be written (read-only, disk full).
        """
        files = files_of(path)
        with file_errors(f"artifact {path}"):
            size = sum(file.stat().st_size for file in files.values())
            artifact = Artifact(tree_hash(files), path.name if path.is_file() else "", size)
            target = self._folder(artifact.hash)
            if target.is_dir() and self.fault(artifact) is None:
                return artifact
            for left in self.root.glob(".partial-*"):  # by a process that was killed: only one writes at a time
                shutil.rmtree(left)
            partial = self.root / f".partial-{uuid4().hex}"
            try:
                for name, file in files.items():
                    self._take(file, partial / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():  # damaged: the good copy takes its place
                    shutil.rmtree(target)
                os.rename(partial, target)
                sync_folder(target.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return artifact

    def fault(self, artifact: Artifact, progress: Callable[[int], None] = lambda size: None) -> str | None:
        """Why the artifact is not what was put in, or None. Reads all of it, as ``progress`` hears (see ``tree_hash``)."""
        folder = self._folder(artifact.hash)
        if not folder.is_dir():
            return "it is missing"
        try:
            files = files_of(folder)
            return None if tree_hash(files, progress) == artifact.hash else "its content has changed"
        except ProjectError as error:
            return error.why.rstrip(".")
        except OSError as error:
            return f"it cannot be read ({error.strerror})"

    def _folder(self, digest: str) -> Path:
        return self.root / digest[:2] / digest

    def _take(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_relative_to(self._own):
            try:
                os.link(source, target)
            except OSError as error:
                # No hard links here, or too many of this file: a copy does as well.
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                shutil.copyfile(source, target)
        else:
            shutil.copyfile(source, target)
        with target.open("rb") as stream:
            os.fsync(stream.fileno())
