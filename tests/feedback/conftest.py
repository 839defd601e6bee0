"""Stores for the tests of the queue, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from judged_studio import Studio

from heed.feedback.store import Store


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes addresses of new databases of heed, quicker than migrations do."""
    folder = tmp_path_factory.mktemp("sqlite")
    Store.open(f"sqlite:///{folder / 'template.db'}").close()
    numbers = iter(range(1_000_000))

    def fresh() -> str:
        target = folder / f"heed{next(numbers)}.db"
        shutil.copyfile(folder / "template.db", target)
        return f"sqlite:///{target}"

    return fresh


@pytest.fixture(scope="session")
def postgresql_url(postgresql) -> Callable[[], str]:
    """The same on PostgreSQL."""
    template = postgresql.fresh()
    Store.open(template).close()
    name = template.split("@/")[1].partition("?")[0]
    return lambda: postgresql.fresh(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of a new database of heed."""
    fresh: Callable[[], str] = request.getfixturevalue(f"{request.param}_url")
    return fresh()


@pytest.fixture
def studio(database_url: str) -> Iterator[Studio]:
    """A question with raters, on a clock that stands still."""
    with Store.open(database_url) as store:
        yield Studio(store)
