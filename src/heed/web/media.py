"""Pictures and short videos of a project: what may be kept, under which name, and what a browser is told it is.

A file is taken only if it is one of six formats from its first byte to its last, by the structure of the format and not by
its name: nothing stands before the beginning or after the end, so that it cannot be a page or an archive at the same time.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from heed.errors import DataError, MissingError
from heed.files import file_errors, sync_folder
from heed.web.media_formats import is_gif, is_jpeg, is_mp4, is_png, is_webm, is_webp

FOLDER = "media"

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Format:
    """One of the formats that are taken.

    Attributes:
        ending: of the file's name, without the dot.
        media_type: as browsers are told.
        fits: whether bytes are of this format, whole and with nothing around them.
    """

    ending: str
    media_type: str
    fits: Callable[[bytes], bool]


FORMATS = {
    made.ending: made
    for made in (
        Format("png", "image/png", is_png),
        Format("jpg", "image/jpeg", is_jpeg),
        Format("gif", "image/gif", is_gif),
        Format("webp", "image/webp", is_webp),
        Format("mp4", "video/mp4", is_mp4),
        Format("webm", "video/webm", is_webm),
    )
}
_ID = re.compile(r"[0-9a-f]{32}\.(?:" + "|".join(FORMATS) + r")\Z")
# Metadata and comments may hold anything; these begin what some program might run.
_ACTIVE = re.compile(rb"<(?:script|iframe|!doctype|html[\s>]|\?php|svg[\s>][^\x00]{0,200}xmlns)", re.IGNORECASE)


@dataclass(frozen=True)
class Medium:
    """A file that is kept; texts show it as ``![words](media:ID)``."""

    id: str
    size: int

    @property
    def format(self) -> Format:
        """What it is, which its id tells."""
        return FORMATS[self.id.rpartition(".")[2]]


def keep(folder: Path, content: bytes) -> Medium:
    """Keep ``content`` in the project at ``folder``; the same content again is the same medium.

    Raises:
        DataError: it is none of the formats, or holds a program. ProjectError: it cannot be written.
    """
    form = next((one for one in FORMATS.values() if one.fits(content)), None)
    if form is None:
        raise DataError(
            "the file",
            "it is no whole PNG, JPEG, GIF, WebP, MP4 or WebM, or something stands before or after it.",
            "Save it anew as one of these; SVG and HTML are never taken, since they can run programs.",
        )
    if _ACTIVE.search(content):
        raise DataError("the file", "its metadata holds HTML or a program.", "Remove its metadata and try again.")
    medium = Medium(f"{hashlib.sha256(content).hexdigest()[:32]}.{form.ending}", len(content))
    _write(folder / FOLDER, medium.id, content)
    return medium


def _write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    if path.exists():
        return
    with file_errors(str(path)):
        folder.mkdir(mode=0o700, exist_ok=True)
        partial = folder / f".{secrets.token_hex(8)}.partial"
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(folder)


def too_large(megabytes: int) -> DataError:
    """A file is larger than the project allows."""
    return DataError(
        "the file",
        f"it is larger than {megabytes} MB.",
        "Make it smaller, or raise serve.media_megabytes in heed.yaml.",
    )


def path_of(folder: Path, medium_id: str) -> Path:
    """Where the medium of an id lies.

    Raises:
        MissingError: there is none; an id that could name another file is none either.
    """
    if _ID.match(medium_id):
        path = folder / FOLDER / medium_id
        if path.is_file() and not path.is_symlink():
            return path
    raise MissingError("this medium", "the project has none of this id.", "Check the link.")


def all_media(folder: Path) -> list[Medium]:
    """Every medium of the project, the newest first."""
    found = [path for path in (folder / FOLDER).glob("*") if _ID.match(path.name) and path.is_file()]
    stats = sorted(((path.stat(), path.name) for path in found), key=lambda one: (-one[0].st_mtime_ns, one[1]))
    return [Medium(name, stat.st_size) for stat, name in stats]


def remove(folder: Path, medium_id: str) -> None:
    """Delete a medium; texts that show it show its words instead.

    Raises:
        MissingError: there is none.
    """
    path = path_of(folder, medium_id)
    with file_errors(str(path)):
        path.unlink(missing_ok=True)
