"""Running the server: where it may listen, what it says when it is ready, one process or several, and the trial."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import shlex
import signal
import socket
import stat
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.supervisors import Multiprocess

from heed.config import ServeSettings
from heed.errors import ConfigError, ProjectError
from heed.feedback.kinds import explain_validation
from heed.feedback.upkeep import refresh_statistics
from heed.memory import starting
from heed.people import audit
from heed.people.invitations import first_invitation
from heed.people.secrets import load_secrets
from heed.project import Project
from heed.web.app import create_app
from heed.web.connections import ACCEPTED_AT_ONCE, raise_file_limit
from heed.web.protocol import BoundedHttp
from heed.web.security import Address

Say = Callable[[str], None]

_SERVED = "HEED_SERVED"
"""Environment variable by which a process that was started to serve learns what."""

_GRACE_SECONDS = 5
_START_SECONDS = 60.0
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024
"""Connections that the system keeps until they are accepted."""


@dataclass(frozen=True)
class Serving:
    """How to serve.

    Attributes:
        host: address of this machine to listen on.
        port: to listen on; 0 takes a free one.
        public_url: address that people open; None takes the one of heed.yaml.
        workers: processes.
        insecure_http: whether others may reach it without HTTPS.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    workers: int = 1
    insecure_http: bool = False


def local_url(host: str, port: int) -> str:
    """Address of a server of this machine."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def address_of(serving: Serving, settings: ServeSettings) -> Address:
    """Where the server is reached, if it may be reached there.

    Raises:
        ConfigError: the public address is none; or others could reach it without HTTPS and nobody said that they may.
    """
    public = _checked_url(serving.public_url) if serving.public_url is not None else settings.public_url
    hosts = tuple(settings.hosts)
    if _is_loopback(serving.host):
        return Address(public, hosts)
    if not public.startswith("https://") and not serving.insecure_http:
        raise ConfigError(
            f"listening on {serving.host}",
            "others could reach it without HTTPS, and passwords and answers could be read on the way.",
            "Put a proxy with HTTPS before it and give --public-url https://NAME; or, in a network that you trust, "
            "--insecure-http.",
        )
    if _is_every_address(serving.host):
        if not public and not hosts:
            raise ConfigError(
                f"listening on {serving.host}",
                "that is every address of this machine, and none of them is known as the server's.",
                f"Give the one that people open: --public-url http://ADDRESS:{serving.port}",
            )
        return Address(public, hosts)
    return Address(public, (*hosts, serving.host))


def _checked_url(url: str) -> str:
    try:
        return ServeSettings(public_url=url).public_url
    except ValidationError as error:
        why = explain_validation(error).removeprefix("public_url: ")
        raise ConfigError(f"--public-url {url[:200]}", f"{why}.", "Write https://NAME.") from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the port is taken, or the address is none of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(_BACKLOG)
        made.set_inheritable(True)
    except PermissionError:
        raise ConfigError(
            f"port {port}", "this user may not listen on it.", "Take one above 1023: heed serve --port 8000"
        ) from None
    except OSError as error:
        if getattr(error, "errno", None) == 98 or "in use" in str(error):
            raise ConfigError(
                f"port {port} of {host}",
                "another program listens there, perhaps another heed serve.",
                f"End that one, or take another port: heed serve --port {port + 1 if port < 65535 else 0}",
            ) from None
        raise ConfigError(
            f"listening on {host}",
            f"it cannot be done ({error.strerror or error}).",
            "Give an address of this machine, such as 127.0.0.1.",
        ) from None
    return made


# Serving a project


def run(serving: Serving, say: Say, open_browser: bool = False, folder: str | Path = ".") -> None:
    """Serve the project around ``folder`` until the process is told to end.

    Args:
        serving: how.
        say: is told where the server is, when it is ready.
        open_browser: whether to open that address in the browser.
        folder: in or above which the project is.

    Raises:
        ConfigError: it may not be served so, or the port is taken. ProjectError: the project cannot be used.
    """
    raise_file_limit()
    with _told_to_end(), Project.open(folder) as project:
        address = address_of(serving, project.settings.serve)
        if serving.workers > 1 and project.store.engine.dialect.name == "sqlite":
            raise ConfigError(
                f"--workers {serving.workers}",
                "SQLite lets one process write at a time, so that more of them would be slower.",
                "Leave it out, or name a PostgreSQL database in heed.yaml.",
            )
        whole = _note_head(project)  # before there are secrets: from then on a head that is missing was taken away
        load_secrets(project.folder)
        project.store.write(refresh_statistics)  # what was just imported is read quickly from the first request on
        with listen(serving.host, serving.port) as sock:
            base = address.base("http", _name_of(sock, serving.host))
            warnings = [*_open_to_others(project), *_unlike_what_was_noted(whole)]
            lines = [*warnings, f"heed: {base}", *_first_link(project, base)]
            if serving.workers > 1:
                place = project.folder
                project.close()
                _run_processes(place, serving, address, sock, lambda: _tell(say, lines, base, open_browser))
            else:
                with starting():
                    app = create_app(project, address)
                _run_one(app, address, sock, lambda: _tell(say, lines, base, open_browser))
                _note_head(project)
    say("heed: ended")


def _name_of(sock: socket.socket, host: str) -> str:
    return local_url(host, sock.getsockname()[1]).removeprefix("http://")


def _first_link(project: Project, base: str) -> list[str]:
    """What is said while nobody is there who could let others in."""
    secret = project.store.write(lambda connection: first_invitation(connection, datetime.now(UTC)))
    if secret is None:
        return []
    return [f"first admin, once, within a day: {base}/invitation/{secret}"]


def _open_to_others(project: Project) -> list[str]:
    """What is said where other users of this machine can read everything that was said and who is here."""
    url = project.store.engine.url
    if url.get_backend_name() != "sqlite" or os.name != "posix":
        return []
    file = Path(str(url.database))
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o044 or not file.parent.stat().st_mode & 0o011:
        return []
    return [
        f"warning: other users of this machine can read {file.name} (mode {mode:04o}). "
        f"To close the folder to them: chmod 700 {shlex.quote(str(file.parent))}"
    ]


def _note_head(project: Project) -> bool:
    """Note the end of the audit log, where it goes on from what was noted before."""
    with project.store.reading() as connection:
        return audit.note_head(connection, project.folder)


def _unlike_what_was_noted(whole: bool) -> list[str]:
    """What is said where the audit log does not go on from what was noted, until somebody has looked and accepts it."""
    if whole:
        return []
    return [
        f"warning: the audit log does not go on from the end that was noted, or {audit.HEAD_FILE}, where it was noted, is "
        "gone. See what is missing: heed audit verify"
    ]


def _tell(say: Say, lines: list[str], base: str, open_browser: bool) -> None:
    for line in lines:
        say(line)
    if open_browser:
        webbrowser.open(base)


def _config(app: Any, address: Address, **more: Any) -> uvicorn.Config:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Only a proxy of this machine, and only where there is one, may say who sent a request.
        proxy_headers=bool(address.public_url),
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        http=BoundedHttp,
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        **more,
    )


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(_BACKLOG)  # as uvicorn began, it let as few wait as it takes at once
        if self.started:
            self._ready()


def _run_one(app: FastAPI, address: Address, sock: socket.socket, ready: Callable[[], None]) -> None:
    server = _Server(_config(app, address), ready)
    try:
        server.run(sockets=[sock])
    except (KeyboardInterrupt, _EndedError):
        return
    if not server.started:
        raise ProjectError("heed serve", "it could not start.", "See the lines above.")


class _EndedError(Exception):
    """The process was told to end; uvicorn has ended by now."""


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Inside, SIGTERM unwinds the stack as Ctrl-C does, so that what is to be cleaned up is."""

    def end(*_: Any) -> None:
        raise _EndedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except _EndedError:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


# Several processes


def _run_processes(
    folder: Path, serving: Serving, address: Address, sock: socket.socket, ready: Callable[[], None]
) -> None:
    os.environ[_SERVED] = json.dumps({"folder": str(folder), "address": asdict(address)})
    config = _config("heed.web.server:app_of_environment", address, factory=True, workers=serving.workers)
    _Processes(config, sock, ready).run()  # returns when it is told to end


class _Processes(Multiprocess):
    """Starts processes, and each anew that dies; says when all of them are ready."""

    def __init__(self, config: uvicorn.Config, sock: socket.socket, ready: Callable[[], None]) -> None:
        super().__init__(config, [sock])
        self._ready = ready

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(_START_SECONDS, self.should_exit) for process in self.processes):
            self.sockets[0].listen(_BACKLOG)  # as each process began, it let as few wait as it takes at once
            self._ready()


def app_of_environment() -> FastAPI:
    """The application of one of several processes."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="heed-parent", daemon=True).start()
    served = json.loads(os.environ[_SERVED])
    where = served["address"]
    with starting():
        project = Project(served["folder"])
        return create_app(project, Address(where["public_url"], tuple(where["hosts"])))


def _end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, even where that was killed: it holds the port."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


# Trying it out


def run_trial(serving: Serving, say: Say, open_browser: bool = False) -> None:
    """Serve a throw-away project full of invented things; it is gone when this ends.

    Raises:
        ConfigError: it may not be served so, or the port is taken.
    """
    from heed.web.trial import make_trial, trial_app

    raise_file_limit()
    address = address_of(serving, ServeSettings())
    with (
        _told_to_end(),
        listen(serving.host, serving.port) as sock,
        tempfile.TemporaryDirectory(prefix="heed-try-", ignore_cleanup_errors=True) as place,
    ):
        say("heed: making a studio to try, with invented items and people ...")
        with make_trial(Path(place) / "project") as project:
            _note_head(project)
            load_secrets(project.folder)
            base = address.base("http", _name_of(sock, serving.host))
            app, links = trial_app(project, address)
            lines = [
                f"heed: {base}",
                *(f"  as {person}: {base}{path}" for person, path in links),
                "Nothing here is real, and all of it is gone when you end this with Ctrl-C.",
            ]
            first = f"{base}{links[0][1]}"
            _run_one(app, address, sock, lambda: _tell(say, lines, first, open_browser))
    say("heed: ended, and the studio to try is gone")
