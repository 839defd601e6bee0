"""Servers for the tests of the web."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Served, chromium
from playwright.sync_api import Browser
from site_of_tests import Databases, Site, copy_project, make_project

from heed.project import Project


@pytest.fixture(scope="session", autouse=True)
def _database(request: pytest.FixtureRequest) -> None:
    """``HEED_TEST_DATABASE=postgresql`` runs every test of this folder on PostgreSQL; ``make test-all`` does that too."""
    if os.environ.get("HEED_TEST_DATABASE") == "postgresql":
        Databases.cluster = request.getfixturevalue("postgresql")


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is copied, never opened."""
    folder = tmp_path_factory.mktemp("empty") / "project"
    make_project(folder)
    return folder


@pytest.fixture
def site(empty_project: Path, tmp_path: Path) -> Iterator[Site]:
    """A server of an empty project."""
    with Project(copy_project(empty_project, tmp_path / "project")) as project:
        made = Site(project)
        yield made
        made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; for one file's tests, since nothing else may use asyncio in this thread while it is open."""
    with chromium() as made:
        yield made


@pytest.fixture
def served(empty_project: Path, tmp_path: Path) -> Iterator[Served]:
    """A server of an empty project for real browsers."""
    with Project(copy_project(empty_project, tmp_path / "served")) as project:
        made = Served(project)
        yield made
        made.stop()
