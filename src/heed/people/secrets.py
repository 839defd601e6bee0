"""The secrets of a project: random, made at the first start, in a file that only its owner may read."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heed.errors import ProjectError
from heed.files import file_errors, sync_folder

SECRETS_FILE = ".heed-secrets"
SSO_VARIABLE = "HEED_SSO_SECRET"
_BYTES = 32
_FEWEST_DIFFERENT = 12


@dataclass(frozen=True)
class Secrets:
    """What nobody outside may know.

    Attributes:
        key: 64 hexadecimal digits, from which :meth:`derived` makes one key for each use.
        sso: the client secret that the OIDC provider gave; None where there is none.
    """

    key: str
    sso: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"

    def derived(self, use: str) -> bytes:
        """32 bytes for one use, from which neither the key nor those for another use can be told."""
        return hmac.new(bytes.fromhex(self.key), use.encode(), hashlib.sha256).digest()


def load_secrets(folder: Path) -> Secrets:
    """The secrets of the project in ``folder``; the file is made where there is none.

    Of several processes that start at once, one makes it and all read that one.

    Raises:
        ProjectError: others may read the file, it is not this user's, it is damaged, or its key is weak.
    """
    file = folder / SECRETS_FILE
    with file_errors(f"file {file}"):
        if not os.path.lexists(file):
            _make(file)
        text = _read_private(file)
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    key = values.get("key") if isinstance(values, dict) else None
    if not isinstance(key, str) or not _is_strong(key):
        raise ProjectError(
            f"file {file}",
            f"its key is missing or weak: it has to be {2 * _BYTES} random hexadecimal digits.",
            "Restore the file, or delete it: the next start makes a new one.",
        )
    return Secrets(key, _sso(file, values))


def _make(file: Path) -> None:
    """Make the file whole and closed to others before it has its name."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"key": secrets.token_hex(_BYTES)}, stream)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # Unlike a rename, a link never takes the place of a file that another process has made meanwhile.
            os.link(partial, file)
        except FileExistsError:
            return
    finally:
        partial.unlink()
    sync_folder(file.parent)


def _read_private(file: Path) -> str:
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as stream:
        # Of the file that is open, not of whatever has its name by then.
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ProjectError(
                f"file {file}", "it is no ordinary file.", "Move it away: the next start makes a new one."
            )
        if status.st_mode & 0o077:
            raise ProjectError(
                f"file {file}",
                f"others may read or write it (mode {stat.S_IMODE(status.st_mode):04o}).",
                f"Take it for known: delete it, and the next start makes a new one; or, if nobody read it: chmod 600 {file}",
            )
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            raise ProjectError(
                f"file {file}", "it belongs to another user.", f"Run as that user, or: chown $USER {file}"
            )
        return stream.read(65_536).decode("utf-8", errors="replace")


def _is_strong(key: str) -> bool:
    digits = len(key) == 2 * _BYTES and all(character in "0123456789abcdef" for character in key)
    # Random keys of 32 bytes practically always have more than 12 different bytes; 0000... and abababab... do not.
    return digits and len(set(bytes.fromhex(key))) >= _FEWEST_DIFFERENT


def _sso(file: Path, values: dict[str, Any]) -> str | None:
    secret = os.environ.get(SSO_VARIABLE) or values.get("sso")
    if secret is not None and not isinstance(secret, str):
        raise ProjectError(f"file {file}", "'sso' is no text.", "Put the client secret there in quotes.")
    return secret
