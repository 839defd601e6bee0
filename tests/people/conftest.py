"""Stores for the tests of who may come in: one of SQLite, and one of PostgreSQL where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from heed.feedback.store import Store


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with all tables, to be copied."""
    file = tmp_path_factory.mktemp("empty") / "heed.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def empty_postgresql(request: pytest.FixtureRequest) -> str:
    """The name of a PostgreSQL database with all tables, to be copied."""
    url = request.getfixturevalue("postgresql").fresh()
    Store.open(url).close()
    return str(url).partition("@/")[2].partition("?")[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(request.getfixturevalue('empty_sqlite'), tmp_path / 'heed.db')}"
    else:
        cluster = request.getfixturevalue("postgresql")
        url = cluster.fresh(request.getfixturevalue("empty_postgresql"))
    with Store.open(url) as opened:
        yield opened
