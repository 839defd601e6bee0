"""A PostgreSQL of Debian's package for the tests: started in a folder of its own, gone when they end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

PACKAGE = "PostgreSQL is not there: apt-get install postgresql"
_PATIENCE = 60.0


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def missing() -> str | None:
    """Why there is no PostgreSQL to be had, in one line that says what to install; None where there is one."""
    return None if _binaries() else PACKAGE


def _as_user(command: list[str]) -> list[str]:
    # PostgreSQL refuses to run as root; its package has made a user for it.
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        if os.geteuid() == 0
        else command
    )


@dataclass
class Cluster:
    """A running server, reached through a socket in its folder."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str = "postgres") -> str:
        """Address of a database for SQLAlchemy."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def fresh(self, template: str = "template1") -> str:
        """Address of a new database: empty, or a copy of the database ``template`` that nobody has open."""
        import psycopg

        name = f"heed{next(self._numbers)}"
        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)


@contextmanager
def cluster(durable: bool = False) -> Iterator[Cluster]:
    """A server of its own; it and all its data are gone afterwards.

    Args:
        durable: whether it waits for the disk, as it should where anything is measured.

    Raises:
        RuntimeError: it is not installed, or does not start; with what it said.
    """
    binaries = _binaries()
    if binaries is None:
        raise RuntimeError(PACKAGE)
    # Not below the test's own folder: the path of a socket may have about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="heed-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data, log = folder / "data", folder / "log"
    try:
        made = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run(_as_user([*made, "--no-sync"]), check=True, capture_output=True, cwd=folder)
        settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "200"}
        settings["fsync"] = "on" if durable else "off"
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            server = subprocess.Popen(
                _as_user([str(binaries / "postgres"), "-D", str(data), *options]),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        try:
            _wait(server, folder, log)
            yield Cluster(folder)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is needed any more
            server.wait(timeout=_PATIENCE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    import psycopg

    end = time.monotonic() + _PATIENCE
    while True:
        try:
            psycopg.connect(f"host={folder} user=postgres dbname=postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return
