"""A server of a project of its own, in this process, and clients that are signed in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
from starlette.testclient import TestClient

import postgres
from heed.config import ProjectSettings, ServeSettings, commented_yaml, load_settings
from heed.people import accounts, managing, sessions, tokens
from heed.people.accounts import Account
from heed.project import Project
from heed.web.app import create_app
from heed.web.identity import SESSION_COOKIE
from heed.web.security import Address

T = TypeVar("T")

BASE_URL = "http://localhost"


class Databases:
    """Where the projects of the tests keep what they hold: SQLite, or PostgreSQL where ``HEED_TEST_DATABASE`` says so."""

    cluster: postgres.Cluster | None = None


def make_project(folder: Path, serve: ServeSettings | None = None) -> None:
    """An empty project that can be served; no model is ever loaded."""
    settings = ProjectSettings(name="kind replies", model="base", serve=serve or ServeSettings())
    if Databases.cluster is not None:
        settings.database = Databases.cluster.fresh()
    Project.create(folder, settings).close()


def copy_project(source: Path, folder: Path) -> Path:
    """A copy of a project that nobody has open: quicker than making one."""
    shutil.copytree(source, folder)
    settings = load_settings(folder / "heed.yaml")
    if Databases.cluster is not None:
        template = settings.database.partition("@/")[2].partition("?")[0]
        settings.database = Databases.cluster.fresh(template)
        (folder / "heed.yaml").write_text(commented_yaml(settings), encoding="utf-8")
    return folder


@dataclass
class Site:
    """A project and the application that serves it.

    Attributes:
        project: open.
        address: where the server believes to be reached.
        clients: all that were made, to be closed.
    """

    project: Project
    address: Address = field(default_factory=Address)
    clients: list[TestClient] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app = create_app(self.project, self.address)
        self.anonymous = self._client()
        self.anonymous.__enter__()  # starts what runs beside the requests, for every client

    def close(self) -> None:
        self.anonymous.__exit__(None, None, None)
        for client in self.clients:
            client.close()

    def _client(self) -> TestClient:
        client = TestClient(self.app, base_url=BASE_URL, follow_redirects=False, raise_server_exceptions=False)
        client.headers["sec-fetch-site"] = "same-origin"
        self.clients.append(client)
        return client

    def write(self, work: Callable[[Connection], T]) -> T:
        return self.project.store.write(work)

    def read(self, work: Callable[[Connection], T]) -> T:
        with self.project.store.reading() as connection:
            return work(connection)

    def account(self, name: str, role: Any = "rater", group: str = "") -> Account:
        """The account ``name``, made if there is none."""
        now = datetime.now(UTC)

        def made(connection: Connection) -> Account:
            found = accounts.find(connection, name)
            return found or accounts.create_account(connection, name, role, group, now)

        return self.write(made)

    def client(self, name: str = "ann", role: Any = "rater", group: str = "") -> TestClient:
        """A browser in which ``name`` is signed in."""
        account = self.account(name, role, group)
        client = self._client()
        client.cookies.set(
            SESSION_COOKIE,
            self.write(lambda connection: sessions.begin(connection, account.id, "test", datetime.now(UTC))),
        )
        return client

    def pause(self, name: str) -> None:
        """Pause the account ``name``."""
        account = self.account(name)
        now = datetime.now(UTC)
        self.write(lambda connection: managing.pause(connection, account.id, "a test", accounts.OPERATOR, now))

    def program(self, name: str = "ann", role: Any = "rater", scopes: Sequence[Any] = ("rate", "read")) -> TestClient:
        """A program that holds an API token of ``name``."""
        account = self.account(name, role)
        made = self.write(
            lambda connection: tokens.make(connection, account, "test", list(scopes), 30, datetime.now(UTC))
        )
        client = self._client()
        del client.headers["sec-fetch-site"]
        client.headers["authorization"] = f"Bearer {made.secret}"
        return client
