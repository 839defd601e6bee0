"""People for the tests, and a clock that only moves when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, select

from heed.feedback.store import Store
from heed.people import accounts
from heed.people.accounts import Account
from heed.people.passwords import hash_password

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
PASSWORD = "an apple a day keeps"


def later(**length: float) -> datetime:
    return NOON + timedelta(**length)


def all_rows(store: Store, *tables: Table) -> str:
    """Everything that tables hold, as text to be searched for what must not be there."""
    with store.reading() as connection:
        return repr([connection.execute(select(table)).all() for table in tables])


def person(store: Store, name: str = "ann", role: Any = "rater", group: str = "", password: str = "") -> Account:
    hashed = hash_password(password, name) if password else None
    return store.write(lambda c: accounts.create_account(c, name, role, group, NOON, hashed))
